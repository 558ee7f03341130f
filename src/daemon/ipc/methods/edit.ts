import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import { viewOf } from '../../core/index.ts';
import type { Call } from '../backend.ts';

export async function edit({ jobId, edit }: ParsedParams<'edit'>, { backend }: Call): Promise<MethodResult<'edit'>> {
  const { supervisor, output, jobDefaults } = backend;
  await supervisor.ask({ type: 'edit', jobIds: [jobId], edit, defaults: jobDefaults });
  const job = supervisor.job(jobId);
  return { job: viewOf(job, output.facts(job), supervisor.waitingFor(job, 'full')) };
}
