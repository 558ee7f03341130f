import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function heartbeat(
  { jobIds }: ParsedParams<'heartbeat'>,
  { backend }: Call,
): Promise<MethodResult<'heartbeat'>> {
  return backend.supervisor.ask({ type: 'heartbeat', jobIds });
}
