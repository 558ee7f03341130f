import fs from 'node:fs';
import { isErrno, unreachable } from '../../protocol/index.ts';
import {
  type CheckedJob,
  type Counter,
  type Counts,
  currentAttempt,
  type IdleCheck,
  type Job,
  nextCounter,
} from '../core/index.ts';
import { readProcFile } from '../linux/index.ts';
import type { Hold } from './containment.ts';
import { talkOf } from './talk.ts';

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
  /** A look failed in a way that nobody foresaw. What it would have found is not known, and all others go on. */
  readonly onFailure: (job: Job, error: unknown) => void;
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
    this.#sliceNext(); // To decide what is due took its own time of this turn.
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
    if (this.#queue.length > 0) this.#sliceNext();
    else this.#isAtWork = false;
  }

  #sliceNext(): void {
    setImmediate(() => this.#slice());
  }

  #look(check: IdleCheck): CheckedJob {
    const { job } = check;
    const atMonoMs = this.#options.readMonoMs();
    const counts = this.#countsOf(check, atMonoMs);
    return { jobId: job.id, attempt: currentAttempt(job).number, atMonoMs, counts };
  }

  #countsOf(check: IdleCheck, atMonoMs: number): Counts {
    const { holdOf, outputFilesOf, onFailure } = this.#options;
    const { job } = check;
    const next = () => nextCounter(check, counts, atMonoMs);
    let counts: Counts = {};
    try {
      const hold = holdOf(job.id);
      const look = hold && new Look(check, hold, () => outputFilesOf(job));
      for (let counter = next(); look !== null && counter !== null; counter = next())
        counts = { ...counts, ...look.count(counter, counts) };
    } catch (error) {
      onFailure(job, error);
    }
    return counts;
  }
}

/** One job, looked at once. */
class Look {
  readonly #before: Counts;
  readonly #hold: Hold;
  readonly #outputFiles: () => readonly string[];
  #found: number[] | null = null;

  constructor({ last }: IdleCheck, hold: Hold, outputFiles: () => readonly string[]) {
    this.#before = last?.counts ?? {};
    this.#hold = hold;
    this.#outputFiles = outputFiles;
  }

  /** @param counts what has been counted by now */
  count(counter: Counter, counts: Counts): Counts {
    try {
      return this.#hasStoodStill(counts) ? this.#asBefore(counter) : this.#anew(counter);
    } catch (error) {
      if (isErrno(error, 'EMFILE', 'ENFILE', 'ENOMEM', 'EIO')) return { [counter]: null }; // Not known is not idle.
      throw error;
    }
  }

  /** Where all CPU time is counted, a job that has used none at all has done nothing. */
  #hasStoodStill({ cpu }: Counts): boolean {
    return this.#hold.countsAllCpu && cpu !== undefined && cpu !== null && cpu === this.#before.cpu;
  }

  #asBefore(counter: Counter): Counts {
    return this.#before[counter] == null ? this.#anew(counter) : { [counter]: this.#before[counter] };
  }

  #anew(counter: Counter): Counts {
    switch (counter) {
      case 'cpu':
        return { cpu: this.#hold.cpuUsec() };
      case 'output':
        return { output: outputBytes(this.#outputFiles()) };
      case 'io':
        return { io: ioBytes(this.#pids()) };
      case 'talk':
        return { talk: talkOf(this.#pids(), this.#before.talk ?? null) };
      default:
        return unreachable(counter);
    }
  }

  #pids(): readonly number[] {
    this.#found ??= this.#hold.pids();
    return this.#found;
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
 * peer. The kernel does not count recv(2) and send(2): see `talkOf`. proc_pid_io(5)
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
