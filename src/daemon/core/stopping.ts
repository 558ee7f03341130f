/** Jobs are stopped, for a reason, and made to hurry. */
import type { Change } from './changes.ts';
import { type Decision, merge, nothing, replace } from './decision.ts';
import type { Effect } from './effects.ts';
import { finishUnstarted } from './ending.ts';
import type { Instant } from './instant.ts';
import { currentAttempt, type Job, withAttempt, withPhase } from './job.ts';
import type { StopRequest } from './phase.ts';
import { afterRun, withoutRetry } from './retry.ts';
import type { State } from './state.ts';

/** After SIGKILL, a process that is still there this much later is reported as unkillable, and killed again. */
export const killPatienceMs = 10_000;

/** When the daemon stops, a job gets its own grace, but at most this: a service manager waits for the daemon. */
export const shutdownGraceMs = 5_000;

/** Whether SIGKILL did not end some process of the job. */
export function isUnkillable({ phase }: Job): boolean {
  return phase.status === 'stopping' && phase.unkillable;
}

/** Stops a job for a reason, with its own grace. */
export function stopFor(cause: StopRequest['cause'], job: Job, now: Instant, message: string | null = null): Decision {
  return stop(job, { cause, graceMs: job.definition.policies.killGraceMs, message }, now);
}

/** Stops a job for a reason. What is stopping already keeps its cause, but can be made to hurry. */
export function stop(job: Job, request: StopRequest, now: Instant): Decision {
  const { cause, graceMs, message = null } = request;
  switch (job.phase.status) {
    case 'queued':
      return finishUnstarted(job, cause, now, message);
    case 'starting': {
      const earlier = job.phase.stopRequested;
      const stopRequested =
        earlier === null ? request : { ...earlier, graceMs: shorterGrace(earlier.graceMs, graceMs) };
      const caused = withAttempt(withoutRetry(job, cause), {
        cause: stopRequested.cause,
        message: stopRequested.message ?? null,
      });
      return replace(job, withPhase(caused, { ...job.phase, stopRequested }));
    }
    case 'running': {
      const attempt = currentAttempt(job);
      const caused = attempt.cause === null ? { cause, message: message ?? attempt.message } : {};
      return beginStopping(withAttempt(withoutRetry(job, cause), caused), graceMs, now, job);
    }
    case 'stopping': {
      const stopped = withoutRetry(job, cause);
      if (graceMs === null && !job.phase.killed) return kill(stopped, now, job);
      if (graceMs === null || job.phase.killed || job.phase.escalateAtMonoMs <= now.monoMs + graceMs)
        return stopped === job ? nothing : replace(job, stopped);
      return replace(job, withPhase(stopped, { ...job.phase, escalateAtMonoMs: now.monoMs + graceMs }));
    }
    default:
      return nothing;
  }
}

function shorterGrace(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : Math.min(a, b);
}

/** @param job as it is from here on, in `before`'s place */
export function beginStopping(job: Job, graceMs: number | null, now: Instant, before: Job): Decision {
  const after = withPhase(afterRun(job, now), {
    status: 'stopping',
    escalateAtMonoMs: now.monoMs + (graceMs ?? killPatienceMs),
    killed: graceMs === null,
    unkillable: false,
  });
  const effect: Effect = { type: graceMs === null ? 'kill' : 'terminate', jobId: job.id };
  return replace(before, after, effect);
}

/**
 * SIGKILL, and again where it has not ended everything.
 *
 * @param job as it is from here on, in `before`'s place
 */
export function kill(job: Job, now: Instant, before = job): Decision {
  const unkillable = job.phase.status === 'stopping' && job.phase.killed;
  const after = withPhase(job, {
    status: 'stopping',
    escalateAtMonoMs: now.monoMs + killPatienceMs,
    killed: true,
    unkillable,
  });
  return replace(before, after, { type: 'kill', jobId: job.id });
}

export function shutdown(state: State, now: Instant): Decision {
  const again = state.admission === 'closing';
  const active = [...state.live.values()].filter((job) => job.phase.status !== 'queued');
  const stops = active.map((job) => {
    const graceMs = again ? null : shorterGrace(job.definition.policies.killGraceMs, shutdownGraceMs);
    return stop(job, { cause: 'supervisor-lost', graceMs }, now);
  });
  const closing: Change = { kind: 'admission', before: state.admission, after: 'closing' };
  return merge([{ changes: [closing], effects: [] }, ...stops]);
}
