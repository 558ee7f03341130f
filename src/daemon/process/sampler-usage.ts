import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { isErrno } from '../../protocol/index.ts';
import type { JobUsage, ProcessFacts, ProcessUsage } from '../core/index.ts';
import { descriptorLimit, readProcFile, readStat } from '../linux/index.ts';
import type { Hold } from './containment.ts';

/** Figures that are no older than this answer the next question, too: however many ask, processes are read so often at most. */
const freshMs = 250;

/** CPU use is reckoned over the time since the figures before; if those are older than this, it is not known. */
const comparableMs = 60_000;

/** pidusage remembers a process, and holds a descriptor for it, this long; it looks twice in that time for what has expired. */
const rememberedMs = 2_000;
const heldMs = rememberedMs * 1.5 + 500;

/** Its share of the descriptors that the daemon may have. Where there are more processes, the pass waits until some are closed. */
const descriptorShare = 0.2;

/** Processes that pidusage is given at once: it starts a read for each, and the loop waits for their answers. */
const atOnce = 50;

/** Of a command line; more is of no use to people, and has to fit a frame. */
const maxCommandBytes = 300;

/** So long the event loop is kept from everything else. */
const sliceMs = 3;

export interface UsageMeterOptions {
  /** `null`: the attempt is over. */
  readonly holdOf: (jobId: number) => Hold | null;
}

/** What pidusage says of one process. `ctime` is its CPU time in ms, without its children's. */
interface PidFigures {
  readonly memory: number;
  readonly ctime: number;
}

