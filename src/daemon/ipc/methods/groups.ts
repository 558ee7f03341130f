import type { BulkReport, GroupView, MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { GroupSettings } from '../../core/index.ts';
import type { Backend, Call } from '../backend.ts';

export function listGroups(_params: ParsedParams<'group.list'>, { backend }: Call): MethodResult<'group.list'> {
  return { groups: backend.supervisor.groups().sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

export async function addGroup(
  { name, ...settings }: ParsedParams<'group.add'>,
  { backend }: Call,
): Promise<MethodResult<'group.add'>> {
  await backend.supervisor.ask({ type: 'addGroup', name, settings: inCore(settings) });
  return { group: find(backend, name) };
}

export async function setGroup(
  { name, ...settings }: ParsedParams<'group.set'>,
  { backend }: Call,
): Promise<MethodResult<'group.set'>> {
  await backend.supervisor.ask({ type: 'setGroup', name, settings: inCore(settings) });
  return { group: find(backend, name) };
}

export async function removeGroup(
  { name }: ParsedParams<'group.remove'>,
  { backend }: Call,
): Promise<MethodResult<'group.remove'>> {
  return { name: await backend.supervisor.ask({ type: 'removeGroup', name }) };
}

export async function pauseGroup(
  { name, running }: ParsedParams<'group.pause'>,
  { backend }: Call,
): Promise<MethodResult<'group.pause'>> {
  const event = { type: 'pauseGroup', name, running: running ?? 'pause' } as const;
  const report = await backend.supervisor.ask<BulkReport>(event);
  return { group: find(backend, name), report };
}

export async function resumeGroup(
  { name }: ParsedParams<'group.resume'>,
  { backend }: Call,
): Promise<MethodResult<'group.resume'>> {
  const report = await backend.supervisor.ask<BulkReport>({ type: 'resumeGroup', name });
  return { group: find(backend, name), report };
}

/** What was named, by the names of the core. */
function inCore({ rate, ...settings }: Omit<ParsedParams<'group.set'>, 'name'>): GroupSettings {
  const named = Object.entries({ ...settings, ratePerSecond: rate }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(named) as GroupSettings;
}

function find({ supervisor }: Backend, name: string): GroupView {
  const group = supervisor.groups().find((one) => one.name === name);
  if (group === undefined) throw new Error(`group ${name} vanished`);
  return group;
}
