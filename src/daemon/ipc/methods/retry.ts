import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function retry({ jobIds }: ParsedParams<'retry'>, { backend }: Call): Promise<MethodResult<'retry'>> {
  return backend.supervisor.ask({ type: 'retry', jobIds });
}
