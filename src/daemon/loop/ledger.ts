/**
 * What the daemon has written down about jobs, and over it what is newer: the changes of the turn under way, and those that the
 * store could not take, which are kept in memory until it can.
 */
import { CorralError } from '../../protocol/index.ts';
import { type Change, type Effect, isLasting, type Job } from '../core/index.ts';
import type { Store } from '../store/index.ts';
import { SlidingMax } from './sliding.ts';

/** What was decided at one time, and what is to be done once it is written down. */
export interface Entry {
  readonly changes: readonly Change[];
  readonly effects: readonly Effect[];
  readonly wallMs: number;
}

export class Ledger {
  readonly #store: Store;
  readonly #newer = new Map<number, Job | 'removed'>();
  readonly #newerByKey = new Map<string, Job>();
  /** Entries that the store did not take, oldest first. */
  #unwritten: Entry[] = [];
  /** What the store has of each job in them. */
  readonly #lastWritten = new Map<number, Job>();
  #trouble: CorralError | null = null;
  readonly #monoMs: () => number;
  readonly #longest = new SlidingMax();
  #lastMs: number | null = null;

  /** @param monoMs the clock by which commits are timed */
  constructor(store: Store, monoMs: () => number) {
    this.#store = store;
    this.#monoMs = monoMs;
  }

  /** How long commits took, also those that failed: the last one, and the longest within the last minute. */
  get latencyMs(): { readonly last: number | null; readonly max: number } {
    return { last: this.#lastMs, max: this.#longest.lastMinute(this.#monoMs()) };
  }

  /** Set from the first commit that failed to the next that did not. */
  get trouble(): CorralError | null {
    return this.#trouble;
  }

  /** Changes that wait for the store. */
  get unwritten(): number {
    return this.#unwritten.flatMap(({ changes }) => changes.filter(isLasting)).length;
  }

  /** The job as far as it is certain: a result that a crash could still take away is not shown. */
  certain(jobId: number, live: Job | undefined): Job | null {
    return this.#lastWritten.get(jobId) ?? live ?? this.newest(jobId);
  }

  isWritten(jobId: number): boolean {
    return !this.#lastWritten.has(jobId);
  }

  /** The newest record of a job that is not in the state. */
  newest(jobId: number): Job | null {
    const newer = this.#newer.get(jobId);
    if (newer === 'removed') return null;
    return newer ?? this.#store.findJob(jobId);
  }

  newestByKey(key: string): Job | null {
    const twin = this.#newerByKey.get(key) ?? this.#store.findJobByKey(key);
    return twin !== null && this.#newer.get(twin.id) === 'removed' ? null : twin;
  }

  /** Takes note of changes that the store does not have yet. */
  note(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === 'jobRemoved') this.#newer.set(change.jobId, 'removed');
      if (change.kind !== 'job') continue;
      const { id, definition } = change.after;
      this.#newer.set(id, change.after);
      if (definition.idempotencyKey !== null) this.#newerByKey.set(definition.idempotencyKey, change.after);
    }
  }

  /** The noted changes were taken back. */
  forget(): void {
    this.#newer.clear();
    this.#newerByKey.clear();
  }

  /**
   * Writes the noted changes down.
   *
   * @throws CorralError `STORE_FAILED`; nothing was written then
   */
  commit(changes: readonly Change[], wallMs: number): void {
    try {
      this.#write(changes, wallMs);
    } catch (error) {
      if (error instanceof CorralError) this.#trouble ??= error;
      throw error;
    }
    this.forget();
    if (changes.some(isLasting)) this.#trouble = null; // With nothing to write, the disk was not asked.
  }

  /** Keeps in memory what is true and cannot be written down now. */
  postpone(entry: Entry): void {
    this.note(entry.changes);
    this.#unwritten.push(entry);
    this.#noteLastWritten(entry);
  }

  /** Writes what was postponed, as far as the store takes it, and ends the trouble where it takes all. Returns what it took. */
  catchUp(): Entry[] {
    const written: Entry[] = [];
    try {
      for (let entry = this.#unwritten[0]; entry !== undefined; entry = this.#unwritten[0]) {
        this.#write(entry.changes, entry.wallMs);
        this.#unwritten.shift();
        written.push(entry);
      }
      this.#store.probe();
      this.forget();
      this.#trouble = null;
    } catch (error) {
      if (!(error instanceof CorralError)) throw error;
    }
    this.#lastWritten.clear();
    for (const entry of this.#unwritten) this.#noteLastWritten(entry);
    return written;
  }

  #write(changes: readonly Change[], wallMs: number): void {
    if (!changes.some(isLasting)) return this.#store.commit(changes, wallMs);
    const startedMs = this.#monoMs();
    try {
      this.#store.commit(changes, wallMs);
    } finally {
      const nowMs = this.#monoMs();
      this.#lastMs = nowMs - startedMs;
      this.#longest.add(this.#lastMs, nowMs);
    }
  }

  #noteLastWritten({ changes }: Entry): void {
    for (const change of changes) {
      if (change.kind !== 'job' || change.before === null || this.#lastWritten.has(change.after.id)) continue;
      this.#lastWritten.set(change.after.id, change.before);
    }
  }
}
