import fs from 'node:fs';
import { isErrno, pathFromText, scopeVariable } from '../../protocol/index.ts';
import {
  currentAttempt,
  type Event,
  type Job,
  noUsage,
  type ProcessIdentity,
  type SettledResources,
  type Usage,
} from '../core/index.ts';
import { readBootId, readStat } from '../linux/index.ts';
import type { Containment, Hold } from './containment.ts';
import type { Launcher, LaunchSpec, Leader, LeaderEnd } from './launcher.ts';
import { LimitError } from './limits.ts';
import type { MissedEnds } from './missed-ends.ts';
import type { OutputFiles } from './output.ts';
import type { OutputWatch } from './output-watch.ts';
import { larger, PeakWatch } from './peaks.ts';
import { checkFolder, describeSpawnFailure, findProgram, SpawnError } from './program.ts';

/** Pause before processes that came and went while they were counted are counted again. */
const lookAgainMs = 1;

export interface RunnerOptions {
  readonly containment: Containment;
  readonly launcher: Launcher;
  readonly output: OutputFiles;
  readonly watch: OutputWatch;
  readonly missedEnds: MissedEnds;
  /** Told to jobs, so that they can talk back. */
  readonly socket: string;
  /** Likewise: the pipe into which they may write a line. */
  readonly reportPipe: string;
  /** Every outcome goes back to the loop as an event. */
  readonly emit: (event: Event) => void;
}

/** Carries out what was decided about attempts: launch, signal, kill; and reports what became of them. */
export class Runner {
  readonly #options: RunnerOptions;
  readonly #bootId = readBootId();
  readonly #holds = new Map<number, Hold>();
  /** Of those, the ones whose leader has ended. */
  readonly #leaderless = new WeakSet<Hold>();
  readonly #peaks = new PeakWatch();
  /** What is to be done about leaders that ended in this turn of the event loop. */
  readonly #newEnds: (() => void)[] = [];

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  async launch(job: Job): Promise<void> {
    const { emit, containment } = this.#options;
    const { command, env, resources } = job.definition;
    let hold: Hold | null = null;
    try {
      refuseShortfalls(resources);
      hold = containment.open(`${job.id}.${currentAttempt(job).number}`, resources);
      this.#holds.set(job.id, hold);
      const { leader, startTicks } = await this.#spawn(job, hold);
      hold.setLeader(leader.pid, startTicks);
      await holdToLimits(hold, leader);
      const held = hold;
      const identity: ProcessIdentity = { pid: leader.pid, startTicks, bootId: this.#bootId };
      this.#options.watch.begin(job);
      this.#expectEnd(job, hold, identity);
      this.#peaks.begin(job.id, () => held.seen());
      emit({ type: 'launched', jobId: job.id, leader: identity });
      leader.ended.then((end) => this.#withOtherEnds(() => this.#leaderEnded(job, held, end)));
    } catch (error) {
      hold?.release();
      this.#holds.delete(job.id);
      this.#options.output.close(job, currentAttempt(job).number);
      if (isErrno(error, 'ENOSPC', 'EDQUOT')) {
        const shortage = `There is no room for the output of jobs (${error.message}).`;
        emit({ type: 'launchLackedSpace', jobId: job.id, shortage });
        return;
      }
      const failure =
        error instanceof SpawnError
          ? error
          : describeSpawnFailure({ file: command[0] ?? '', argv: command, env }, error);
      emit({ type: 'launchFailed', jobId: job.id, message: failure.message, exit: failure.exit });
    }
  }

  /** Thawed, and SIGCONT, after SIGTERM: a process that stands still could not act on it. systemd does the same. */
  terminate(jobId: number): void {
    const hold = this.#holds.get(jobId);
    hold?.signalAll('SIGTERM');
    hold?.thaw();
    hold?.signalAll('SIGCONT');
  }

  kill(jobId: number): void {
    this.#holds.get(jobId)?.killAll();
  }

  signal(jobId: number, signal: NodeJS.Signals): void {
    this.#holds.get(jobId)?.signalAll(signal);
  }

  freeze(jobId: number): void {
    this.#holds.get(jobId)?.freeze();
  }

  thaw(jobId: number): void {
    this.#holds.get(jobId)?.thaw();
  }

  /** What a running attempt is held by; `null`: it is over, or another has begun. */
  holdOf(jobId: number): Hold | null {
    return this.#holds.get(jobId) ?? null;
  }

  /** An attempt whose hold was given up was proven to be empty. Processes that cannot be counted are at least one. */
  countAlive(jobIds: readonly number[]): number {
    const { containment } = this.#options;
    const ofHolds = () => jobIds.reduce((total, jobId) => total + (this.#countHeld(jobId) ?? 1), 0);
    return containment.countAlive(new Set(jobIds)) ?? containment.together(ofHolds);
  }

  /** All that is asked of jobs within is done when this returns. */
  together(act: () => void): void {
    this.#options.containment.together(act);
  }

  #countHeld(jobId: number): number | null {
    const hold = this.#holds.get(jobId);
    return hold === undefined ? 0 : hold.countAlive();
  }

  async #spawn(job: Job, hold: Hold): Promise<{ leader: Leader; startTicks: number }> {
    const { definition } = job;
    const attempt = currentAttempt(job).number;
    checkFolder(definition.cwd);
    const file = findProgram(definition.command[0] ?? '', definition.env, definition.cwd);
    const { stdout, stderr } = await this.#options.output.open(job.id, attempt, definition.splitOutput);
    const descriptors = new Set([stdout, stderr]);
    const argv = definition.command;
    const env = {
      ...definition.env,
      CORRAL_JOB_ID: String(job.id),
      CORRAL_ATTEMPT: String(attempt),
      CORRAL_SOCKET: this.#options.socket,
      CORRAL_REPORT: this.#options.reportPipe,
      ...(definition.scope === null ? {} : { [scopeVariable]: definition.scope }),
      ...hold.env,
    };
    try {
      const stdin = openInput(definition.stdin);
      descriptors.add(stdin);
      const spec: LaunchSpec = { file, argv, env, cwd: definition.cwd, stdio: [stdin, stdout, stderr] };
      const leader = await this.#options.launcher.launch(spec, (spawn) => hold.launchInside(spawn));
      // The leader is not reaped before this turn of the loop is over, so its entry in /proc is there and is its own.
      return { leader, startTicks: readStat(leader.pid)?.startTicks ?? 0 };
    } catch (error) {
      if (error instanceof SpawnError) throw error;
      checkFolder(definition.cwd); // It may have gone since, and ENOENT does not say what is missing.
      throw describeSpawnFailure({ file, argv, env }, error);
    } finally {
      for (const fd of descriptors) fs.closeSync(fd);
    }
  }

  /** Should the kernel's word of its end be missed, it is found all the same. */
  #expectEnd(job: Job, hold: Hold, leader: ProcessIdentity): void {
    this.#options.missedEnds.begin(
      {
        jobId: job.id,
        leader,
        hasLeaderEnded: () => this.#leaderless.has(hold),
        countAlive: () => hold.countAlive(),
        end: () => {
          if (this.#leaderless.has(hold)) this.#emptied(job, hold, noUsage);
          else this.#leaderEnded(job, hold, { exit: { code: null, signal: null }, usage: noUsage });
        },
      },
      performance.now(),
    );
  }

  /** Leaders that were reaped in one go are told of one after another: their holds are asked when all have been. */
  #withOtherEnds(act: () => void): void {
    this.#newEnds.push(act);
    if (this.#newEnds.length > 1) return;
    queueMicrotask(() => {
      const acts = this.#newEnds.splice(0);
      this.#options.containment.together(() => {
        for (const one of acts) one();
      });
    });
  }

  /** Leader exit is not job exit: a setsid child keeps the leaf populated. cgroups(7) */
  #leaderEnded(job: Job, hold: Hold, end: LeaderEnd): void {
    const jobId = job.id;
    if (this.#holds.get(jobId) !== hold || this.#leaderless.has(hold)) return;
    const remaining = hold.countAlive();
    if (remaining === null) {
      setTimeout(() => this.#leaderEnded(job, hold, end), lookAgainMs);
      return;
    }
    const atLimits = hold.atLimits();
    const usage = remaining === 0 ? this.#release(job, hold, end.usage) : { ...end.usage, outputBytes: null };
    this.#options.emit({ type: 'leaderExited', jobId, exit: end.exit, remaining, usage, atLimits });
    if (remaining === 0) return;
    this.#leaderless.add(hold);
    hold.whenEmpty(() => this.#emptied(job, hold, end.usage));
  }

  #emptied(job: Job, hold: Hold, usage: LeaderEnd['usage']): void {
    if (this.#holds.get(job.id) !== hold) return;
    const atLimits = hold.atLimits();
    this.#options.emit({ type: 'emptied', jobId: job.id, usage: this.#release(job, hold, usage), atLimits });
  }

  /**
   * The leaf saw the CPU time of every process, orphans included; the leader's own count is second best; and where its launcher
   * cannot tell that, it was at least what was seen while it ran.
   */
  #release(job: Job, hold: Hold, usage: LeaderEnd['usage']): Usage {
    const seen = this.#peaks.end(job.id);
    const cpuMs = hold.cpuMs() ?? usage.cpuMs ?? seen.cpuMs;
    hold.release();
    this.#holds.delete(job.id);
    this.#options.watch.end(job.id);
    this.#options.missedEnds.end(job.id);
    const { output } = this.#options;
    const { number } = currentAttempt(job);
    const outputBytes = output.bytesOf(job, number);
    output.close(job, number);
    return {
      peakRssBytes: larger(usage.peakRssBytes, seen.peakRssBytes),
      cpuMs: cpuMs === null ? null : Math.round(cpuMs),
      outputBytes,
    };
  }
}