/** What running jobs use right now, process by process, for people. On demand: nothing is read while nobody asks. */
export class UsageMeter {
  readonly #options: UsageMeterOptions;
  readonly #newest = new Map<number, JobUsage>();
  readonly #openUntilMs = new Map<number, number>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: UsageMeterOptions) {
    this.#options = options;
  }

  /** One pass at a time. Jobs that have no processes (any more) are left out. */
  measure(jobIds: readonly number[]): Promise<JobUsage[]> {
    const pass = this.#turn.then(() => this.#pass(jobIds));
    this.#turn = pass.catch(() => {}); // Whoever asked for it is told.
    return pass;
  }

  async #pass(jobIds: readonly number[]): Promise<JobUsage[]> {
    const nowMs = performance.now();
    for (const [jobId, { atMonoMs }] of this.#newest) if (nowMs - atMonoMs > comparableMs) this.#newest.delete(jobId);
    const stale = jobIds.filter((jobId) => nowMs - (this.#newest.get(jobId)?.atMonoMs ?? -freshMs) >= freshMs);
    const pidsOf = await this.#pids(stale);
    const figures = await this.#figures([...pidsOf.values()].flat());
    await this.#inSlices(stale, (jobId) => {
      const hold = this.#options.holdOf(jobId);
      const pids = pidsOf.get(jobId) ?? [];
      const usage = hold && usageOf(jobId, pids, figures, hold.cpuUsec(), this.#newest.get(jobId));
      if (usage === null) this.#newest.delete(jobId);
      else this.#newest.set(jobId, usage);
    });
    return jobIds.flatMap((jobId) => this.#newest.get(jobId) ?? []);
  }

  /** What processes are: asked apart, because only few are shown. Those that have gone are left out. */
  async describe(pids: readonly number[]): Promise<ReadonlyMap<number, ProcessFacts>> {
    const described = new Map<number, ProcessFacts>();
    await this.#inSlices(pids, (pid) => {
      const state = readStat(pid)?.state;
      if (state !== undefined) described.set(pid, { command: commandOf(pid), state });
    });
    return described;
  }

  async #pids(jobIds: readonly number[]): Promise<Map<number, number[]>> {
    const found = new Map<number, number[]>();
    await this.#inSlices(jobIds, (jobId) => {
      found.set(jobId, this.#options.holdOf(jobId)?.pids() ?? []);
    });
    return found;
  }

  /** Does one thing after another, and lets the event loop do something else in between. */
  async #inSlices<T>(items: readonly T[], each: (item: T) => void): Promise<void> {
    let startedMs = performance.now();
    for (const item of items) {
      each(item);
      if (performance.now() - startedMs < sliceMs) continue;
      await nextTurn();
      startedMs = performance.now();
    }
  }

  async #figures(pids: readonly number[]): Promise<Map<number, PidFigures>> {
    const figures = new Map<number, PidFigures>();
    for (let at = 0; at < pids.length; at += atOnce) {
      const some = pids.slice(at, at + atOnce);
      await this.#roomFor(some);
      for (const [pid, one] of await askPidusage(some)) figures.set(pid, one);
      await nextTurn();
    }
    return figures;
  }

  /** pidusage never says no: where it holds as many descriptors as it may, it has to wait until it has closed some. */
  async #roomFor(pids: readonly number[]): Promise<void> {
    const most = Math.max(atOnce, descriptorLimit() * descriptorShare);
    for (;;) {
      const nowMs = performance.now();
      for (const [pid, untilMs] of this.#openUntilMs) if (untilMs <= nowMs) this.#openUntilMs.delete(pid);
      const fresh = pids.filter((pid) => !this.#openUntilMs.has(pid));
      if (fresh.length === 0 || this.#openUntilMs.size + fresh.length <= most) {
        for (const pid of pids) this.#openUntilMs.set(pid, nowMs + heldMs);
        return;
      }
      await delay(Math.min(...this.#openUntilMs.values()) - nowMs);
    }
  }
}

/** Loaded when it is first needed: it asks getconf for what it must know of the machine. A pid that has gone has no figures. */
async function askPidusage(pids: readonly number[]): Promise<Map<number, PidFigures>> {
  const { default: pidusage } = await import('pidusage');
  try {
    // It writes into the list that it is given, and answers null for a pid that has gone; where none is left, it rejects.
    const answer: Record<string, PidFigures | null | undefined> = await pidusage([...pids], { maxage: rememberedMs });
    return new Map(Object.entries(answer).flatMap(([pid, one]) => (one == null ? [] : [[Number(pid), one]])));
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return new Map();
    throw error;
  }
}

function usageOf(
  jobId: number,
  pids: readonly number[],
  figures: ReadonlyMap<number, PidFigures>,
  cpuUsec: number | null,
  earlier: JobUsage | undefined,
): JobUsage {
  const atMonoMs = performance.now();
  const elapsedMs = earlier === undefined ? null : atMonoMs - earlier.atMonoMs;
  const earlierMs = new Map(earlier?.processes.map(({ pid, cpuMs }) => [pid, cpuMs]));
  const processes = pids.flatMap((pid): ProcessUsage[] => {
    const one = figures.get(pid);
    if (one === undefined) return [];
    const cpuMillicores = millicores(earlierMs.get(pid) ?? null, one.ctime, elapsedMs);
    return [{ pid, cpuMs: one.ctime, cpuMillicores, rssBytes: one.memory }];
  });
  const cpuMs = cpuUsec === null ? null : cpuUsec / 1_000;
  return {
    jobId,
    atMonoMs,
    cpuMs,
    cpuMillicores: millicores(earlier?.cpuMs ?? null, cpuMs, elapsedMs),
    rssBytes: processes.reduce((sum, { rssBytes }) => sum + rssBytes, 0),
    processes,
  };
}

function millicores(beforeMs: number | null, afterMs: number | null, elapsedMs: number | null): number | null {
  if (beforeMs === null || afterMs === null || elapsedMs === null || elapsedMs <= 0 || afterMs < beforeMs) return null;
  return ((afterMs - beforeMs) / elapsedMs) * 1_000;
}

/** Its command line, or the name that the kernel has for it where it has wiped that. proc_pid_cmdline(5) */
function commandOf(pid: number): string {
  const line = readProcFile(`/proc/${pid}/cmdline`)?.replaceAll('\0', ' ').trim() ?? '';
  const command = line === '' ? `[${readProcFile(`/proc/${pid}/comm`)?.trim() ?? ''}]` : line;
  return Buffer.from(command.slice(0, maxCommandBytes), 'latin1').toString('utf8');
}
