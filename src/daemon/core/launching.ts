/** Attempts begin: before the process exists, and once it does. */

import { pauseAdmission } from './admitting.ts';
import { type Decision, merge, nothing, onLive, replace } from './decision.ts';
import { behindThose } from './dependencies.ts';
import { finish } from './ending.ts';
import type { Event } from './events.ts';
import { startWatch } from './idle.ts';
import { withLease } from './lease.ts';
import {
  type Attempt,
  currentAttempt,
  type Instant,
  isPaused,
  type Job,
  justRunning,
  type RunningPhase,
  type State,
  type Usage,
  withAttempt,
  withPhase,
} from './model.ts';
import { standStill } from './pausing.ts';
import { stop } from './stopping.ts';
import { inItsGroup, inQueue, sinceItsTime } from './waiting.ts';

export const noUsage: Usage = { cpuMs: null, peakRssBytes: null, outputBytes: null };

/** A new attempt, written down before its process exists. */
export function beginAttempt(job: Job, tier: string, sinceMonoMs = 0): Job {
  const attempt: Attempt = {
    number: job.attempts.length + 1,
    tier,
    leader: null,
    startedWallMs: null,
    finishedWallMs: null,
    cause: null,
    exit: null,
    strays: 0,
    usage: noUsage,
    dropped: { stdout: 0, stderr: 0 },
    progress: null,
    result: null,
    message: null,
  };
  return {
    ...job,
    attempts: [...job.attempts, attempt],
    phase: { status: 'starting', sinceMonoMs, stopRequested: null },
  };
}

export function launched(state: State, event: Extract<Event, { type: 'launched' }>, now: Instant): Decision {
  return onLive(state, event.jobId, ['starting'], (job) => {
    if (job.phase.status !== 'starting') return nothing;
    const { stopRequested } = job.phase;
    const { maxRuntimeMs, idle } = job.definition.policies;
    const phase: RunningPhase = {
      ...justRunning,
      startedMonoMs: now.monoMs,
      deadlineMonoMs: maxRuntimeMs === null ? null : now.monoMs + maxRuntimeMs,
      idle: startWatch(idle, now),
    };
    const started = withAttempt(job, { leader: event.leader, startedWallMs: now.wallMs });
    const running = withLease(withPhase(started, phase), now);
    if (stopRequested === null && isPaused(job)) {
      const still = withLease(withPhase(started, standStill(phase, now)), now);
      return replace(job, still, { type: 'freeze', jobId: job.id });
    }
    if (stopRequested === null) return replace(job, running);
    const stopping = stop(running, stopRequested, now);
    return merge([replace(job, running), stopping]);
  });
}

/** The attempt never was: its number is used again. Nothing starts until there is room. */
export function lackedSpace(state: State, job: Job, shortage: string, now: Instant): Decision {
  const { cause } = currentAttempt(job);
  if (cause !== null) return finish(state, job, { cause, message: shortage }, now);
  const queue = sinceItsTime(job.queue);
  const queued = inItsGroup(state, inQueue({ ...job, attempts: job.attempts.slice(0, -1), queue }, now), now);
  const waiting = behindThose(queued, (jobId) => state.live.has(jobId));
  return merge([replace(job, waiting), pauseAdmission(state, shortage)]);
}
