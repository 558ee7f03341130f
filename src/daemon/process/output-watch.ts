/**
 * Looks at how large the output of running attempts is, on the beat of the daemon: jobs write to their files directly, and nobody
 * else would notice. The further a job is from its limit, the less often it is looked at.
 */
import { currentAttempt, type Event, type Job, type OutputSize, type VitalFacts } from '../core/index.ts';
import type { OutputFiles } from './output.ts';

/** A job is taken to write no faster than this between two looks, in bytes a millisecond. */
const fastestBytesPerMs = 100_000;

/** Longest time between two looks at a job. */
const longestMs = 10_000;

const none: OutputSize = { stdout: 0, stderr: 0 };

interface Watched {
  readonly job: Job;
  size: OutputSize;
  onDisk: OutputSize;
  /** What it takes on the disk. */
  bytes: number;
  lookAtMs: number;
}

export interface OutputWatchOptions {
  readonly output: OutputFiles;
  readonly emit: (event: Event) => void;
  /** Most that the output of all jobs may take, and what that of ended ones does. */
  readonly total: { readonly maxBytes: () => number | null; readonly retainedBytes: () => number };
}

export class OutputWatch {
  readonly #options: OutputWatchOptions;
  readonly #watched = new Map<number, Watched>();
  /** Since when all output together has been beyond its limit. */
  #beyondSinceMs: number | null = null;

  constructor(options: OutputWatchOptions) {
    this.#options = options;
  }

  /** By how much all output together is beyond its limit, as far as running attempts were when they were looked at last; 0: it is not. */
  beyondBytes(): number {
    const maxBytes = this.#options.total.maxBytes();
    return maxBytes === null ? 0 : Math.max(0, this.#allBytes() - maxBytes);
  }

  #allBytes(): number {
    let sum = this.#options.total.retainedBytes();
    for (const { bytes } of this.#watched.values()) sum += bytes;
    return sum;
  }

  /** What the output of all jobs takes, of ended ones too, and for how long that has been too much. */
  facts(nowMs: number): Pick<VitalFacts, 'outputBytes' | 'outputLimitBytes' | 'outputBeyondMs'> {
    return {
      outputBytes: this.#allBytes(),
      outputLimitBytes: this.#options.total.maxBytes(),
      outputBeyondMs: this.#beyondSinceMs === null ? null : nowMs - this.#beyondSinceMs,
    };
  }

  begin(job: Job): void {
    this.#watched.set(job.id, { job, size: none, onDisk: none, bytes: 0, lookAtMs: 0 });
  }

  end(jobId: number): void {
    this.#watched.delete(jobId);
  }

  /** At each beat. */
  look(nowMs: number): void {
    const { output, emit } = this.#options;
    for (const watched of this.#watched.values()) {
      if (watched.lookAtMs > nowMs) continue;
      const { job } = watched;
      const attempt = currentAttempt(job).number;
      const earlier = watched.size;
      watched.size = output.sizeOf(job, attempt);
      watched.onDisk = output.onDiskOf(job, attempt);
      watched.bytes = watched.onDisk.stdout + watched.onDisk.stderr;
      const limit = job.definition.policies.outputLimitBytes;
      const leftBytes = limit === null ? Number.POSITIVE_INFINITY : limit - watched.bytes;
      watched.lookAtMs = nowMs + Math.min(longestMs, Math.max(0, leftBytes / fastestBytesPerMs));
      const wasCut = watched.size.stdout < earlier.stdout || watched.size.stderr < earlier.stderr;
      const { size, onDisk } = watched;
      if (leftBytes < 0 || wasCut)
        emit({ type: 'outputMeasured', jobId: job.id, attempt, size, onDisk, totalLeavesBytes: null });
    }
    this.#beyondSinceMs = this.beyondBytes() > 0 ? (this.#beyondSinceMs ?? nowMs) : null;
  }

  /** All output together is so much beyond its limit, and nothing else is left to delete: the largest of the running ones gives way. */
  giveWay(beyondBytes: number): void {
    let largest: Watched | null = null;
    for (const watched of this.#watched.values()) if (watched.bytes > (largest?.bytes ?? 0)) largest = watched;
    if (largest === null) return;
    const { job, size, onDisk, bytes } = largest;
    const totalLeavesBytes = Math.max(0, bytes - beyondBytes);
    largest.lookAtMs = 0;
    const attempt = currentAttempt(job).number;
    this.#options.emit({ type: 'outputMeasured', jobId: job.id, attempt, size, onDisk, totalLeavesBytes });
  }
}
