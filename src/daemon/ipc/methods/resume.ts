import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function resume({ jobIds }: ParsedParams<'resume'>, { backend }: Call): Promise<MethodResult<'resume'>> {
  return backend.supervisor.ask({ type: 'resume', jobIds });
}
