/**
 * Jobs stand still and go on: a queued one does not start, the processes of a running one are frozen. All deadlines of a paused
 * job stand still with it, and go on with what was left of them.
 */
import { type BulkReport, CorralError, type JobStatus } from '../../protocol/index.ts';
import type { Change } from './changes.ts';
import { type Decision, groupNotFound, merge, nothing, refuse, replace } from './decision.ts';
import type { Event } from './events.ts';
import { watchAnew } from './idle-watch.ts';
import type { Instant } from './instant.ts';
import { type HeldBack, type Job, withPhase } from './job.ts';
import type { RunningPhase } from './phase.ts';
import type { State } from './state.ts';
import { startByMonoMs } from './waiting.ts';

/** Whether a client has paused the job. One that stops its own processes is not paused. */
export function isPaused({ phase, queue }: Job): boolean {
  return queue.held !== null && canBePaused(phase.status);
}

/** Before and while it runs. What is being ended must not stand still. */
export function canBePaused(status: JobStatus): boolean {
  return status === 'queued' || status === 'starting' || status === 'running';
}

/** A running phase whose deadlines do not come nearer from now on. */
export function standStill(phase: RunningPhase, now: Instant): RunningPhase {
  return { ...phase, paused: { sinceMonoMs: now.monoMs } };
}

/** The phase whose deadlines come nearer again, later by the time that it stood still. Each time of a running job has its line here. */
export function goOn(phase: RunningPhase, now: Instant): RunningPhase {
  if (phase.paused === null) return phase;
  const stoodStillMs = now.monoMs - phase.paused.sinceMonoMs;
  const later = (atMonoMs: number | null) => (atMonoMs === null ? null : atMonoMs + stoodStillMs);
  const { reportTimes } = phase;
  return {
    ...phase,
    paused: null,
    startedMonoMs: phase.startedMonoMs + stoodStillMs,
    deadlineMonoMs: later(phase.deadlineMonoMs),
    idle: watchAnew(phase.idle),
    leaseUntilMonoMs: later(phase.leaseUntilMonoMs),
    ...(reportTimes && { reportTimes: { ...reportTimes, progressMonoMs: later(reportTimes.progressMonoMs) } }),
  };
}

/**
 * Has a job stand still. One that is starting is frozen as soon as there is a process. To pause twice is no error.
 *
 * @throws CorralError `JOB_NOT_RUNNING` where it has ended, or is being ended
 */
export function pause(job: Job, by: HeldBack['by'], now: Instant): Decision {
  const { phase, queue } = job;
  checkPausable(job, 'paused');
  if (queue.held !== null && (queue.held.by === by || by === 'group')) return nothing;
  const startBy = phase.status === 'queued' ? phase.startByMonoMs : null;
  const startLeftMs = queue.held?.startLeftMs ?? (startBy === null ? null : Math.max(0, startBy - now.monoMs));
  const held: Job = { ...job, queue: { ...queue, held: { by, startLeftMs } } };
  if (queue.held !== null) return replace(job, held); // It stands still already, from now on by itself.
  switch (phase.status) {
    case 'queued':
      return merge([replace(job, withPhase(held, { ...phase, startByMonoMs: null })), noteOf(held, 'paused')]);
    case 'running': {
      const still = withPhase(held, standStill(phase, now));
      return merge([replace(job, still, { type: 'freeze', jobId: job.id }), noteOf(held, 'paused')]);
    }
    default:
      return merge([replace(job, held), noteOf(held, 'paused')]);
  }
}

/**
 * Has a job go on. To resume one that is not paused is no error.
 *
 * @throws CorralError `JOB_NOT_RUNNING` where it has ended, or is being ended
 */
export function resume(job: Job, now: Instant): Decision {
  const { phase, queue } = job;
  checkPausable(job, 'resumed');
  if (queue.held === null) return nothing;
  const free: Job = { ...job, queue: { ...queue, held: null } };
  switch (phase.status) {
    case 'queued': {
      const { startLeftMs } = queue.held;
      const isDelayed = phase.readyAtMonoMs !== null;
      const waiting = isDelayed ? free : withStartLeft(free, startLeftMs, now);
      const left = startLeftMs === null ? null : now.monoMs + startLeftMs;
      const startBy = isDelayed ? left : startByMonoMs(waiting, now);
      const after = withPhase(waiting, { ...phase, startByMonoMs: startBy });
      return merge([replace(job, after), noteOf(free, 'resumed')]);
    }
    case 'running':
      return merge([
        replace(job, withPhase(free, goOn(phase, now)), { type: 'thaw', jobId: job.id }),
        noteOf(free, 'resumed'),
      ]);
    default:
      return merge([replace(job, free), noteOf(free, 'resumed')]);
  }
}

/** As if the job had been queued so that this is what is left of its start deadline. The wall clock may have jumped while it stood still. */
function withStartLeft(job: Job, leftMs: number | null, now: Instant): Job {
  const { startDeadlineMs } = job.definition.policies;
  if (startDeadlineMs === null) return job;
  const waitedMs = startDeadlineMs - (leftMs ?? startDeadlineMs);
  return { ...job, queue: { ...job.queue, sinceWallMs: now.wallMs - waitedMs, notBefore: null } };
}

function checkPausable({ id, phase }: Job, what: 'paused' | 'resumed'): void {
  if (canBePaused(phase.status)) return;
  throw new CorralError(
    'JOB_NOT_RUNNING',
    `Job ${id} is ${phase.status}; only a job that is queued or running can be ${what}.`,
  );
}

function noteOf(job: Job, note: 'paused' | 'resumed'): Decision {
  const change: Change = { kind: 'note', job, note, detail: null };
  return { changes: [change], effects: [] };
}

/** The group starts nothing more, and what runs of it stands still, or may go on to its end. */
export function pauseGroup(state: State, event: Extract<Event, { type: 'pauseGroup' }>, now: Instant): Decision {
  const running = event.running === 'letRun' ? [] : jobsOf(state, event.name).filter(isUnderWay);
  return setPaused(state, event, true, running, (job) => pause(job, 'group', now));
}

/** The group starts jobs again, and those that stood still with it go on: also one that went back to the queue meanwhile. */
export function resumeGroup(state: State, event: Extract<Event, { type: 'resumeGroup' }>, now: Instant): Decision {
  const still = jobsOf(state, event.name).filter(
    ({ phase, queue }) => queue.held?.by === 'group' && canBePaused(phase.status),
  );
  return setPaused(state, event, false, still, (job) => resume(job, now));
}

function setPaused(
  state: State,
  { request, name }: { readonly request: number; readonly name: string },
  paused: boolean,
  jobs: readonly Job[],
  each: (job: Job) => Decision,
): Decision {
  const before = state.groups.get(name)?.group;
  if (before === undefined) return refuse(request, 'GROUP_NOT_FOUND', groupNotFound(state, name));
  const report: BulkReport = { requested: jobs.length, done: jobs.length, failed: 0, errors: [] };
  return merge([
    { changes: [{ kind: 'group', before, after: { ...before, paused } }], effects: [] },
    ...jobs.map(each),
    { changes: [], effects: [{ type: 'reply', request, result: report }] },
  ]);
}

function jobsOf(state: State, group: string): Job[] {
  return [...state.live.values()].filter(({ definition }) => definition.group === group);
}

function isUnderWay({ phase }: Job): boolean {
  return phase.status === 'starting' || phase.status === 'running';
}
