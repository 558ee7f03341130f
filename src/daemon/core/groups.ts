/** Groups are made, set and removed. */
import { type Decision, groupNotFound, refuse } from './decision.ts';
import type { Event } from './events.ts';
import type { Group, State } from './model.ts';

/** Queued jobs of a group, at most. Each costs its command and environment in memory. */
const defaultMaxQueued = 10_000;

/** A group as it is before anybody sets anything. */
export function newGroup(name: string, parallel: number): Group {
  return {
    name,
    parallel,
    maxQueued: defaultMaxQueued,
    ratePerSecond: null,
    burst: 1,
    mode: 'auto',
    paused: false,
  };
}

export function setGroup(state: State, event: Extract<Event, { type: 'setGroup' }>): Decision {
  const before = state.groups.get(event.name)?.group;
  if (before === undefined) return refuse(event.request, 'GROUP_NOT_FOUND', groupNotFound(state, event.name));
  const after: Group = {
    ...before,
    parallel: event.parallel ?? before.parallel,
    maxQueued: event.maxQueued ?? before.maxQueued,
  };
  return {
    changes: [{ kind: 'group', before, after }],
    effects: [{ type: 'reply', request: event.request, result: after.name }],
  };
}
