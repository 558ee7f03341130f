import { type MethodResult, maxHoldMs, type ParsedParams } from '../../../protocol/index.ts';
import { whileAttached } from '../attachment.ts';
import type { Call } from '../backend.ts';
import { pageOf } from '../page.ts';

export async function wait(
  { jobIds, mode, holdMs = maxHoldMs }: ParsedParams<'wait'>,
  call: Call,
): Promise<MethodResult<'wait'>> {
  const { backend, signal } = call;
  const { ended, finished } = await whileAttached(call, jobIds, holdMs, () =>
    backend.supervisor.wait(jobIds, mode ?? 'all', holdMs, signal),
  );
  const jobs = ended ? pageOf(finishedJobs(finished, backend), backend) : [];
  return { ended, finished, jobs };
}

/** One by one: no more are read from the store than fit the answer. */
function* finishedJobs(jobIds: readonly number[], backend: Call['backend']) {
  for (const jobId of jobIds) yield backend.supervisor.job(jobId);
}
