/** Jobs are accepted, or refused with the reason. */
import { type Decision, groupNotFound, nothing, refuse } from './decision.ts';
import type { Event } from './events.ts';
import { type Change, type Instant, type Job, type JobDefinition, justQueued, type State } from './model.ts';
import { settledView } from './view.ts';
import { firstQueueRecord, inQueue } from './waiting.ts';

export function submit(state: State, event: Extract<Event, { type: 'submit' }>, now: Instant): Decision {
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
    const job = newJob(nextId, definition, now);
    nextId += 1;
    if (key !== null) keys.set(key, job);
    changes.push({ kind: 'job', before: null, after: job });
    submitted.push({ id: job.id, created: true });
  }
  return { changes, effects: [{ type: 'reply', request: event.request, result: submitted }] };
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
    warnings: [],
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
