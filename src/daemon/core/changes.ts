/** How what the daemon knows changes. */
import type { Cause, EventKind } from '../../protocol/index.ts';
import type { Job } from './job.ts';
import { hasEnded } from './phase.ts';
import type { Scope } from './scope-index.ts';
import type { Admission, Bucket, Group, GroupState, RetryPace } from './state.ts';

/** One thing that a decision changes. The store writes the list down in one transaction. */
export type Change =
  | { readonly kind: 'job'; readonly before: Job | null; readonly after: Job }
  | { readonly kind: 'jobRemoved'; readonly jobId: number }
  /** Something happened to a job that stays in its status; a line in its events. */
  | {
      readonly kind: 'note';
      readonly job: Job;
      readonly note: Exclude<EventKind, 'transition'>;
      readonly detail: unknown;
    }
  | { readonly kind: 'group'; readonly before: Group | null; readonly after: Group }
  /** Only a group without live jobs is removed. `was`: for taking it back. */
  | { readonly kind: 'groupRemoved'; readonly was: GroupState }
  | { readonly kind: 'bucket'; readonly group: string; readonly before: Bucket; readonly after: Bucket }
  | { readonly kind: 'scope'; readonly before: Scope | null; readonly after: Scope }
  /** Clients hold one call more, or one less, on each of these jobs. */
  | { readonly kind: 'calls'; readonly jobIds: readonly number[]; readonly by: 1 | -1 }
  | { readonly kind: 'admission'; readonly before: Admission; readonly after: Admission }
  | { readonly kind: 'retryPace'; readonly before: RetryPace; readonly after: RetryPace };

/** Whether a job is in another status after this. */
export function isTransition(change: Change): boolean {
  return change.kind === 'job' && change.before?.phase.status !== change.after.phase.status;
}

/** Why a job is in another status now. What an attempt of an earlier life ended for is not why the job is queued again. */
export function causeOfTransition(before: Job | null, { phase, attempts }: Job): Cause | null {
  if (hasEnded(phase)) return phase.cause;
  return before !== null && hasEnded(before.phase) ? null : (attempts.at(-1)?.cause ?? null);
}
