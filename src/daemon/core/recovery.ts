import { keptAttempts } from '../../protocol/index.ts';
import type { Change } from './changes.ts';
import { behindThose } from './dependencies.ts';
import { endedJob } from './ending.ts';
import type { Instant } from './instant.ts';
import { currentAttempt, type Job, withAttempt, withPhase } from './job.ts';
import { type HostLimits, onThisHost, unknownHost } from './resources.ts';
import { waitsForRetry } from './retry.ts';
import type { State } from './state.ts';
import { inItsGroup, inQueue } from './waiting.ts';

/** Stored jobs on this daemon's clock: deadlines are reckoned anew, and a job waits for those of the others that it needs. */
export function revived(jobs: readonly Job[], now: Instant, hostLimits: HostLimits = unknownHost): Job[] {
  const live = new Set(jobs.map(({ id }) => id));
  return jobs.map((job) =>
    job.phase.status === 'queued'
      ? atItsTurn(
          behindThose(inQueue(onThisHost(job, hostLimits), now), (jobId) => live.has(jobId)),
          now,
        )
      : job,
  );
}

/** Those that may have been dropped last: a crash may have come before their output was removed. */
export function droppedLast({ attempts }: Job): number[] {
  const oldest = attempts[0]?.number ?? 1;
  const first = Math.max(1, oldest - keptAttempts);
  return Array.from({ length: oldest - first }, (_, index) => first + index);
}

/** Retries that came due while no daemon ran come one after another, like any others. */
function atItsTurn(job: Job, now: Instant): Job {
  if (!waitsForRetry(job) || job.phase.status !== 'queued') return job;
  return withPhase(job, { ...job.phase, readyAtMonoMs: job.phase.readyAtMonoMs ?? now.monoMs });
}

/**
 * What becomes of the jobs that an earlier daemon left behind, once every process of theirs is gone. Queued ones stay
 * queued. An attempt whose cause was already written down ends for that cause; any other was lost with its supervisor.
 */
export function recover(state: State, jobs: readonly Job[], outputBytes: (job: Job) => number, now: Instant): Change[] {
  const changes: Change[] = [];
  for (const job of jobs) {
    if (job.phase.status === 'queued') continue;
    const lost = withAttempt(job, {
      cause: currentAttempt(job).cause ?? 'supervisor-lost',
      finishedWallMs: now.wallMs,
      usage: { ...currentAttempt(job).usage, outputBytes: outputBytes(job) },
    });
    changes.push({ kind: 'job', before: job, after: inItsGroup(state, endedJob(lost, now), now) });
  }
  return changes;
}
