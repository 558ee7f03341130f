import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function pause({ jobIds }: ParsedParams<'pause'>, { backend }: Call): Promise<MethodResult<'pause'>> {
  return backend.supervisor.ask({ type: 'pause', jobIds });
}
