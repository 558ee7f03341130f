/** Attempts and jobs end. */
import { type Cause, unreachable } from '../../protocol/index.ts';
import type { Attempt, LeaderExit } from './attempt.ts';
import { type Decision, merge, replace } from './decision.ts';
import type { Effect } from './effects.ts';
import type { Instant } from './instant.ts';
import { currentAttempt, type Job, type JobDefinition, withAttempt, withPhase } from './job.ts';
import type { EndedPhase } from './phase.ts';
import { type AtLimits, warnOfLimits } from './resources.ts';
import { afterFailure, afterRun } from './retry.ts';
import type { State } from './state.ts';
import { freshQueueRecord, inItsGroup, inQueue } from './waiting.ts';

/** Ends the current attempt with what its end has shown. It may go back to the queue. */
export function finish(
  state: State,
  job: Job,
  shown: Partial<Attempt>,
  now: Instant,
  atLimits: AtLimits | null = null,
): Decision {
  const { job: warned, notes } = warnOfLimits(
    withAttempt(afterRun(job, now), { ...shown, finishedWallMs: now.wallMs }),
    atLimits,
  );
  const ended = inItsGroup(state, endedJob(warned, now), now);
  const effects: Effect[] = ended.phase.status === 'queued' ? [] : [{ type: 'finished', job: ended }];
  return merge([{ changes: notes, effects: [] }, replace(job, ended, ...effects)]);
}

/** Ends a job that is still queued. */
export function finishUnstarted(job: Job, cause: Cause, now: Instant, message: string | null = null): Decision {
  const after = over(job, finalStatus(job.definition, cause, null), cause, now, message);
  return replace(job, after, { type: 'finished', job: after });
}

/** The job after its current attempt is over. Shared by the live loop and by recovery. */
export function endedJob(job: Job, now: Instant): Job {
  const { cause, exit } = currentAttempt(job);
  if (cause === null) throw new Error(`job ${job.id} ends without a cause`);
  const { onSupervisorLost } = job.definition.policies;
  if (cause === 'supervisor-lost' && onSupervisorLost === 'retry' && !job.queue.stopped) {
    const { held, retries, doublings, failuresWallMs } = job.queue;
    return inQueue({ ...job, queue: { ...freshQueueRecord(now), held, retries, doublings, failuresWallMs } }, now);
  }
  const status = finalStatus(job.definition, cause, exit);
  if (status !== 'failed') return over(job, status, cause, now);
  const verdict = afterFailure(job, now);
  if (verdict.next === 'retry') return inQueue({ ...job, queue: verdict.queue }, now);
  const ended = over(job, status, cause, now);
  const explained = verdict.message === null ? ended : withAttempt(ended, { message: verdict.message });
  return verdict.queue === job.queue ? explained : { ...explained, queue: verdict.queue };
}

/** The job in its final status. From here on its time to live runs. */
function over(job: Job, status: EndedPhase['status'], cause: Cause, now: Instant, message: string | null = null): Job {
  const { ttlMs } = job.definition.policies;
  const expiresWallMs = ttlMs === null ? null : now.steadyWallMs + ttlMs;
  const said = message === null ? {} : { message };
  return { ...withPhase(job, { status, cause, finishedWallMs: now.wallMs, ...said }), expiresWallMs };
}

function finalStatus(definition: JobDefinition, cause: Cause, exit: LeaderExit | null): EndedPhase['status'] {
  switch (cause) {
    case 'cancel':
    case 'scope':
    case 'lease':
    case 'reset':
      return 'cancelled';
    case 'exit':
      return exit?.code != null && definition.successCodes.includes(exit.code) ? 'completed' : 'failed';
    case 'signal':
    case 'spawn-error':
    case 'oom':
    case 'max-runtime':
    case 'idle':
    case 'output-limit':
    case 'dependency':
    case 'start-deadline':
    case 'supervisor-lost':
      return 'failed';
    default:
      return unreachable(cause);
  }
}
