import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function move({ jobIds, group }: ParsedParams<'move'>, { backend }: Call): Promise<MethodResult<'move'>> {
  return backend.supervisor.ask({ type: 'move', jobIds, group });
}
