/** Jobs are changed, or moved to another group, while they wait. */
import { CorralError, frameLimits, type JobEdit, type PolicySettings } from '../../protocol/index.ts';
import { roomProblem } from './admitting.ts';
import { fromCaps } from './caps.ts';
import type { Change } from './changes.ts';
import { bulk, type Decision, groupNotFound, jobNotFound, nothing, refuse } from './decision.ts';
import type { EndedJobs, Event } from './events.ts';
import type { Instant } from './instant.ts';
import type { Job, JobDefinition } from './job.ts';
import { type JobDefaults, type SettledPolicies, settlePolicies } from './profiles.ts';
import { settleResources, unknownHost, withResources } from './resources.ts';
import type { State } from './state.ts';
import {
  inItsGroup,
  inQueue,
  notBeforeOf,
  onPresentClock,
  standsStill,
  startLimitMs,
  withStartLeft,
} from './waiting.ts';

export function edit(state: State, event: Extract<Event, { type: 'edit' }>, now: Instant): Decision {
  const { request, jobIds, ended } = event;
  try {
    const changes = jobIds.flatMap((jobId) => editOne(state, queuedJob(state, jobId, ended), event, now));
    return { changes, effects: [{ type: 'reply', request, result: null }] };
  } catch (error) {
    if (error instanceof CorralError) return refuse(request, error.code, error.message);
    throw error;
  }
}

function editOne(
  state: State,
  before: Job,
  { edit: wish, defaults }: Extract<Event, { type: 'edit' }>,
  now: Instant,
): Change[] {
  const definition = editedDefinition(before.definition, wish, defaults);
  const changed = namesOf(wish);
  const namesTime = wish.delayMs !== undefined || wish.startAt !== undefined;
  const queue = namesTime
    ? { ...onPresentClock(before.queue, now), notBefore: notBeforeOf(definition, now) }
    : before.queue;
  const { resources } = wish;
  const { hostLimits = unknownHost } = defaults;
  const limited =
    resources === undefined
      ? before
      : withResources(before, settleResources(resources ?? undefined, hostLimits, defaults.caps.resources));
  const asked = { ...limited, definition: { ...definition, resources: limited.definition.resources }, queue };
  const edited = stillAnew(state, before, asked, namesTime);
  const after = namesTime || wish.startDeadlineMs !== undefined ? inItsGroup(state, inQueue(edited, now), now) : edited;
  return [
    { kind: 'job', before, after },
    { kind: 'note', job: after, note: 'edited', detail: { changed } },
  ];
}

/** A deadline that stands still goes on with what is left of the one that the job has now, not of the one that it had. */
function stillAnew(state: State, before: Job, after: Job, isTimeNew: boolean): Job {
  const was = startLimitMs(before);
  const is = startLimitMs(after);
  const leftMs = after.queue.startLeftMs;
  if (!standsStill(state, before) || (is === was && !isTimeNew)) return after;
  const isAnother = is === null || was === null || leftMs === undefined || isTimeNew;
  return withStartLeft(after, isAnother ? is : Math.max(0, leftMs + is - was));
}

/** Jobs keep their priority and their age in the other group. */
export function move(state: State, event: Extract<Event, { type: 'move' }>, now: Instant): Decision {
  const { request, jobIds, ended, group } = event;
  if (!state.groups.has(group)) return refuse(request, 'GROUP_NOT_FOUND', groupNotFound(state, group));
  let added = 0;
  return bulk(request, jobIds, (jobId) => {
    const before = queuedJob(state, jobId, ended);
    const from = before.definition.group;
    if (from === group) return nothing;
    const problem = roomProblem(state, group, added + 1);
    if (problem !== null) throw problem;
    added += 1;
    const after = inItsGroup(state, { ...before, definition: { ...before.definition, group } }, now);
    const detail = { changed: ['group'], from, to: group };
    return {
      changes: [
        { kind: 'job', before, after },
        { kind: 'note', job: after, note: 'edited', detail },
      ],
      effects: [],
    };
  });
}

