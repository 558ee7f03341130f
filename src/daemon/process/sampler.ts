import fs from 'node:fs';
import { isErrno, unreachable } from '../../protocol/index.ts';
import { type CheckedJob, type Counter, currentAttempt, type IdleCheck, type Job, nextCounter } from '../core/index.ts';
import { readProcFile } from '../linux/index.ts';
import type { Hold } from './containment.ts';

/** So long the event loop is kept from everything else; what is left of a pass is done in its next turns. */
const sliceMs = 3;

/** Jobs of which one slice tells: those that are idle are stopped in the turn that hears of it. */
const mostPerSlice = 50;

/** How long a pass that was late is remembered. */
const lagMemoryMs = 60_000;

export interface SamplerOptions {
  /** The clock by which it was decided when to look: samples are compared with its times. */
  readonly readMonoMs: () => number;
  /** `null`: the attempt is over. */
  readonly holdOf: (jobId: number) => Hold | null;
  readonly outputFilesOf: (job: Job) => readonly string[];
  readonly onSampled: (samples: CheckedJob[]) => void;
}

/**
 * Looks at running jobs, to see whether they are idle: at all that are due, in slices, each with as few reads as it takes. It has
 * no timer: when to look is decided where everything is.
 *
 * The counts are read from the leaf, or from /proc. pidusage is not used for this: its `ctime` leaves out the children that a
 * process has waited for, it holds a descriptor per process for as long as it remembers it, and one first look at 1,500
 * processes kept the loop for 57 ms (measured).
 */
export class Sampler {
  readonly #options: SamplerOptions;
  #queue: IdleCheck[] = [];
  #isAtWork = false;
  #newestLag: { readonly lagMs: number; readonly atMonoMs: number } | null = null;

  constructor(options: SamplerOptions) {
    this.#options = options;
  }

  take(checks: readonly IdleCheck[]): void {
    this.#queue.push(...checks);
    if (this.#isAtWork) return;
    this.#isAtWork = true;
    this.#slice();
  }

  /** How late the newest pass was, within the last minute, or the one under way is by now. */
  lagMs(): number {
    const nowMs = this.#options.readMonoMs();
    const waiting = this.#queue[0];
    const newest = this.#newestLag;
    const past = newest === null || nowMs - newest.atMonoMs > lagMemoryMs ? 0 : newest.lagMs;
    return Math.max(0, past, waiting === undefined ? 0 : nowMs - waiting.dueMonoMs);
  }

  #slice(): void {
    const startedMs = this.#options.readMonoMs();
    const samples: CheckedJob[] = [];
    let lagMs = 0;
    while (samples.length < mostPerSlice && this.#options.readMonoMs() - startedMs < sliceMs) {
      const check = this.#queue.shift();
      if (check === undefined) break;
      const sample = this.#look(check);
      lagMs = Math.max(lagMs, sample.atMonoMs - check.dueMonoMs);
      samples.push(sample);
    }
    this.#newestLag = { lagMs, atMonoMs: startedMs };
    this.#options.onSampled(samples);
    if (this.#queue.length > 0) setImmediate(() => this.#slice());
    else this.#isAtWork = false;
  }

  #look(check: IdleCheck): CheckedJob {
    const { job } = check;
    const atMonoMs = this.#options.readMonoMs();
    const hold = this.#options.holdOf(job.id);
    const counts: Partial<Record<Counter, number | null>> = {};
    for (;;) {
      const counter = hold === null ? null : nextCounter(check, counts, atMonoMs);
      if (hold === null || counter === null)
        return { jobId: job.id, attempt: currentAttempt(job).number, atMonoMs, counts };
      counts[counter] = this.#count(counter, job, hold);
    }
  }

  #count(counter: Counter, job: Job, hold: Hold): number | null {
    try {
      switch (counter) {
        case 'cpu':
          return hold.cpuUsec();
        case 'output':
          return outputBytes(this.#options.outputFilesOf(job));
        case 'io':
          return ioBytes(hold.pids());
        default:
          return unreachable(counter);
      }
    } catch (error) {
      if (isErrno(error, 'EMFILE', 'ENFILE', 'ENOMEM', 'EIO')) return null; // Not known is not idle.
      throw error;
    }
  }
}

/** `null` where the job has put a file out of reach: then it cannot be said that it wrote nothing. */
function outputBytes(files: readonly string[]): number | null {
  try {
    return files.reduce((sum, file) => sum + fs.statSync(file).size, 0);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP')) return null;
    throw error;
  }
}

/**
 * What went through read(2), write(2) and their like, on files, pipes and sockets; not what reached a disk: a job may wait for its
 * peer. The kernel does not count recv(2) and send(2). proc_pid_io(5)
 */
function ioBytes(pids: readonly number[]): number | null {
  let sum = 0;
  for (const pid of pids) {
    const text = readProcFile(`/proc/${pid}/io`);
    const numbers = /^rchar: (\d+)\nwchar: (\d+)$/m.exec(text ?? '');
    // It may have ended; but one that is not ours to look at may do anything.
    if (numbers === null && fs.existsSync(`/proc/${pid}`)) return null;
    sum += Number(numbers?.[1] ?? 0) + Number(numbers?.[2] ?? 0);
  }
  return sum;
}
