/** How a job waits in its queue: from when on it may start, and by when it must have. */
import type { Instant, Job, JobPhase, QueueRecord } from './model.ts';

/** A time of the wall clock is looked at again after this: the clock may be set, and the machine may sleep. */
const wallCheckMs = 60_000;

/** What a job brings when it is submitted. */
export function firstQueueRecord(job: Pick<Job, 'definition'>, now: Instant): QueueRecord {
  const { delayMs, startAtWallMs } = job.definition;
  return {
    sinceWallMs: now.wallMs,
    notBefore:
      startAtWallMs !== null
        ? { wallMs: startAtWallMs, clock: 'wall' }
        : delayMs === null
          ? null
          : { wallMs: now.wallMs + delayMs, clock: 'elapsed' },
    held: null,
    retries: 0,
    failuresWallMs: [],
  };
}

/** The job in its queue, with the deadlines that its record means on this daemon's clock. */
export function inQueue(job: Job, now: Instant): Job {
  return { ...job, expiresWallMs: null, phase: queuedPhase(job, now) };
}

function queuedPhase(job: Job, now: Instant): JobPhase {
  const { definition, queue } = job;
  const { notBefore } = queue;
  const { retry } = definition.policies;
  // After a restart only the wall clock tells how much has passed. One that was set back must not make the wait longer than it was.
  const longest = Math.max(definition.delayMs ?? 0, retry.maxDelayMs);
  const left = notBefore === null ? 0 : notBefore.wallMs - now.wallMs;
  const waitMs = notBefore?.clock === 'wall' ? Math.min(left, wallCheckMs) : Math.min(left, longest);
  return {
    status: 'queued',
    readyAtMonoMs: waitMs <= 0 ? null : now.monoMs + waitMs,
    startByMonoMs: startByMonoMs(job, now),
  };
}

/** When a queued job must have started; while it is paused, never. */
export function startByMonoMs({ definition, queue }: Job, now: Instant): number | null {
  const { startDeadlineMs } = definition.policies;
  if (startDeadlineMs === null || queue.retries > 0 || queue.held !== null) return null;
  const leftMs = queue.sinceWallMs + startDeadlineMs - now.wallMs;
  return now.monoMs + Math.min(Math.max(0, leftMs), startDeadlineMs);
}

/** A queued job whose time has come, or is to be looked at again. */
export function waitedEnough(job: Job, now: Instant): Job {
  if (job.phase.status !== 'queued') return job;
  const { startByMonoMs } = job.phase;
  const isWall = job.queue.notBefore?.clock === 'wall';
  const next = isWall ? queuedPhase(job, now) : { ...job.phase, readyAtMonoMs: null };
  // The deadline to start stands as it was reckoned when the job was queued: the wall clock may have jumped since.
  return { ...job, phase: { ...next, startByMonoMs } as JobPhase };
}
