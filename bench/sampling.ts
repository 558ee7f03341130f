/**
 * What it costs to look at 1,000 running jobs of 3 processes each, to see whether they are idle: npm run bench:sampling [-- jobs]
 *
 * A pass is everything from the alarm to the decision on the last job, without the store, which keeps nothing of it. CPU time
 * is that of the whole process; `longest` is the longest turn of its event loop, in CPU time: on a busy machine the clock would
 * count what others do.
 */
import fs from 'node:fs';
import os from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import koffi from 'koffi';
import {
  apply,
  beginAttempt,
  currentAttempt,
  decide,
  definitionFrom,
  type Event,
  emptyState,
  newGroup,
  newJob,
} from '../src/daemon/core/index.ts';
import { becomeSubreaper, ChildReaper } from '../src/daemon/linux/index.ts';
import {
  chooseContainment,
  chooseLauncher,
  MissedEnds,
  OutputFiles,
  OutputWatch,
  Runner,
  Sampler,
  type SamplerOptions,
} from '../src/daemon/process/index.ts';
import type { PolicySettings } from '../src/protocol/index.ts';

export interface SamplingCost {
  readonly cpuMs: number;
  readonly wallMs: number;
  readonly longestMs: number;
}

/** Two that sleep below one that waits for them. */
const threeProcesses = ['/bin/sh', '-c', 'sleep 3600 & sleep 3600 & wait'];

/** Passes that are left out: the first opens what is kept open, and Node takes some until it has compiled what runs again and again. */
const warmUpPasses = 20;

/**
 * Starts jobs in a tier, looks at them so many times, and ends them.
 *
 * @param idle what differs from `stream`'s rule
 */
