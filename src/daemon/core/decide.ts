/**
 * `decide(state, event, now)`: what an event changes and what is to be done about it. Pure and total: no I/O, no clock, no
 * chance, an answer for every event in every status. The supervisor commits the changes and only then runs the effects.
 */
import {
  type BulkReport,
  type Cause,
  CorralError,
  type ErrorCode,
  type JobStatus,
  unreachable,
} from '../../protocol/index.ts';
import { dueJobs } from './deadlines.ts';
import type { Effect, Event } from './events.ts';
import {
  type Attempt,
  type Change,
  currentAttempt,
  type Group,
  type Instant,
  type Job,
  type JobDefinition,
  type LeaderExit,
  type State,
  type StopRequest,
  type Usage,
  withAttempt,
  withPhase,
} from './model.ts';

export interface Decision {
  readonly changes: readonly Change[];
  readonly effects: readonly Effect[];
}

/** After SIGKILL, a process that is still there this much later is reported as unkillable, and killed again. */
export const killPatienceMs = 10_000;

/** When the daemon stops, a job gets its own grace, but at most this: a service manager waits for the daemon. */
export const shutdownGraceMs = 5_000;

const nothing: Decision = { changes: [], effects: [] };

export function decide(state: State, event: Event, now: Instant): Decision {
  switch (event.type) {
    case 'submit':
      return submit(state, event, now);
    case 'cancel':
      return bulk(event.request, event.jobIds, (jobId) => {
        const job = state.live.get(jobId);
        if (job)
          return stop(
            job,
            { cause: 'cancel', graceMs: event.mode === 'kill' ? null : job.definition.killGraceMs },
            now,
          );
        if (event.ended.has(jobId)) return nothing; // Cancelled means over, and it is.
        throw jobNotFound(jobId);
      });
    case 'signal':
      return bulk(event.request, event.jobIds, (jobId) => {
        const job = state.live.get(jobId);
        if (job?.phase.status === 'running' || job?.phase.status === 'stopping') {
          return { changes: [], effects: [{ type: 'signal', jobId, signal: event.signal }] };
        }
        const known = job ?? event.ended.get(jobId);
        if (known === undefined) throw jobNotFound(jobId);
        throw new CorralError(
          'JOB_NOT_RUNNING',
          `Job ${jobId} is ${known.phase.status}; only a running job can be signalled.`,
        );
      });
    case 'remove':
      return bulk(event.request, event.jobIds, (jobId) => {
        const job = state.live.get(jobId);
        if (job) {
          throw new CorralError(
            'JOB_RUNNING',
            `Job ${jobId} is ${job.phase.status}. End it first: corral cancel ${jobId}`,
          );
        }
        if (!event.ended.has(jobId)) throw jobNotFound(jobId);
        return { changes: [{ kind: 'jobRemoved', jobId }], effects: [{ type: 'removeOutput', jobId }] };
      });
    case 'setGroup':
      return setGroup(state, event);
    case 'launched':
      return launched(state, event, now);
    case 'launchFailed':
      return onLive(state, event.jobId, ['starting'], (job) =>
        finish(
          job,
          { cause: currentAttempt(job).cause ?? 'spawn-error', message: event.message, exit: event.exit },
          now,
        ),
      );
    case 'launchLackedSpace':
      return onLive(state, event.jobId, ['starting'], (job) => lackedSpace(state, job, event.shortage, now));
    case 'diskChecked':
      return pause(state, event.shortage);
    case 'leaderExited':
      return onLive(state, event.jobId, ['running', 'stopping'], (job) => leaderExited(job, event, now));
    case 'emptied':
      return onLive(state, event.jobId, ['stopping'], (job) => finish(job, { usage: event.usage }, now));
    case 'tick':
      return merge(dueJobs(state, now).map((job) => overdue(job, now)));
    case 'shutdown':
      return shutdown(state, now);
    default:
      return unreachable(event);
  }
}

