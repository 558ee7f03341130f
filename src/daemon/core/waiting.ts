/** How a job waits in its queue: from when on it may start, and by when it must have. */
import type { Instant } from './instant.ts';
import type { Job, JobDefinition, QueueRecord } from './job.ts';
import type { QueuedPhase } from './phase.ts';
import type { Group, State } from './state.ts';

/** A time of the wall clock is looked at again after this: the clock may be set, and the machine may sleep. */
const wallCheckMs = 60_000;

/** Whether nothing but a slot keeps the job from starting. */
export function isReady({ phase, queue }: Job): boolean {
  const isTime = phase.status === 'queued' && phase.readyAtMonoMs === null && phase.waitsFor.length === 0;
  return isTime && queue.held === null;
}

/** What a job brings when it is submitted. */
export function firstQueueRecord({ definition }: Pick<Job, 'definition'>, now: Instant): QueueRecord {
  return { ...freshQueueRecord(now), notBefore: notBeforeOf(definition, now) };
}

/** The record of a job that enters its queue now, and waits for nothing. */
export function freshQueueRecord(now: Instant): QueueRecord {
  return { ...queueRecordSince(now.wallMs), ...enteredAt(now.wallMs, now.monoMs, now) };
}

/** The record of a job that entered its queue then, in whatever boot, and waits for nothing. */
export function queueRecordSince(sinceWallMs: number): QueueRecord {
  return {
    sinceWallMs,
    notBefore: null,
    held: null,
    retries: 0,
    doublings: 0,
    failuresWallMs: [],
    stopped: false,
  };
}

/** The time before which the definition lets no job start; its delay is counted from now on. */
export function notBeforeOf(
  { delayMs, startAtWallMs }: Pick<JobDefinition, 'delayMs' | 'startAtWallMs'>,
  now: Instant,
): QueueRecord['notBefore'] {
  if (startAtWallMs !== null) return { wallMs: startAtWallMs, clock: 'wall' };
  return delayMs === null ? null : { wallMs: now.wallMs + delayMs, clock: 'elapsed' };
}

/** The same record, its entry on the wall clock as it stands now, so that times of now can be put beside it. */
export function onPresentClock(queue: QueueRecord, now: Instant): QueueRecord {
  const passedMs = passedSinceEntry(queue, now);
  return { ...queue, ...enteredAt(now.wallMs - passedMs, now.monoMs - passedMs, now) };
}

function enteredAt(wallMs: number, monoMs: number, { bootId }: Instant): Pick<QueueRecord, 'sinceWallMs' | 'entry'> {
  return { sinceWallMs: wallMs, ...(bootId === undefined ? {} : { entry: { bootId, monoMs, wallMs } }) };
}

/** The wall clock is asked only where no other clock has run on since: after a boot. One that was set back has not moved. */
function passedSinceEntry({ entry, sinceWallMs }: QueueRecord, now: Instant): number {
  const isSameClock = entry !== undefined && entry.bootId === now.bootId && entry.wallMs === sinceWallMs;
  return Math.max(0, isSameClock ? now.monoMs - entry.monoMs : now.wallMs - sinceWallMs);
}

/** The record of a job whose time has come, as if it had entered its queue just then. */
export function sinceItsTime(queue: QueueRecord): QueueRecord {
  const { notBefore, sinceWallMs, entry } = queue;
  if (notBefore === null) return queue;
  const laterMs = Math.max(0, notBefore.wallMs - sinceWallMs);
  return {
    ...queue,
    notBefore: null,
    sinceWallMs: sinceWallMs + laterMs,
    ...(entry && { entry: { ...entry, monoMs: entry.monoMs + laterMs, wallMs: entry.wallMs + laterMs } }),
  };
}

/** The job in its queue, with the deadlines that its record means on this daemon's clock. */
export function inQueue(job: Job, now: Instant): Job {
  const { notBefore, sinceWallMs } = job.queue;
  const { definition, queue } = job;
  const passedMs = passedSinceEntry(queue, now);
  if (notBefore?.clock === 'wall') {
    const leftMs = notBefore.wallMs - now.wallMs;
    if (leftMs > 0) return queued(job, { readyAtMonoMs: nextLook(leftMs, now), startByMonoMs: null });
    return queued(job, { readyAtMonoMs: null, startByMonoMs: startBy(job, -Math.min(-leftMs, passedMs), now) });
  }
  const longestMs = Math.max(definition.delayMs ?? 0, definition.policies.retry.maxDelayMs);
  const delayMs = notBefore === null ? 0 : notBefore.wallMs - sinceWallMs;
  const leftMs = Math.min(delayMs - passedMs, longestMs);
  return queued(job, {
    readyAtMonoMs: notBefore === null || leftMs <= 0 ? null : now.monoMs + leftMs,
    startByMonoMs: startBy(job, leftMs, now),
  });
}

