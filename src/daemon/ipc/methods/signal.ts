import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function signal({ jobIds, signal }: ParsedParams<'signal'>, { backend }: Call): Promise<MethodResult<'signal'>> {
  return backend.supervisor.ask({ type: 'signal', jobIds, signal });
}
