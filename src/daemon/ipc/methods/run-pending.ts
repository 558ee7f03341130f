import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function runPending(
  { name }: ParsedParams<'group.runPending'>,
  { backend }: Call,
): Promise<MethodResult<'group.runPending'>> {
  return backend.supervisor.ask({ type: 'runPending', name });
}
