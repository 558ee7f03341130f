/** Jobs that have ended are run again because a client says so: a new life of the same job. */
import { CorralError } from '../../protocol/index.ts';
import { closedTo, roomProblem } from './admitting.ts';
import { bulk, type Decision, jobNotFound, merge } from './decision.ts';
import { behindThose, dependenciesOf, failFor, isFailure } from './dependencies.ts';
import type { Event } from './events.ts';
import type { Instant } from './instant.ts';
import type { Job } from './job.ts';
import { hasEnded } from './phase.ts';
import { whyScopeIsClosed } from './scopes.ts';
import type { State } from './state.ts';
import { freshQueueRecord, inItsGroup, inQueue } from './waiting.ts';

/**
 * Puts ended jobs back into their queues. One that was never started has its dependencies before it again, in a chain that is
 * run again as a whole, too.
 */
export function retry(state: State, event: Extract<Event, { type: 'retry' }>, now: Instant): Decision {
  const closed = closedTo(state, event.request);
  if (closed !== null) return closed;
  const returned = new Map<number, Job>();
  const added = new Map<string, number>();
  const isLive = (jobId: number) => {
    const job = returned.get(jobId);
    return job === undefined ? state.live.has(jobId) : !hasEnded(job.phase);
  };
  // A job names only older ones in `after`, so in this order those come first.
  const jobIds = event.jobIds.toSorted((a, b) => a - b);
  return bulk(event.request, jobIds, (jobId) => {
    const ended = state.live.has(jobId) ? undefined : event.ended.get(jobId);
    if (ended === undefined) throw state.live.has(jobId) ? notEnded(state, jobId) : jobNotFound(jobId);
    const { group, scope } = ended.definition;
    const scopeProblem = whyScopeIsClosed(state, scope);
    if (scopeProblem !== null) throw new CorralError('SCOPE_CLOSED', scopeProblem);
    const more = (added.get(group) ?? 0) + 1;
    const problem = roomProblem(state, group, more);
    if (problem !== null) throw problem;
    added.set(group, more);
    const entered = inQueue({ ...ended, queue: freshQueueRecord(now) }, now);
    const queued = behindThose(inItsGroup(state, entered, now), isLive);
    returned.set(jobId, queued);
    const back: Decision = { changes: [{ kind: 'job', before: ended, after: queued }], effects: [] };
    const fatal = dependenciesOf(queued)
      .map((id) => returned.get(id) ?? event.ended.get(id))
      .find((one) => one !== undefined && isFailure(one, queued));
    if (fatal === undefined) return back;
    const failure = failFor(fatal, queued, now);
    for (const change of failure.changes) if (change.kind === 'job') returned.set(jobId, change.after);
    return merge([back, failure]);
  });
}

function notEnded(state: State, jobId: number): CorralError {
  const status = state.live.get(jobId)?.phase.status;
  return new CorralError(
    'JOB_RUNNING',
    `Job ${jobId} is ${status}. Only a job that has ended can be run again. Wait for it, or end it: corral cancel ${jobId}`,
  );
}
