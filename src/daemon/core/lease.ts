/** Leases: a job that nobody takes an interest in any more ends. */
import { CorralError, formatDuration } from '../../protocol/index.ts';
import type { Change } from './changes.ts';
import { bulk, type Decision, jobNotFound, merge, onLive, replace } from './decision.ts';
import type { Event } from './events.ts';
import type { Instant } from './instant.ts';
import type { Job } from './job.ts';
import type { State } from './state.ts';

const whileLive = ['queued', 'starting', 'running', 'stopping'] as const;

/**
 * A client has begun to hold a call on these jobs, or has ceased to. The call counts whether or not they have ended: those that are
 * run again meanwhile have a client that is attached.
 */
export function clientMoved(
  state: State,
  { type, jobIds }: Extract<Event, { type: 'attached' | 'detached' }>,
  now: Instant,
): Decision {
  const by = type === 'attached' ? 1 : -1;
  const moved = [...new Set(jobIds)].filter((jobId) => by === 1 || state.calls.has(jobId));
  const counted: Change = { kind: 'calls', jobIds: moved, by };
  const jobs = moved.map((jobId) =>
    onLive(state, jobId, whileLive, (job) => replace(job, seen(job, callsOn(state, jobId) + by > 0, now))),
  );
  return merge([{ changes: [counted], effects: [] }, ...jobs]);
}

function callsOn(state: State, jobId: number): number {
  return state.calls.get(jobId) ?? 0;
}

export function heartbeat(state: State, event: Extract<Event, { type: 'heartbeat' }>, now: Instant): Decision {
  return bulk(event.request, event.jobIds, (jobId) => {
    const job = state.live.get(jobId);
    if (job) return replace(job, seen(job, state.calls.has(jobId), now));
    const ended = event.ended.get(jobId);
    if (ended === undefined) throw jobNotFound(jobId);
    throw new CorralError(
      'JOB_NOT_RUNNING',
      `Job ${jobId} has ended (${ended.phase.status}), so there is nothing to keep alive. See how: corral show ${jobId}`,
    );
  });
}

function seen(job: Job, isAttached: boolean, { monoMs, wallMs }: Instant): Job {
  return leased({ ...job, client: { seen: { monoMs, wallMs } } }, isAttached, { monoMs });
}

/**
 * A running job whose lease begins now, or waits until its last client has gone. Any other job is as it was. Of a paused job the
 * deadlines are those of the moment at which it was paused, and move on when it goes on (pausing.ts).
 */
export function withLease(state: State, job: Job, now: Pick<Instant, 'monoMs'>): Job {
  return leased(job, state.calls.has(job.id), now);
}

function leased(job: Job, isAttached: boolean, now: Pick<Instant, 'monoMs'>): Job {
  const { leaseMs } = job.definition.policies;
  if (job.phase.status !== 'running' || leaseMs === null) return job;
  const fromMonoMs = job.phase.paused?.sinceMonoMs ?? now.monoMs;
  const leaseUntilMonoMs = isAttached ? null : fromMonoMs + leaseMs;
  return { ...job, phase: { ...job.phase, leaseUntilMonoMs } };
}

/** When a client last took an interest in the job: now, where one is attached; `null`: none ever has. */
export function lastClientMonoMs(state: State, { id, client }: Job, now: Pick<Instant, 'monoMs'>): number | null {
  return state.calls.has(id) ? now.monoMs : (client.seen?.monoMs ?? null);
}

export function leaseEndMessage({ client, definition }: Job): string {
  const lease = formatDuration(definition.policies.leaseMs ?? 0);
  return client.seen === null
    ? `No client ever attached to it or sent a heartbeat, and its lease is ${lease}.`
    : `The last client was seen at ${new Date(client.seen.wallMs).toISOString()}, and its lease is ${lease}.`;
}
