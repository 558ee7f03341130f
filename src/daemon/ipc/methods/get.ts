import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import { viewOf } from '../../core/index.ts';
import type { Call } from '../backend.ts';

export function get({ jobId }: ParsedParams<'get'>, { backend }: Call): MethodResult<'get'> {
  const job = backend.supervisor.job(jobId);
  return { job: viewOf(job, backend.output.facts(job), backend.supervisor.waitingFor(job, 'full')) };
}