/** A job that was accepted by a daemon that could hold it to its limits does not run without them. */
function refuseShortfalls(resources: SettledResources | null): void {
  const [reason] = resources?.enforce === 'best-effort' ? [] : (resources?.shortfalls ?? []);
  if (reason !== undefined) throw new SpawnError(`${reason} It could be when the job was submitted.`, 126);
}

/** @throws SpawnError once the leader is gone, where a process cannot be held to a limit */
async function holdToLimits(hold: Hold, leader: Leader): Promise<void> {
  try {
    hold.limit(leader.pid);
  } catch (error) {
    hold.killAll();
    await leader.ended;
    const reason = error instanceof Error ? error.message : String(error);
    throw new SpawnError(error instanceof LimitError ? reason : `its limits cannot be set: ${reason}`, 126);
  }
}

/** Opening a FIFO would wait for its writer, and the daemon with it. open(2): with O_NONBLOCK it does not, and can be told. */
function openInput(path: string | null): number {
  if (path === null) return fs.openSync('/dev/null', 'r');
  let fd: number;
  try {
    fd = fs.openSync(pathFromText(path), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  } catch (error) {
    if (!(error instanceof Error) || isErrno(error, 'EMFILE', 'ENFILE')) throw error;
    throw new SpawnError(`standard input ${path}: ${error.message}`, 126);
  }
  const stat = fs.fstatSync(fd);
  if (stat.isFile() || stat.isCharacterDevice()) return fd;
  fs.closeSync(fd);
  throw new SpawnError(
    `standard input ${path} is not a file. Give it a file, or let the job open it itself: -c 'cmd <${path}'`,
    126,
  );
}
