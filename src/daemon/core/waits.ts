import { Heap } from './heap.ts';

/** Someone who waits for jobs to end. Not persisted: clients ask again after a restart. */
export interface Wait {
  /** Resolves when the jobs have ended, when the time is over, or when the wait is given up. Look which it was. */
  readonly settled: Promise<void>;
  giveUp(): void;
}

interface Entry {
  readonly jobIds: readonly number[];
  readonly mode: 'all' | 'any';
  remaining: number;
  isSettled: boolean;
  readonly resolve: () => void;
}

/** Who waits for which job, and until when. Event-driven: a wait ends with the end of a job or with its deadline. */
export class Waits {
  readonly #byJob = new Map<number, Set<Entry>>();
  readonly #deadlines = new Heap<{ atMonoMs: number; entry: Entry }>((a, b) => a.atMonoMs - b.atMonoMs);

  /** Waits for jobs that have not ended yet, none named twice. */
  add(jobIds: readonly number[], mode: 'all' | 'any', untilMonoMs: number): Wait {
    const { promise, resolve } = Promise.withResolvers<void>();
    const entry: Entry = { jobIds, mode, remaining: jobIds.length, isSettled: false, resolve };
    for (const jobId of jobIds) {
      const waiting = this.#byJob.get(jobId);
      if (waiting) waiting.add(entry);
      else this.#byJob.set(jobId, new Set([entry]));
    }
    this.#deadlines.push({ atMonoMs: untilMonoMs, entry });
    return { settled: promise, giveUp: () => this.#settle(entry) };
  }

  jobEnded(jobId: number): void {
    const waiting = this.#byJob.get(jobId);
    if (waiting === undefined) return;
    this.#byJob.delete(jobId);
    for (const entry of waiting) {
      entry.remaining -= 1;
      if (entry.remaining === 0 || entry.mode === 'any') this.#settle(entry);
    }
  }

  expire(nowMonoMs: number): void {
    for (let next = this.#first(); next !== undefined && next.atMonoMs <= nowMonoMs; next = this.#first())
      this.#settle(next.entry);
  }

  nextDeadline(): number | null {
    return this.#first()?.atMonoMs ?? null;
  }

  #settle(entry: Entry): void {
    if (entry.isSettled) return;
    entry.isSettled = true;
    for (const jobId of entry.jobIds) {
      const waiting = this.#byJob.get(jobId);
      if (waiting?.delete(entry) && waiting.size === 0) this.#byJob.delete(jobId);
    }
    entry.resolve();
  }

  #first() {
    while (this.#deadlines.peek()?.entry.isSettled) this.#deadlines.pop();
    return this.#deadlines.peek();
  }
}
