/** Groups are made, set and removed. */
import { defaultGroup, maxGroups } from '../../protocol/index.ts';
import type { Change } from './changes.ts';
import { type Decision, groupNotFound, merge, nothing, refuse } from './decision.ts';
import type { Event } from './events.ts';
import type { Instant } from './instant.ts';
import { followGroup } from './pausing.ts';
import { firstBucket, refitted } from './rate.ts';
import { fullBucket, type Group, type State } from './state.ts';

/** Queued jobs of a group, at most. Each costs its command and environment in memory. */
const defaultMaxQueued = 10_000;

/** A group that somebody makes runs one job at a time, unless they say more. */
const defaultParallel = 1;

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

/** A group comes into the state, made now or by an earlier daemon. */
export function groupEnters(group: Group, now: Instant): Change[] {
  const bucket = firstBucket(group, now);
  const entered: Change = { kind: 'group', before: null, after: group };
  return bucket === fullBucket
    ? [entered]
    : [entered, { kind: 'bucket', group: group.name, before: fullBucket, after: bucket }];
}

/** To make a group that is there already, just so, is no error: a script may say it each time, and a client twice. */
export function addGroup(state: State, event: Extract<Event, { type: 'addGroup' }>, now: Instant): Decision {
  const { request, name, settings } = event;
  const known = state.groups.get(name)?.group;
  const group: Group = { ...newGroup(name, defaultParallel), ...settings };
  if (known !== undefined && !isSame(known, group))
    return refuse(
      request,
      'GROUP_EXISTS',
      `There is a group "${name}" already, with other settings. Change them: corral group set ${name}`,
    );
  if (known === undefined && state.groups.size >= maxGroups)
    return refuse(
      request,
      'TOO_MANY_GROUPS',
      `There are ${state.groups.size} groups, and there can be no more. Remove one that is not needed: corral group rm NAME`,
    );
  return {
    changes: known === undefined ? groupEnters(group, now) : [],
    effects: [{ type: 'reply', request, result: name }],
  };
}

function isSame(one: Group, other: Group): boolean {
  return (Object.keys(one) as (keyof Group)[]).every((key) => one[key] === other[key]);
}

export function setGroup(state: State, event: Extract<Event, { type: 'setGroup' }>, now: Instant): Decision {
  const { request, name, settings } = event;
  const found = state.groups.get(name);
  if (found === undefined) return refuse(request, 'GROUP_NOT_FOUND', groupNotFound(state, name));
  const { group: before, bucket } = found;
  const after: Group = { ...before, ...settings };
  const changes: Change[] = [{ kind: 'group', before, after }];
  const refit = refitted(before, after, bucket, now);
  if (refit !== bucket) changes.push({ kind: 'bucket', group: name, before: bucket, after: refit });
  return merge([
    { changes, effects: [] },
    before.paused === after.paused ? nothing : followGroup(state, after, now),
    { changes: [], effects: [{ type: 'reply', request, result: name }] },
  ]);
}

export function removeGroup(state: State, event: Extract<Event, { type: 'removeGroup' }>): Decision {
  const { request, name } = event;
  const found = state.groups.get(name);
  if (found === undefined) return refuse(request, 'GROUP_NOT_FOUND', groupNotFound(state, name));
  if (name === defaultGroup)
    return refuse(
      request,
      'INVALID_PARAMS',
      `The group "${defaultGroup}" cannot be removed: jobs that name no group are in it. To start nothing in it: corral group set ${defaultGroup} --parallel 0`,
    );
  const { queued, active } = found;
  if (queued + active > 0) {
    const jobs = queued + active === 1 ? 'a job that has' : `${queued + active} jobs that have`;
    return refuse(
      request,
      'GROUP_NOT_EMPTY',
      `Group "${name}" has ${jobs} not ended: ${queued} queued, ${active} active. List them: corral ls -g ${name}; end them: corral cancel --group ${name}; then remove it.`,
    );
  }
  return {
    changes: [{ kind: 'groupRemoved', was: found }],
    effects: [{ type: 'reply', request, result: name }],
  };
}
