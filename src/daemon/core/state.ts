/**
 * What the daemon knows: the jobs that have not ended, the groups, the open scopes, and indexes over them that are derived, never
 * decided on their own. Jobs that have ended live in the store only.
 */
import type { GroupMode } from '../../protocol/index.ts';
import { Heap } from './heap.ts';
import type { Job } from './job.ts';
import type { ScopeState } from './scope-index.ts';

export interface State {
  admission: Admission;
  retryPace: RetryPace;
  nextJobId: number;
  readonly live: Map<number, Job>;
  readonly groups: Map<string, GroupState>;
  /** By job: how many calls clients hold on it, if any. Also on one that has ended: it may be run again before they are over. */
  readonly calls: Map<number, number>;
  /** By job: the queued jobs that name it in `after` and have not been started yet. */
  readonly dependents: Map<number, Set<number>>;
  /** Scopes that are not closed, or whose last jobs are being ended. */
  readonly scopes: Map<string, ScopeState>;
  /** May hold deadlines that no longer stand; whoever takes one out compares it with the job. */
  readonly deadlines: Heap<DeadlineEntry>;
  /**
   * When running jobs are to be looked at, of the same kind. Apart from the deadlines: a check gives the job its next one, and a
   * deadline in the far future would be entered again each time.
   */
  readonly idleChecks: Heap<DeadlineEntry>;
}

/**
 * Whether jobs are accepted and started. Paused: there is no room on the disk, and what is left of it is for the results of what
 * runs. `closing`: the daemon is ending its jobs.
 */
export type Admission = 'open' | { readonly pausedFor: string } | 'closing';

/** How many retries may come due at once: a bucket of `burst`, filled `perSecond`. */
export interface RetryPace {
  readonly perSecond: number;
  readonly burst: number;
  /** When the bucket is full again. Each start puts it off. */
  readonly nextMonoMs: number;
}

export interface Group {
  readonly name: string;
  readonly parallel: number;
  readonly maxQueued: number;
  /** Most starts per second; `null`: no limit. */
  readonly ratePerSecond: number | null;
  readonly burst: number;
  readonly mode: GroupMode;
  readonly paused: boolean;
}

export type GroupSettings = Partial<Omit<Group, 'name'>>;

export interface GroupState {
  group: Group;
  queued: number;
  active: number;
  /** Attempts begun, and jobs ended, in this daemon's life. */
  starts: number;
  ends: number;
  bucket: Bucket;
  /** Queued jobs in starting order. May hold entries of jobs that are queued no more; whoever takes one out checks. */
  readonly ready: Heap<ReadyEntry>;
}

/** What the rate of a group allows, of this daemon's life only. A token bucket, told by the time at which it would be full. */
export interface Bucket {
  readonly fullAtMonoMs: number;
  /** A job waits for nothing but a token, and this is when there will be one. */
  readonly wakeAtMonoMs: number | null;
  /** A job waited for nothing but a token when jobs were last to be started. */
  readonly isAwaited: boolean;
}

export const fullBucket: Bucket = { fullAtMonoMs: Number.NEGATIVE_INFINITY, wakeAtMonoMs: null, isAwaited: false };

export interface ReadyEntry {
  readonly jobId: number;
  readonly priority: number;
}

export interface DeadlineEntry {
  readonly atMonoMs: number;
  readonly jobId: number;
}

/** Before the configuration says otherwise. */
const usualPace: RetryPace = { perSecond: 20, burst: 100, nextMonoMs: 0 };

export function emptyState(nextJobId = 1): State {
  return {
    admission: 'open',
    retryPace: usualPace,
    nextJobId,
    live: new Map(),
    groups: new Map(),
    calls: new Map(),
    dependents: new Map(),
    scopes: new Map(),
    deadlines: new Heap(comesBefore),
    idleChecks: new Heap(comesBefore),
  };
}

function comesBefore(a: DeadlineEntry, b: DeadlineEntry): number {
  return a.atMonoMs - b.atMonoMs;
}

/** Higher priority first, then age. */
export function startsBefore(a: ReadyEntry, b: ReadyEntry): number {
  return b.priority - a.priority || a.jobId - b.jobId;
}
