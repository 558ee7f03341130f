/** Leases: a job that nobody takes an interest in any more ends. */
import { CorralError, formatDuration } from '../../protocol/index.ts';
import { bulk, type Decision, jobNotFound, onLive, replace } from './decision.ts';
import type { Event } from './events.ts';
import type { Instant } from './instant.ts';
import type { ClientPresence, Job } from './job.ts';
import type { State } from './state.ts';

const whileLive = ['queued', 'starting', 'running', 'stopping'] as const;

/** A client has begun to hold a call on a job, or has ceased to. */
export function clientMoved(state: State, jobId: number, how: 'attached' | 'detached', now: Instant): Decision {
  return onLive(state, jobId, whileLive, (job) => {
    const attached = how === 'attached' ? job.client.attached + 1 : Math.max(0, job.client.attached - 1);
    return replace(job, seen(job, attached, now));
  });
}

export function heartbeat(state: State, event: Extract<Event, { type: 'heartbeat' }>, now: Instant): Decision {
  return bulk(event.request, event.jobIds, (jobId) => {
    const job = state.live.get(jobId);
    if (job) return replace(job, seen(job, job.client.attached, now));
    const ended = event.ended.get(jobId);
    if (ended === undefined) throw jobNotFound(jobId);
    throw new CorralError(
      'JOB_NOT_RUNNING',
      `Job ${jobId} has ended (${ended.phase.status}), so there is nothing to keep alive. See how: corral show ${jobId}`,
    );
  });
}

function seen(job: Job, attached: number, { monoMs, wallMs }: Instant): Job {
  const client: ClientPresence = { attached, seen: { monoMs, wallMs } };
  return withLease({ ...job, client }, { monoMs });
}

/**
 * A running job whose lease begins now, or waits until its last client has gone. Any other job is as it was. Of a paused job the
 * deadlines are those of the moment at which it was paused, and move on when it goes on (pausing.ts).
 */
export function withLease(job: Job, now: Pick<Instant, 'monoMs'>): Job {
  const { leaseMs } = job.definition.policies;
  if (job.phase.status !== 'running' || leaseMs === null) return job;
  const fromMonoMs = job.phase.paused?.sinceMonoMs ?? now.monoMs;
  const leaseUntilMonoMs = job.client.attached > 0 ? null : fromMonoMs + leaseMs;
  return { ...job, phase: { ...job.phase, leaseUntilMonoMs } };
}

/** When a client last took an interest in the job: now, where one is attached; `null`: none ever has. */
export function lastClientMonoMs({ client }: Job, now: Pick<Instant, 'monoMs'>): number | null {
  return client.attached > 0 ? now.monoMs : (client.seen?.monoMs ?? null);
}

export function leaseEndMessage({ client, definition }: Job): string {
  const lease = formatDuration(definition.policies.leaseMs ?? 0);
  return client.seen === null
    ? `No client ever attached to it or sent a heartbeat, and its lease is ${lease}.`
    : `The last client was seen at ${new Date(client.seen.wallMs).toISOString()}, and its lease is ${lease}.`;
}
