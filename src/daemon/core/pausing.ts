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
import type { Group, State } from './state.ts';
import { inGroup, inItsGroup } from './waiting.ts';

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
  const held: Job = { ...job, queue: { ...queue, held: { by } } };
  if (queue.held !== null) return replace(job, held); // It stands still already, from now on by itself.
  if (phase.status !== 'running')
    return merge([replace(job, inGroup(held, { paused: true }, now)), noteOf(held, 'paused')]);
  const still = withPhase(held, standStill(phase, now));
  return merge([replace(job, still, { type: 'freeze', jobId: job.id }), noteOf(held, 'paused')]);
}

/**
 * Has a job go on. To resume one that is not paused is no error.
 *
 * @throws CorralError `JOB_NOT_RUNNING` where it has ended, or is being ended
 */
export function resume(state: State, job: Job, now: Instant): Decision {
  const { phase, queue } = job;
  checkPausable(job, 'resumed');
  if (queue.held === null) return nothing;
  const free: Job = { ...job, queue: { ...queue, held: null } };
  if (phase.status !== 'running') return merge([replace(job, inItsGroup(state, free, now)), noteOf(free, 'resumed')]);
  const goesOn = withPhase(free, goOn(phase, now));
  return merge([replace(job, goesOn, { type: 'thaw', jobId: job.id }), noteOf(free, 'resumed')]);
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
  const frozen = event.running === 'letRun' ? [] : jobsOf(state, event.name).filter(isUnderWay);
  return setPaused(state, event, { paused: true, frozen }, now);
}

/** The group starts jobs again, and those that stood still with it go on. */
export function resumeGroup(state: State, event: Extract<Event, { type: 'resumeGroup' }>, now: Instant): Decision {
  return setPaused(state, event, { paused: false, frozen: jobsOf(state, event.name).filter(isFrozenWithGroup) }, now);
}

function setPaused(
  state: State,
  { request, name }: { readonly request: number; readonly name: string },
  { paused, frozen }: { readonly paused: boolean; readonly frozen: readonly Job[] },
  now: Instant,
): Decision {
  const before = state.groups.get(name)?.group;
  if (before === undefined) return refuse(request, 'GROUP_NOT_FOUND', groupNotFound(state, name));
  const after: Group = { ...before, paused };
  const report: BulkReport = { requested: frozen.length, done: frozen.length, failed: 0, errors: [] };
  return merge([
    { changes: [{ kind: 'group', before, after }], effects: [] },
    paused ? merge(frozen.map((job) => pause(job, 'group', now))) : nothing,
    followGroup(state, after, now),
    { changes: [], effects: [{ type: 'reply', request, result: report }] },
  ]);
}

/**
 * What it means to the jobs of a group that it is paused or open from now on: the start deadlines of those that wait stand still
 * or go on, and what was frozen with a group does not stay so when it is open.
 */
export function followGroup(state: State, group: Group, now: Instant): Decision {
  const jobs = jobsOf(state, group.name);
  const waiting = jobs.map((job) => {
    const after = inGroup(job, group, now);
    return after === job ? nothing : replace(job, after);
  });
  const thawed = group.paused ? [] : jobs.filter(isFrozenWithGroup).map((job) => resume(state, job, now));
  return merge([...waiting, ...thawed]);
}

function jobsOf(state: State, group: string): Job[] {
  return [...state.live.values()].filter(({ definition }) => definition.group === group);
}

function isUnderWay({ phase }: Job): boolean {
  return phase.status === 'starting' || phase.status === 'running';
}

function isFrozenWithGroup(job: Job): boolean {
  return job.queue.held?.by === 'group' && isUnderWay(job);
}