function submit(state: State, event: Extract<Event, { type: 'submit' }>, now: Instant): Decision {
  if (state.admission === 'closing')
    return refuse(event.request, 'SHUTTING_DOWN', 'The daemon is stopping. Submit again once it is back.');
  if (state.admission !== 'open') {
    return refuse(
      event.request,
      'DISK_LOW',
      `${state.admission.pausedFor} Nothing was accepted. Make room and submit again; corral goes on by itself then.`,
    );
  }
  const changes: Change[] = [];
  const keys = new Map(event.known);
  const added = new Map<string, number>();
  const submitted: { id: number; created: boolean }[] = [];
  let nextId = state.nextJobId;
  for (const definition of event.definitions) {
    const key = definition.idempotencyKey;
    const twin = key === null ? undefined : keys.get(key);
    if (twin !== undefined) {
      if (!sameCommand(twin.definition, definition)) {
        return refuse(
          event.request,
          'IDEMPOTENCY_MISMATCH',
          `The idempotency key "${key}" belongs to job ${twin.id}, which has another command. Use a new key for a new job.`,
        );
      }
      submitted.push({ id: twin.id, created: false });
      continue;
    }
    const group = state.groups.get(definition.group);
    if (group === undefined) return refuse(event.request, 'GROUP_NOT_FOUND', groupNotFound(state, definition.group));
    const inGroup = (added.get(definition.group) ?? 0) + 1;
    if (group.queued + inGroup > group.group.maxQueued) {
      return refuse(
        event.request,
        'QUEUE_FULL',
        `Group "${definition.group}" has ${group.queued} of at most ${group.group.maxQueued} queued jobs. Submit again when some have started, or raise the limit: corral group set ${definition.group} --max-queued N`,
      );
    }
    added.set(definition.group, inGroup);
    const job: Job = { id: nextId, definition, submittedWallMs: now.wallMs, phase: { status: 'queued' }, attempts: [] };
    nextId += 1;
    if (key !== null) keys.set(key, job);
    changes.push({ kind: 'job', before: null, after: job });
    submitted.push({ id: job.id, created: true });
  }
  return { changes, effects: [{ type: 'reply', request: event.request, result: submitted }] };
}

function sameCommand(a: JobDefinition, b: JobDefinition): boolean {
  return a.command.length === b.command.length && a.command.every((word, index) => word === b.command[index]);
}

function setGroup(state: State, event: Extract<Event, { type: 'setGroup' }>): Decision {
  const before = state.groups.get(event.name)?.group;
  if (before === undefined) return refuse(event.request, 'GROUP_NOT_FOUND', groupNotFound(state, event.name));
  const after: Group = {
    ...before,
    parallel: event.parallel ?? before.parallel,
    maxQueued: event.maxQueued ?? before.maxQueued,
  };
  return {
    changes: [{ kind: 'group', before, after }],
    effects: [{ type: 'reply', request: event.request, result: after.name }],
  };
}

function launched(state: State, event: Extract<Event, { type: 'launched' }>, now: Instant): Decision {
  return onLive(state, event.jobId, ['starting'], (job) => {
    if (job.phase.status !== 'starting') return nothing;
    const { stopRequested } = job.phase;
    const { maxRuntimeMs } = job.definition;
    const running = withPhase(withAttempt(job, { leader: event.leader, startedWallMs: now.wallMs }), {
      status: 'running',
      deadlineMonoMs: maxRuntimeMs === null ? null : now.monoMs + maxRuntimeMs,
    });
    if (stopRequested === null) return { changes: [{ kind: 'job', before: job, after: running }], effects: [] };
    const stopping = stop(running, stopRequested, now);
    return { changes: [{ kind: 'job', before: job, after: running }, ...stopping.changes], effects: stopping.effects };
  });
}

/** The attempt never was: its number is used again. Nothing starts until there is room. */
function lackedSpace(state: State, job: Job, shortage: string, now: Instant): Decision {
  const { cause } = currentAttempt(job);
  if (cause !== null) return finish(job, { cause, message: shortage }, now);
  const queued = withPhase({ ...job, attempts: job.attempts.slice(0, -1) }, { status: 'queued' });
  return merge([{ changes: [{ kind: 'job', before: job, after: queued }], effects: [] }, pause(state, shortage)]);
}

