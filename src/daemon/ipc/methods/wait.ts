import { type MethodResult, maxHoldMs, type ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';
import { pageOf } from '../page.ts';

export async function wait(
  { jobIds, mode, holdMs }: ParsedParams<'wait'>,
  { backend, signal }: Call,
): Promise<MethodResult<'wait'>> {
  const { ended, finished } = await backend.supervisor.wait(jobIds, mode ?? 'all', holdMs ?? maxHoldMs, signal);
  const jobs = ended ? pageOf(finishedJobs(finished, backend), backend) : [];
  return { ended, finished, jobs };
}

/** One by one: no more are read from the store than fit the answer. */
function* finishedJobs(jobIds: readonly number[], backend: Call['backend']) {
  for (const jobId of jobIds) yield backend.supervisor.job(jobId);
}
