/** Attempts begin: before the process exists, and once it does. */
import { pauseAdmission } from './admitting.ts';
import type { Attempt, Usage } from './attempt.ts';
import { type Decision, merge, nothing, onLive, replace } from './decision.ts';
import { behindThose } from './dependencies.ts';
import { keptBesideNext } from './earlier-attempts.ts';
import type { Effect } from './effects.ts';
import { finish } from './ending.ts';
import type { Event } from './events.ts';
import { startWatch } from './idle-watch.ts';
import type { Instant } from './instant.ts';
import { attemptsBegun, currentAttempt, type Job, withAttempt, withPhase } from './job.ts';
import { withLease } from './lease.ts';
import { isPaused, standStill } from './pausing.ts';
import { justRunning, type RunningPhase } from './phase.ts';
import type { State } from './state.ts';
import { stop } from './stopping.ts';
import { inItsGroup, inQueue, sinceItsTime } from './waiting.ts';

export const noUsage: Usage = { cpuMs: null, peakRssBytes: null, outputBytes: null };

/** Starts a queued job. Earlier attempts beyond those that are kept go, and their output once that is written down. */
export function startAttempt(job: Job, tier: string, now: Instant): Decision {
  const starting = beginAttempt(job, tier, now.monoMs);
  const oldest = starting.attempts[0]?.number ?? 1;
  const gone = job.attempts.flatMap(({ number }) => (number < oldest ? number : []));
  const removal: Effect[] = gone.length === 0 ? [] : [{ type: 'removeOutput', job: starting, attempts: gone }];
  return replace(job, starting, { type: 'launch', job: starting }, ...removal);
}

/** A new attempt, written down before its process exists. */
export function beginAttempt(job: Job, tier: string, sinceMonoMs = 0): Job {
  const attempt: Attempt = {
    number: attemptsBegun(job) + 1,
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
    attempts: [...keptBesideNext(job), attempt],
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
    const running = withLease(state, withPhase(started, phase), now);
    if (stopRequested === null && isPaused(job)) {
      const still = withLease(state, withPhase(started, standStill(phase, now)), now);
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