/** @throws CorralError `JOB_NOT_FOUND`, `JOB_NOT_QUEUED` */
function queuedJob(state: State, jobId: number, ended: EndedJobs): Job {
  const job = state.live.get(jobId) ?? ended.get(jobId);
  if (job === undefined) throw jobNotFound(jobId);
  const { status } = job.phase;
  if (status === 'queued') return job;
  const todo = state.live.has(jobId)
    ? `End it first, and submit it anew as it should be: corral cancel ${jobId}`
    : `It can be run again as it was: corral retry ${jobId}`;
  throw new CorralError('JOB_NOT_QUEUED', `Job ${jobId} is ${status}; only a queued job can be changed. ${todo}`);
}

/**
 * The definition with what the edit names in place of what was there.
 *
 * @throws CorralError `PROFILE_NOT_FOUND`, `INVALID_PARAMS`
 */
function editedDefinition(definition: JobDefinition, wish: JobEdit, defaults: JobDefaults): JobDefinition {
  const { name, priority, command, cwd, env, resources: _, delayMs, startAt, ...asked } = wish;
  const time =
    delayMs !== undefined
      ? { delayMs, startAtWallMs: null }
      : startAt !== undefined
        ? { delayMs: null, startAtWallMs: Date.parse(startAt) }
        : {};
  return {
    ...definition,
    ...(name === undefined ? {} : { name }),
    ...(priority === undefined ? {} : { priority }),
    ...(command === undefined ? {} : { command }),
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env: editedEnvironment(definition.env, env) }),
    ...time,
    ...(namesOf(asked).length === 0 ? {} : editedPolicies(definition, asked, defaults)),
  };
}

/** @throws CorralError `INVALID_PARAMS` where it grows beyond what could have been submitted */
function editedEnvironment(before: JobDefinition['env'], { set = {}, unset = [] }: NonNullable<JobEdit['env']>) {
  const kept = Object.entries(before).filter(([name]) => !unset.includes(name));
  const env = Object.fromEntries([...kept, ...Object.entries(set)]);
  const characters = Object.entries(env).reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (characters > frameLimits.maxFrameBytes)
    throw new CorralError('INVALID_PARAMS', 'The environment would be larger than a job may bring. Unset something.');
  return env;
}

/**
 * What the edit names is settled as at a submit, caps included. All else stays as the job has it, though the configuration may
 * have changed since.
 */
function editedPolicies(job: SettledPolicies, asked: PolicySettings, defaults: JobDefaults): SettledPolicies {
  const { profile, policies, sources } = job;
  // A job that is to have an idle policy for the first time takes what the edit leaves open from its profile.
  const isNew = policies.idle === null && asked.idle !== undefined;
  const template = isNew ? settlePolicies({ idle: asked.idle }, profile, defaults) : job;
  const present = {
    name: profile,
    base: null,
    settings: { ...policies, idle: template.policies.idle },
    configured: {},
  };
  const names = namesOf(asked);
  const { idleMs, resources: _, ...others } = defaults.caps;
  const caps = {
    ...Object.fromEntries(Object.entries(others).filter(([name]) => names.includes(name))),
    ...(asked.idle === undefined || idleMs === undefined ? {} : { idleMs }),
  };
  const settled = settlePolicies(asked, profile, { profiles: new Map([[profile, present]]), jobs: {}, caps });
  const sourceOf = (name: string, from: string) =>
    names.includes(name) || from === fromCaps ? from : (sources[name] ?? template.sources[name] ?? from);
  return {
    ...settled,
    sources: Object.fromEntries(Object.entries(settled.sources).map(([name, from]) => [name, sourceOf(name, from)])),
  };
}

/** What an edit names, such as `priority`, `env.PATH` and `idle.checks`. */
function namesOf(wish: JobEdit): string[] {
  return Object.entries(wish).flatMap(([name, value]) => {
    if (value === undefined) return [];
    if (name === 'env')
      return [...Object.keys(wish.env?.set ?? {}), ...(wish.env?.unset ?? [])].map((one) => `env.${one}`);
    const hasParts = (name === 'idle' || name === 'retry') && value !== null;
    return hasParts ? Object.keys(value).map((part) => `${name}.${part}`) : [name];
  });
}
