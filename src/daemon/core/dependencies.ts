/** Jobs that wait for others: which are still to end, and what the end of one means to those that wait for it. */
import type { Change } from './changes.ts';
import { type Decision, nothing, replace } from './decision.ts';
import type { Effect } from './effects.ts';
import { finishUnstarted } from './ending.ts';
import type { Instant } from './instant.ts';
import type { Job } from './job.ts';
import { hasEnded } from './phase.ts';
import type { State } from './state.ts';

/** The jobs whose end matters to this one: none from its first attempt on. */
export function dependenciesOf({ phase, attempts, definition }: Job): readonly number[] {
  return phase.status === 'queued' && attempts.length === 0 ? definition.after : [];
}

/** The queued job with those of its dependencies that have not ended. One without a record has, and its end matters no more. */
export function behindThose(job: Job, isLive: (jobId: number) => boolean): Job {
  const { phase } = job;
  if (phase.status !== 'queued') return job;
  return { ...job, phase: { ...phase, waitsFor: dependenciesOf(job).filter(isLive) } };
}

/**
 * Adds what a decision means to jobs that wait for those that it ends, so that both are committed together. Chains of them fall
 * at once. A job that is run again is waited for again by whoever has not been started yet: a restart would find it so, too.
 */
export function settleDependents(state: State, decision: Decision, now: Instant): Decision {
  if (!decision.changes.some(isEndOrReturn)) return decision;
  const changes: Change[] = [...decision.changes];
  const effects: Effect[] = [...decision.effects];
  const newest = new Map(changes.filter(isJobChange).map(({ after }) => [after.id, after]));
  // It grows while it is gone through: an end brings about others.
  for (const change of changes) {
    if (!isEndOrReturn(change)) continue;
    for (const jobId of state.dependents.get(change.after.id) ?? []) {
      const dependent = newest.get(jobId) ?? state.live.get(jobId);
      if (dependent === undefined) continue;
      const consequence = consequenceOf(change.after, dependent, now);
      changes.push(...consequence.changes);
      effects.push(...consequence.effects);
      for (const { after } of consequence.changes.filter(isJobChange)) newest.set(jobId, after);
    }
  }
  return { changes, effects };
}

type JobChange = Extract<Change, { kind: 'job' }>;

function isJobChange(change: Change): change is JobChange {
  return change.kind === 'job';
}

/** Whether a job ends with this, or one that had ended goes back to its queue. */
function isEndOrReturn(change: Change): change is JobChange {
  if (!isJobChange(change)) return false;
  const hadEnded = change.before !== null && hasEnded(change.before.phase);
  return hadEnded !== hasEnded(change.after.phase);
}

function consequenceOf(dependency: Job, dependent: Job, now: Instant): Decision {
  const { phase } = dependent;
  if (phase.status !== 'queued' || !dependenciesOf(dependent).includes(dependency.id)) return nothing;
  if (isFailure(dependency, dependent)) return failFor(dependency, dependent, now);
  const others = phase.waitsFor.filter((jobId) => jobId !== dependency.id);
  const waitsFor = hasEnded(dependency.phase) ? others : [...others, dependency.id];
  return replace(dependent, { ...dependent, phase: { ...phase, waitsFor } });
}

/** Whether a dependency ended in a way that its dependent cannot do with. */
export function isFailure({ phase }: Job, { definition }: Job): boolean {
  return hasEnded(phase) && phase.status !== 'completed' && definition.afterMode === 'success';
}

/** A queued job ends because of one that it waited for. */
export function failFor(dependency: Job, dependent: Job, now: Instant): Decision {
  const message = `It was to start after job ${dependency.id}, which ${howItEnded(dependency)}. To run both again: corral retry ${dependency.id} ${dependent.id}`;
  return finishUnstarted(dependent, 'dependency', now, message);
}

function howItEnded({ phase, attempts }: Job): string {
  if (!hasEnded(phase)) return `is ${phase.status}`;
  const exit = attempts.at(-1)?.exit;
  switch (phase.cause) {
    case 'exit':
      return `${phase.status} with exit code ${exit?.code}`;
    case 'signal':
      return `was ended by ${exit?.signal}`;
    default:
      return phase.cause === 'cancel' ? 'was cancelled' : `${phase.status} (${phase.cause})`;
  }
}
