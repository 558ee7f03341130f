import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function listGroups(_params: ParsedParams<'group.list'>, { backend }: Call): MethodResult<'group.list'> {
  return { groups: backend.supervisor.groups() };
}

export async function setGroup(
  { name, parallel, maxQueued }: ParsedParams<'group.set'>,
  { backend }: Call,
): Promise<MethodResult<'group.set'>> {
  return {
    group: await backend.supervisor.setGroup(name, { parallel: parallel ?? null, maxQueued: maxQueued ?? null }),
  };
}
