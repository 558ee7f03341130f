import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function remove({ jobIds }: ParsedParams<'remove'>, { backend }: Call): Promise<MethodResult<'remove'>> {
  return backend.supervisor.ask({ type: 'remove', jobIds });
}