export async function measureSampling(
  tier: 'cgroup' | 'scan',
  jobs: number,
  idle: NonNullable<PolicySettings['idle']> = {},
  passes = 15,
): Promise<SamplingCost[]> {
  const dir = fs.mkdtempSync(`${os.tmpdir()}/corral-bench-`);
  const keepAlive = setInterval(() => {}, 60_000); // Waiting for a signal alone does not keep Node running.
  becomeSubreaper();
  const reaper = new ChildReaper();
  const containment = chooseContainment({ wanted: tier, instance: process.pid, uid: process.getuid?.() ?? 0, reaper });
  await containment.sweep([]);
  reaper.onExits = () => containment.onExits();
  reaper.start();
  const launcher = await chooseLauncher('posix_spawn', reaper);
  const output = new OutputFiles(dir);
  const state = emptyState();
  const at = () => ({ monoMs: performance.now(), wallMs: Date.now(), steadyWallMs: Date.now(), unitRandom: 0.5 });
  let left = jobs;
  let settled: () => void = () => {};
  const emit = (event: Event) => {
    apply(state, decide(state, event, at()).changes);
    if (event.type === 'launched' || event.type === 'launchFailed' || event.type === 'emptied') left -= 1;
    if (event.type === 'sampled') left -= event.samples.length;
    if (event.type === 'leaderExited' && event.remaining === 0) left -= 1;
    if (left <= 0) settled();
  };
  const all = (count: number) =>
    new Promise<void>((resolve) => {
      left = count;
      settled = resolve;
    });
  const total = { maxBytes: () => null, retainedBytes: () => 0 };
  const watch = new OutputWatch({ output, emit, total });
  const runner = new Runner({
    containment,
    launcher,
    output,
    missedEnds: new MissedEnds({ lookAgain: () => {}, onMissed: () => {} }),
    watch,
    socket: '/dev/null',
    reportPipe: '/dev/null',
    emit,
  });
  const turns = new Turns();
  const options: SamplerOptions = {
    readMonoMs: () => performance.now(),
    holdOf: (jobId) => {
      turns.begin();
      return runner.holdOf(jobId);
    },
    outputFilesOf: (job) => output.files(job),
    onSampled: (samples) => {
      emit({ type: 'sampled', samples });
      turns.end();
    },
    onFailure: (_, error) => {
      throw error;
    },
  };
  const sampler = new Sampler(options);
  try {
    apply(state, [{ kind: 'group', before: null, after: newGroup('default', jobs) }]);
    const policies = {
      profile: 'stream',
      leaseMs: null, // The clock is put forward by hours.
      idle: { cpuMillicores: 4, ...idle, checks: 1_000_000, intervalMs: 3_600_000 },
    };
    const definition = definitionFrom({
      command: threeProcesses,
      env: { PATH: '/usr/bin:/bin' },
      cwd: '/',
      ...policies,
    });
    const launched = all(jobs);
    for (let id = 1; id <= jobs; id += 1) {
      const queued = newJob(id, definition, at());
      const starting = beginAttempt(queued, tier);
      apply(state, [
        { kind: 'job', before: null, after: queued },
        { kind: 'job', before: queued, after: starting },
      ]);
      await runner.launch(starting);
    }
    await launched;
    await delay(1_000); // Each shell starts its two.
    const costs: SamplingCost[] = [];
    for (let pass = 0; pass < passes + warmUpPasses; pass += 1) {
      const monoMs = performance.now() + (pass + 1) * 3_600_000 * 1.1; // As if the interval were over.
      turns.reset();
      const cpu = process.cpuUsage();
      const startedMs = performance.now();
      const sampled = all(jobs);
      turns.begin();
      const tick = decide(state, { type: 'tick' }, { ...at(), monoMs });
      apply(state, tick.changes);
      for (const effect of tick.effects) if (effect.type === 'sample') sampler.take(effect.checks);
      turns.end();
      await sampled;
      const { user, system } = process.cpuUsage(cpu);
      costs.push({
        cpuMs: (user + system) / 1_000,
        wallMs: performance.now() - startedMs,
        longestMs: turns.longestMs,
      });
      for (const job of state.live.values())
        if (job.phase.status !== 'running' || currentAttempt(job).cause !== null)
          throw new Error(`job ${job.id} ended`);
      await delay(10);
    }
    return costs.slice(warmUpPasses);
  } finally {
    const ended = all(state.live.size);
    await containment.sweep([]);
    await ended;
    containment.close();
    reaper.stop();
    clearInterval(keepAlive);
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

/** CPU time that this thread uses from the beginning of a turn to its end. */
class Turns {
  #begunMs: number | null = null;
  longestMs = 0;

  begin(): void {
    this.#begunMs ??= threadMs();
  }

  end(): void {
    if (this.#begunMs !== null) this.longestMs = Math.max(this.longestMs, threadMs() - this.#begunMs);
    this.#begunMs = null;
  }

  reset(): void {
    this.#begunMs = null;
    this.longestMs = 0;
  }
}

const CLOCK_THREAD_CPUTIME_ID = 3;
const clockGettime = koffi.load(null as unknown as string).func('int clock_gettime(int clock, void* time)');
const timespec = Buffer.alloc(16);

/** `process.threadCpuUsage` is of no use for this: it is as old as the last tick of the kernel, which may be 4 ms. clock_gettime(2) */
function threadMs(): number {
  clockGettime(CLOCK_THREAD_CPUTIME_ID, timespec);
  return Number(timespec.readBigInt64LE(0)) * 1_000 + Number(timespec.readBigInt64LE(8)) / 1e6;
}

/**
 * What a pass costs, the median of all, and the longest that the loop was kept in any but one of them: time that a host takes from
 * its virtual machine counts as that of whoever runs there.
 */
export function summaryOf(costs: readonly SamplingCost[]): SamplingCost {
  const sorted = (of: keyof SamplingCost) => costs.map((cost) => cost[of]).sort((a, b) => a - b);
  const median = (of: keyof SamplingCost) => sorted(of)[costs.length >> 1] ?? 0;
  return { cpuMs: median('cpuMs'), wallMs: median('wallMs'), longestMs: sorted('longestMs').at(-2) ?? 0 };
}

/** The rule of profile `default` looks at everything. */
export const everySignal = {
  signals: ['cpu', 'io', 'output', 'progress', 'client'],
} satisfies PolicySettings['idle'];

if (import.meta.main) {
  const jobs = Number(process.argv[2] ?? 1_000);
  const rules = { 'CPU alone (stream)': {}, 'all signals (default)': everySignal };
  for (const tier of ['cgroup', 'scan'] as const) {
    for (const [name, idle] of Object.entries(rules)) {
      const { cpuMs, wallMs, longestMs } = summaryOf(await measureSampling(tier, jobs, idle));
      const [cpu, wall, longest] = [cpuMs, wallMs, longestMs].map((ms) => `${ms.toFixed(1)} ms`);
      console.log(
        `${tier.padEnd(6)} ${name}: ${jobs} jobs of 3 processes: ${cpu} of CPU, ${wall} in all, longest ${longest}`,
      );
    }
  }
}
