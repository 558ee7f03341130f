import type { EventView, JobStatus } from '../../protocol/index.ts';
import type { Change, Group, Job, JobSketch, StoredScope } from '../core/index.ts';

/** What the daemon starts from. */
export interface Snapshot {
  readonly groups: readonly Group[];
  /** Every job that has not ended, by id. Those that were starting, running or stopping are what recovery is about. */
  readonly jobs: readonly Job[];
  /** Scopes that are open, or whose last jobs were being ended. */
  readonly scopes: readonly StoredScope[];
  /** One more than any id ever given out, removed jobs included. */
  readonly nextJobId: number;
  /** 32 bits, drawn when the store was made; processes of this daemon's jobs are marked with it. */
  readonly instance: number;
}

export interface JobQuery {
  readonly statuses: readonly JobStatus[] | null;
  readonly group: string | null;
  readonly order: 'oldest' | 'newest';
  /** Last id of the page before; `null` for the first page. */
  readonly cursor: number | null;
  readonly limit: number;
}

/** With a scope, `statuses` and `group` are not looked at: a scope has few jobs. */
export interface SketchQuery extends JobQuery {
  readonly scope: string | null;
}

export interface EventQuery {
  readonly after: number;
  /** `null` for those of all jobs. */
  readonly jobId: number | null;
  readonly limit: number;
}

/** Keeps the jobs. Durable: when `commit` returns, the changes survive SIGKILL and loss of power. */
export interface Store {
  load(): Snapshot;
  /**
   * Writes all of the changes, or none.
   *
   * @throws CorralError `STORE_FAILED`; nothing has been written then, and the store can be tried again
   */
  commit(changes: readonly Change[], wallMs: number): void;
  /**
   * Writes something that changes nothing, to see whether the store can be written.
   *
   * @throws CorralError `STORE_FAILED`
   */
  probe(): void;
  findJob(jobId: number): Job | null;
  findJobByKey(idempotencyKey: string): Job | null;
  /** A scope, over or not; `null` where there never was one, or its report is not kept any more. */
  findScope(id: string): StoredScope | null;
  /** Ids of one page. */
  listJobIds(query: JobQuery): number[];
  /** One page, with what a filter looks at. */
  listSketches(query: SketchQuery): JobSketch[];
  /** Those of the jobs that have a record. */
  sketchesOf(jobIds: readonly number[]): JobSketch[];
  /** Transitions after `after`, oldest first. */
  listEvents(query: EventQuery): EventView[];
  /** Number of the newest transition ever written; 0 if there was none. */
  lastEvent(): number;
  countJobs(): Record<JobStatus, number>;
  /** Ended jobs whose time to live is over, the longest gone first. */
  listExpired(steadyWallMs: number, limit: number): number[];
  /** The oldest of the ended jobs that have any output. */
  oldestWithOutput(): number | null;
  /** What the output of ended attempts takes together. */
  retainedOutputBytes(): number;
  /** Why what is written would not be found again: somebody has taken the file away. `null` where it is in its place. */
  misplacement(): string | null;
  close(): void;
}
