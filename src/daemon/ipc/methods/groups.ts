import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function listGroups(_params: ParsedParams<'group.list'>, { backend }: Call): MethodResult<'group.list'> {
  return { groups: backend.supervisor.groups() };
}

export async function setGroup(
  { name, parallel, maxQueued }: ParsedParams<'group.set'>,
  { backend }: Call,
): Promise<MethodResult<'group.set'>> {
  await backend.supervisor.ask({ type: 'setGroup', name, parallel: parallel ?? null, maxQueued: maxQueued ?? null });
  const group = backend.supervisor.groups().find((one) => one.name === name);
  if (group === undefined) throw new Error(`group ${name} vanished`);
  return { group };
}