/** A queued job whose time has come, or is to be looked at again. */
export function waitedEnough(job: Job, now: Instant): Job {
  if (job.phase.status !== 'queued') return job;
  const { notBefore } = job.queue;
  if (notBefore?.clock !== 'wall') return queued(job, { readyAtMonoMs: null });
  const leftMs = notBefore.wallMs - now.wallMs;
  if (leftMs > 0) return queued(job, { readyAtMonoMs: nextLook(leftMs, now) });
  // However far the clock has jumped: it could not have been started sooner.
  return queued(job, { readyAtMonoMs: null, startByMonoMs: startBy(job, 0, now) });
}

function queued(job: Job, times: Partial<Pick<QueuedPhase, 'readyAtMonoMs' | 'startByMonoMs'>>): Job {
  const { startByMonoMs = null, waitsFor = [] } = job.phase.status === 'queued' ? job.phase : {};
  const phase: QueuedPhase = { status: 'queued', readyAtMonoMs: null, startByMonoMs, waitsFor, ...times };
  return { ...job, expiresWallMs: null, phase };
}

function nextLook(leftMs: number, now: Instant): number {
  return now.monoMs + Math.min(leftMs, wallCheckMs);
}

/** The deadline to start is counted from when the job may. While it stands still, there is none. @param readyInMs negative: it has been so for a while */
function startBy(job: Job, readyInMs: number, now: Instant): number | null {
  const limitMs = startLimitMs(job);
  if (limitMs === null || job.queue.startLeftMs !== undefined) return null;
  return now.monoMs + Math.max(0, readyInMs + limitMs);
}

/** How long a job may wait; `null`: for ever. One that is run again by its retry policy has started in time. */
export function startLimitMs({ queue, definition }: Job): number | null {
  return queue.retries > 0 ? null : definition.policies.startDeadlineMs;
}

/** Whether the start deadline of a queued job does not come nearer. */
export function standsStill(state: State, job: Job): boolean {
  return job.queue.held !== null || isGroupPaused(state, job);
}

function isGroupPaused(state: State, { definition }: Job): boolean {
  return state.groups.get(definition.group)?.group.paused === true;
}

/** A job that comes into a queue, or is changed there, as it then waits: `inGroup`. */
export function inItsGroup(state: State, job: Job, now: Instant): Job {
  return inGroup(job, { paused: isGroupPaused(state, job) }, now);
}

/**
 * A job as it waits in its group: its start deadline stands still while one of the two is paused, and goes on with what was left
 * when neither is. A job that waits is not held by its group: that the group starts nothing is enough, and in another it is free.
 */
export function inGroup(job: Job, { paused }: Pick<Group, 'paused'>, now: Instant): Job {
  if (job.phase.status !== 'queued') return job;
  const { queue } = job;
  const own = queue.held?.by === 'group' ? { ...job, queue: { ...queue, held: null } } : job;
  return paused || own.queue.held !== null ? standingStill(own, job.phase, now) : goingOn(own, job.phase, now);
}

function standingStill(job: Job, phase: QueuedPhase, now: Instant): Job {
  if (job.queue.startLeftMs !== undefined) return job;
  const { startByMonoMs, readyAtMonoMs } = phase;
  const fromMonoMs = Math.max(now.monoMs, readyAtMonoMs ?? now.monoMs);
  // Before its time on the wall clock a job has no deadline yet: all of it is left.
  const leftMs = startByMonoMs === null ? startLimitMs(job) : Math.max(0, startByMonoMs - fromMonoMs);
  return leftMs === null ? job : withStartLeft({ ...job, phase: { ...phase, startByMonoMs: null } }, leftMs);
}

/** A delay has gone on meanwhile: what was left is counted from its end where that is still to come. */
function goingOn(job: Job, phase: QueuedPhase, now: Instant): Job {
  const { startLeftMs, notBefore } = job.queue;
  const limitMs = startLimitMs(job);
  if (startLeftMs === undefined || limitMs === null) return job;
  const free = withStartLeft(job, null);
  const { readyAtMonoMs } = phase;
  if (readyAtMonoMs !== null && notBefore?.clock === 'wall') return free;
  if (readyAtMonoMs !== null && readyAtMonoMs > now.monoMs)
    return { ...free, phase: { ...phase, startByMonoMs: readyAtMonoMs + startLeftMs } };
  // As if it had been queued so that this is what is left. The wall clock may have been set while it stood still.
  const waitedMs = limitMs - startLeftMs;
  const since = enteredAt(now.wallMs - waitedMs, now.monoMs - waitedMs, now);
  return {
    ...free,
    queue: { ...free.queue, ...since, notBefore: null },
    phase: { ...phase, startByMonoMs: now.monoMs + startLeftMs },
  };
}

/** @param leftMs what is left of its start deadline, which stands still; `null`: it does not, or there is none */
export function withStartLeft(job: Job, leftMs: number | null): Job {
  const { startLeftMs: _, ...queue } = job.queue;
  return { ...job, queue: leftMs === null ? queue : { ...queue, startLeftMs: leftMs } };
}
