/** Jobs are accepted, or refused with the reason. */
import { CorralError } from '../../protocol/index.ts';
import type { Change } from './changes.ts';
import { type Decision, groupNotFound, jobNotFound, nothing, refuse } from './decision.ts';
import { behindThose, failFor, isFailure } from './dependencies.ts';
import type { Effect } from './effects.ts';
import type { Event } from './events.ts';
import type { Instant } from './instant.ts';
import { type Job, type JobDefinition, noClient } from './job.ts';
import { justQueued } from './phase.ts';
import { whyScopeIsClosed } from './scopes.ts';
import type { State } from './state.ts';
import { settledView } from './view.ts';
import { firstQueueRecord, inItsGroup, inQueue } from './waiting.ts';

export function submit(state: State, event: Extract<Event, { type: 'submit' }>, now: Instant): Decision {
  const closed = closedTo(state, event.request);
  if (closed !== null) return closed;
  const changes: Change[] = [];
  const effects: Effect[] = [];
  const keys = new Map(event.known);
  const added = new Map<string, number>();
  const submitted: { id: number; created: boolean; warnings?: readonly string[] }[] = [];
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
    const closed = whyScopeIsClosed(state, definition.scope);
    if (closed !== null) return refuse(event.request, 'SCOPE_CLOSED', closed);
    const more = (added.get(definition.group) ?? 0) + 1;
    const noRoom = roomProblem(state, definition.group, more);
    if (noRoom !== null) return refuse(event.request, noRoom.code, noRoom.message);
    added.set(definition.group, more);
    const unknown = definition.after.find((jobId) => !state.live.has(jobId) && !event.ended.has(jobId));
    if (unknown !== undefined) return refuse(event.request, 'JOB_NOT_FOUND', jobNotFound(unknown).message);
    const queued = inItsGroup(state, newJob(nextId, definition, now), now);
    const job = behindThose(queued, (jobId) => state.live.has(jobId));
    nextId += 1;
    if (key !== null) keys.set(key, job);
    changes.push({ kind: 'job', before: null, after: job });
    submitted.push({ id: job.id, created: true, ...(job.warnings.length === 0 ? {} : { warnings: job.warnings }) });
    const fatal = definition.after.map((jobId) => event.ended.get(jobId)).find((one) => one && isFailure(one, job));
    if (fatal === undefined) continue;
    const failure = failFor(fatal, job, now);
    changes.push(...failure.changes);
    effects.push(...failure.effects);
  }
  return { changes, effects: [{ type: 'reply', request: event.request, result: submitted }, ...effects] };
}

/** The refusal of everything that would add to the queues; `null` while they are open. */
export function closedTo(state: State, request: number): Decision | null {
  if (state.admission === 'open') return null;
  if (state.admission === 'closing')
    return refuse(request, 'SHUTTING_DOWN', 'The daemon is stopping. Try again once it is back.');
  return refuse(
    request,
    'DISK_LOW',
    `${state.admission.pausedFor} Nothing was accepted. Make room and try again; corral goes on by itself then.`,
  );
}

/** Why so many more jobs cannot be queued in a group; `null` where they can. */
export function roomProblem(state: State, name: string, more: number): CorralError | null {
  const group = state.groups.get(name);
  if (group === undefined) return new CorralError('GROUP_NOT_FOUND', groupNotFound(state, name));
  const { maxQueued } = group.group;
  if (group.queued + more <= maxQueued) return null;
  return new CorralError(
    'QUEUE_FULL',
    `Group "${name}" has ${group.queued} of at most ${maxQueued} queued jobs. Try again when some have started, or raise the limit: corral group set ${name} --max-queued N`,
  );
}

/** Says what a submit would come to, by deciding upon it and keeping nothing. */
export function settle(state: State, event: Extract<Event, { type: 'settle' }>, now: Instant): Decision {
  const { changes, effects } = submit(state, { ...event, type: 'submit' }, now);
  const refusals = effects.filter((effect) => effect.type === 'refuse');
  if (refusals.length > 0) return { changes: [], effects: refusals };
  const [definition] = event.definitions;
  const made = changes.find((change) => change.kind === 'job')?.after;
  const existing = event.known.get(definition.idempotencyKey ?? '');
  const job = settledView(made ?? newJob(state.nextJobId, definition, now));
  const result = { job, existingId: made === undefined ? (existing?.id ?? null) : null };
  return { changes: [], effects: [{ type: 'reply', request: event.request, result }] };
}

export function newJob(id: number, definition: JobDefinition, now: Instant): Job {
  const job: Job = {
    id,
    definition,
    submittedWallMs: now.wallMs,
    phase: justQueued,
    attempts: [],
    queue: firstQueueRecord({ definition }, now),
    expiresWallMs: null,
    client: noClient,
    warnings: definition.resources?.shortfalls ?? [],
  };
  return inQueue(job, now);
}

function sameCommand(a: JobDefinition, b: JobDefinition): boolean {
  return a.command.length === b.command.length && a.command.every((word, index) => word === b.command[index]);
}

/** Nothing is accepted or started while there is something short, such as room on the disk; `null`: go on. */
export function pauseAdmission(state: State, shortage: string | null): Decision {
  const { admission } = state;
  const isPaused = typeof admission === 'object';
  if (admission === 'closing' || isPaused === (shortage !== null)) return nothing;
  const after = shortage === null ? 'open' : { pausedFor: shortage };
  return { changes: [{ kind: 'admission', before: admission, after }], effects: [] };
}
