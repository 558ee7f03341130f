import { CorralError, type JobView, maxHoldMs, maxJobIds } from '../protocol/index.ts';
import type { Connection } from './connection.ts';

export interface WaitOptions {
  /** `all` (default) resolves when every job has ended, `any` when one has. */
  readonly mode?: 'all' | 'any';
  /** Longest to wait, in ms. Absent: as long as it takes. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Waits on the event, not by polling: each call is held by the daemon, and asked again when its time is over. */
export async function waitForJobs(
  connection: Connection,
  jobIds: number | readonly number[],
  options: WaitOptions,
): Promise<JobView[]> {
  const ids = typeof jobIds === 'number' ? [jobIds] : [...jobIds];
  const { timeoutMs = Number.POSITIVE_INFINITY, mode = 'all', signal } = options;
  const untilMs = performance.now() + timeoutMs;
  if (mode === 'all' && ids.length > maxJobIds) {
    const jobs: JobView[] = [];
    for (let at = 0; at < ids.length; at += maxJobIds) {
      const leftMs = Math.max(0, untilMs - performance.now());
      jobs.push(...(await waitForJobs(connection, ids.slice(at, at + maxJobIds), { ...options, timeoutMs: leftMs })));
    }
    return jobs;
  }
  for (;;) {
    signal?.throwIfAborted();
    const leftMs = Math.max(0, untilMs - performance.now());
    const holdMs = Math.ceil(Math.min(maxHoldMs, leftMs));
    const params = { jobIds: ids, mode, holdMs };
    const { ended, finished, jobs } = await connection.call('wait', params, { holdMs, untilMs });
    if (ended) {
      const rest = finished.slice(jobs.length).map((jobId) => connection.call('get', { jobId }));
      return [...jobs, ...(await Promise.all(rest)).map(({ job }) => job)];
    }
    if (performance.now() >= untilMs) {
      const running = ids.filter((jobId) => !finished.includes(jobId));
      throw new CorralError(
        'WAIT_TIMEOUT',
        `Not ended within ${timeoutMs} ms: job ${running.join(', ')}. Wait longer, or end it: corral cancel ${running[0]}`,
      );
    }
  }
}
