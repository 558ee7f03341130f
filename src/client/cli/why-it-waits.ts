/** What `run` and `attach` say of a job that does not run: a terminal that shows nothing looks like one that hangs. */
import { setTimeout as delay } from 'node:timers/promises';
import { CorralError, formatDuration, isFinal, type JobView } from '../../protocol/index.ts';
import type { Client } from '../index.ts';
import { endOf, say } from './print.ts';

/** A wait that is shorter than this is not worth a word. */
const patienceMs = 1_000;

/**
 * Says once why the job waits in its queue, where it still does after a moment, and of each retry when it will be. Resolves when there
 * is no more to say.
 *
 * @param over aborted when the job has ended, or is left alone
 */
export async function sayWhyItWaits(client: Client, jobId: number, over: AbortSignal): Promise<void> {
  try {
    await delay(patienceMs, undefined, { signal: over, ref: false });
    const job = await client.get(jobId);
    const news = queueNews(job);
    if (news !== null && !over.aborted) say(news);
    if (mayBeRetried(job)) await sayRetries(client, jobId, over);
  } catch (error) {
    // Where the daemon cannot be asked, the call for the output fails too, and says it.
    if (!over.aborted && !(error instanceof CorralError)) throw error;
  }
}

async function sayRetries(client: Client, jobId: number, over: AbortSignal): Promise<void> {
  let told = 0;
  const look = async () => {
    const job = await client.get(jobId);
    const news = retryNews(job, Date.now());
    if (news === null || job.retries === told || over.aborted) return;
    told = job.retries;
    say(news);
  };
  const follow = async () => {
    for await (const { to } of client.events({ jobId, last: 0, follow: true, signal: over })) {
      if (isFinal(to)) return;
      if (to === 'queued') await look();
    }
  };
  await Promise.all([follow(), look()]); // What happens after this look, or before, is not missed.
}

function mayBeRetried({ policies }: JobView): boolean {
  const limit = policies['retry.limit']?.value;
  return limit === null || (typeof limit === 'number' && limit > 0);
}

/** Why a job waits in its queue; `null` where it does not, or only for its retry. */
export function queueNews(job: JobView): string | null {
  const { id, waitingFor } = job;
  if (waitingFor === null || nextRetryAt(job) !== null) return null;
  const reason = `job ${id} is queued: ${waitingFor.charAt(0).toLowerCase()}${waitingFor.slice(1)}`;
  // A sentence without a full stop ends with the command that helps.
  return waitingFor.endsWith('.') ? `${reason} See: corral show ${id}` : reason;
}

/** When a job that has failed is run again; `null` where it is not, or soon. */
export function retryNews(job: JobView, nowMs: number): string | null {
  const last = job.attempts.at(-1);
  const at = nextRetryAt(job);
  if (last === undefined || at === null || at - nowMs < patienceMs) return null;
  return `job ${job.id}: attempt ${last.attempt} failed (${endOf(last)}); the next is in ${formatDuration(at - nowMs)}`;
}

/** When the pause before its retry is over, in ms of the wall clock; `null` where it waits for something else, or not at all. */
function nextRetryAt({ status, retries, paused, notBefore }: JobView): number | null {
  return status === 'queued' && retries > 0 && !paused && notBefore !== null ? Date.parse(notBefore) : null;
}
