import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function configShow(_params: ParsedParams<'config.show'>, { backend }: Call): MethodResult<'config.show'> {
  return backend.config();
}
