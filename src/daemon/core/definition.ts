import { CorralError, defaultGroup, type JobSpec, type Policies } from '../../protocol/index.ts';
import type { JobDefinition } from './job.ts';
import { builtInDefaults, type JobDefaults, settlePolicies } from './profiles.ts';
import { settleResources, unknownHost } from './resources.ts';

/**
 * A caller's wish with every default filled in.
 *
 * @throws CorralError `PROFILE_NOT_FOUND`; `LIMIT_UNENFORCEABLE`; `INVALID_PARAMS` where its wishes contradict each other
 */
export function definitionFrom(spec: JobSpec, defaults: JobDefaults = builtInDefaults): JobDefinition {
  const { name, group, command, env, cwd, stdin, splitOutput, priority, successCodes, idempotencyKey, ...rest } = spec;
  const { profile, scope, delayMs, startAt, after, afterMode, resources, hooks, ...policies } = rest;
  if (delayMs !== undefined && startAt !== undefined)
    throw new CorralError(
      'INVALID_PARAMS',
      'Name one of delayMs and startAt: a job has one time before which it does not start.',
    );
  return {
    name: name ?? null,
    group: group ?? defaultGroup,
    command,
    env,
    cwd,
    stdin: stdin ?? null,
    splitOutput: splitOutput ?? false,
    priority: priority ?? 0,
    successCodes: successCodes ?? [0],
    idempotencyKey: idempotencyKey ?? null,
    scope: scope ?? null,
    delayMs: delayMs ?? null,
    startAtWallMs: startAt === undefined ? null : Date.parse(startAt),
    after: [...new Set(after ?? [])],
    afterMode: afterMode ?? 'success',
    resources: settleResources(resources, defaults.hostLimits ?? unknownHost, defaults.caps.resources),
    hooks: hooks ?? [],
    ...settlePolicies(policies, profile ?? 'default', defaults),
  };
}

/** What stores of schema 1 and 2 hold: three policies, and no profile. */
export type EarlyDefinition = Pick<JobDefinition, 'command' | 'cwd' | 'stdin' | 'splitOutput' | 'successCodes'> &
  Pick<Policies, 'maxRuntimeMs' | 'killGraceMs' | 'onSupervisorLost'>;

/** A definition of an early store as this version knows it. Such jobs were kept until somebody removed them, and had no limit on their output. */
export function upgradeDefinition({ maxRuntimeMs, killGraceMs, onSupervisorLost, ...rest }: EarlyDefinition) {
  const early = {
    maxRuntimeMs,
    killGraceMs,
    onSupervisorLost,
    idle: null,
    ttlMs: null,
    outputLimitBytes: null,
  };
  return {
    ...rest,
    delayMs: null,
    startAtWallMs: null,
    after: [],
    afterMode: 'success' as const,
    resources: null,
    hooks: [],
    ...settlePolicies(early, 'default', builtInDefaults),
  };
}