function pause(state: State, shortage: string | null): Decision {
  const { admission } = state;
  const isPaused = typeof admission === 'object';
  if (admission === 'closing' || isPaused === (shortage !== null)) return nothing;
  const after = shortage === null ? 'open' : { pausedFor: shortage };
  return { changes: [{ kind: 'admission', before: admission, after }], effects: [] };
}

function leaderExited(job: Job, event: Extract<Event, { type: 'leaderExited' }>, now: Instant): Decision {
  const { exit, remaining, usage } = event;
  // A job that was being stopped keeps its cause: the first one wins.
  const cause = currentAttempt(job).cause ?? causeOf(exit);
  if (job.phase.status === 'stopping') {
    const shown = { exit, usage, cause };
    if (remaining === 0) return finish(job, shown, now);
    return { changes: [{ kind: 'job', before: job, after: withAttempt(job, shown) }], effects: [] };
  }
  const shown = { exit, usage, cause, strays: remaining };
  if (remaining === 0) return finish(job, shown, now);
  return beginStopping(withAttempt(job, shown), job.definition.killGraceMs, now, job);
}

function causeOf(exit: LeaderExit): Cause {
  return exit.signal === null ? 'exit' : 'signal';
}

/** Stops a job for a reason. What is stopping already keeps its cause, but can be made to hurry. */
function stop(job: Job, request: StopRequest, now: Instant): Decision {
  const { cause, graceMs } = request;
  switch (job.phase.status) {
    case 'queued': {
      const after = withPhase(job, { status: 'cancelled', cause, finishedWallMs: now.wallMs });
      return { changes: [{ kind: 'job', before: job, after }], effects: [{ type: 'finished', job: after }] };
    }
    case 'starting': {
      const earlier = job.phase.stopRequested;
      const stopRequested =
        earlier === null ? request : { cause: earlier.cause, graceMs: shorterGrace(earlier.graceMs, graceMs) };
      const after = withPhase(withAttempt(job, { cause: stopRequested.cause }), { status: 'starting', stopRequested });
      return { changes: [{ kind: 'job', before: job, after }], effects: [] };
    }
    case 'running':
      return beginStopping(withAttempt(job, { cause: currentAttempt(job).cause ?? cause }), graceMs, now, job);
    case 'stopping': {
      if (job.phase.killed) return nothing;
      if (graceMs === null) return kill(job, now);
      if (job.phase.escalateAtMonoMs <= now.monoMs + graceMs) return nothing;
      const after = withPhase(job, { ...job.phase, escalateAtMonoMs: now.monoMs + graceMs });
      return { changes: [{ kind: 'job', before: job, after }], effects: [] };
    }
    default:
      return nothing;
  }
}

function shorterGrace(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : Math.min(a, b);
}

function beginStopping(job: Job, graceMs: number | null, now: Instant, before: Job): Decision {
  const after = withPhase(job, {
    status: 'stopping',
    escalateAtMonoMs: now.monoMs + (graceMs ?? killPatienceMs),
    killed: graceMs === null,
    unkillable: false,
  });
  return {
    changes: [{ kind: 'job', before, after }],
    effects: [{ type: graceMs === null ? 'kill' : 'terminate', jobId: job.id }],
  };
}

function kill(job: Job, now: Instant): Decision {
  const unkillable = job.phase.status === 'stopping' && job.phase.killed;
  const after = withPhase(job, {
    status: 'stopping',
    escalateAtMonoMs: now.monoMs + killPatienceMs,
    killed: true,
    unkillable,
  });
  return { changes: [{ kind: 'job', before: job, after }], effects: [{ type: 'kill', jobId: job.id }] };
}

function overdue(job: Job, now: Instant): Decision {
  switch (job.phase.status) {
    case 'running':
      return stop(job, { cause: 'max-runtime', graceMs: job.definition.killGraceMs }, now);
    case 'stopping':
      return kill(job, now);
    default:
      return nothing;
  }
}

