import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import { definitionFrom } from '../../core/index.ts';
import type { Call } from '../backend.ts';

export function settle({ job }: ParsedParams<'settle'>, { backend }: Call): Promise<MethodResult<'settle'>> {
  return backend.supervisor.ask({ type: 'settle', definitions: [definitionFrom(job, backend.jobDefaults)] });
}
