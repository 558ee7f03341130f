import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function cancel({ jobIds, mode }: ParsedParams<'cancel'>, { backend }: Call): Promise<MethodResult<'cancel'>> {
  return backend.supervisor.ask({ type: 'cancel', jobIds, mode: mode ?? 'graceful' });
}