function shutdown(state: State, now: Instant): Decision {
  const again = state.admission === 'closing';
  const active = [...state.live.values()].filter((job) => job.phase.status !== 'queued');
  const stops = active.map((job) => {
    const graceMs = again ? null : shorterGrace(job.definition.killGraceMs, shutdownGraceMs);
    return stop(job, { cause: 'supervisor-lost', graceMs }, now);
  });
  const closing: Change = { kind: 'admission', before: state.admission, after: 'closing' };
  return merge([{ changes: [closing], effects: [] }, ...stops]);
}

/** Ends the current attempt with what its end has shown. An attempt that the supervisor lost may go back to the queue. */
function finish(job: Job, shown: Partial<Attempt>, now: Instant): Decision {
  const ended = endedJob(withAttempt(job, { ...shown, finishedWallMs: now.wallMs }), now);
  const effects: Effect[] = ended.phase.status === 'queued' ? [] : [{ type: 'finished', job: ended }];
  return { changes: [{ kind: 'job', before: job, after: ended }], effects };
}

/** The job after its current attempt is over. Shared by the live loop and by recovery. */
export function endedJob(job: Job, now: Instant): Job {
  const { cause, exit } = currentAttempt(job);
  if (cause === null) throw new Error(`job ${job.id} ends without a cause`);
  if (cause === 'supervisor-lost' && job.definition.onSupervisorLost === 'retry')
    return withPhase(job, { status: 'queued' });
  return withPhase(job, { status: finalStatus(job.definition, cause, exit), cause, finishedWallMs: now.wallMs });
}

function finalStatus(
  definition: JobDefinition,
  cause: Cause,
  exit: LeaderExit | null,
): 'completed' | 'failed' | 'cancelled' {
  switch (cause) {
    case 'cancel':
      return 'cancelled';
    case 'exit':
      return exit !== null && exit.code !== null && definition.successCodes.includes(exit.code)
        ? 'completed'
        : 'failed';
    case 'signal':
    case 'spawn-error':
    case 'max-runtime':
    case 'supervisor-lost':
      return 'failed';
    default:
      return unreachable(cause);
  }
}

/** A new attempt, written down before its process exists. */
export function beginAttempt(job: Job, tier: string): Job {
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
    message: null,
  };
  return { ...job, attempts: [...job.attempts, attempt], phase: { status: 'starting', stopRequested: null } };
}

export const noUsage: Usage = { cpuMs: null, peakRssBytes: null };

/** An outcome for a job that is in none of the statuses in which it can happen came too late, and changes nothing. */
function onLive(state: State, jobId: number, statuses: readonly JobStatus[], then: (job: Job) => Decision): Decision {
  const job = state.live.get(jobId);
  return job === undefined || !statuses.includes(job.phase.status) ? nothing : then(job);
}

/** Does one thing to each of several jobs. A job that refuses is reported by name; the others proceed. */
function bulk(request: number, jobIds: readonly number[], each: (jobId: number) => Decision): Decision {
  const unique = [...new Set(jobIds)];
  const errors: BulkReport['errors'] = [];
  const decisions: Decision[] = [];
  for (const jobId of unique) {
    try {
      decisions.push(each(jobId));
    } catch (error) {
      if (!(error instanceof CorralError)) throw error;
      errors.push({ jobId, code: error.code, message: error.message });
    }
  }
  const report: BulkReport = {
    requested: unique.length,
    done: unique.length - errors.length,
    failed: errors.length,
    errors,
  };
  return merge([...decisions, { changes: [], effects: [{ type: 'reply', request, result: report }] }]);
}

function merge(decisions: readonly Decision[]): Decision {
  return { changes: decisions.flatMap((one) => one.changes), effects: decisions.flatMap((one) => one.effects) };
}

function refuse(request: number, code: ErrorCode, message: string): Decision {
  return { changes: [], effects: [{ type: 'refuse', request, code, message }] };
}

export function jobNotFound(jobId: number): CorralError {
  return new CorralError('JOB_NOT_FOUND', `There is no job ${jobId}. List the known ones: corral ls --all`);
}

function groupNotFound(state: State, name: string): string {
  return `There is no group "${name}". Groups cannot be made in this version; there is: ${[...state.groups.keys()].join(', ')}.`;
}
