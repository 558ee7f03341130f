import { type MethodResult, maxHoldMs, type ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function wait(
  { jobIds, mode, holdMs }: ParsedParams<'wait'>,
  { backend, signal }: Call,
): Promise<MethodResult<'wait'>> {
  return backend.supervisor.wait(jobIds, mode ?? 'all', holdMs ?? maxHoldMs, signal);
}
