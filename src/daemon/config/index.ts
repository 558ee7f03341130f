import os from 'node:os';
import { z } from 'zod';
import { CorralError, type CorralPaths, defaultGroup, resolvePaths } from '../../protocol/index.ts';
import type { Group, JobDefaults } from '../core/index.ts';

/** Everything that the daemon is told from outside. Read once, at start. */
export interface Config {
  readonly paths: CorralPaths;
  readonly containment: 'auto' | 'cgroup' | 'scan';
  readonly launcher: 'posix_spawn' | 'execa';
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly jobDefaults: JobDefaults;
  /** Groups that exist from the first start. What is set later is kept in the store. */
  readonly groups: readonly Group[];
}

/** Time between SIGTERM and SIGKILL where a job does not name its own. */
const defaultKillGraceMs = 5_000;

/** Queued jobs of a group, at most. Each costs its command and environment in memory. */
const defaultMaxQueued = 10_000;

const environmentSchema = z.object({
  CORRAL_CONTAINMENT: z.enum(['auto', 'cgroup', 'scan']).default('auto'),
  CORRAL_LAUNCHER: z.enum(['posix_spawn', 'execa']).default('posix_spawn'),
  CORRAL_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

/** @throws CorralError `INVALID_PARAMS` that names the variable and what it may be */
export function readConfig(env: Readonly<Record<string, string | undefined>>, uid: number): Config {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = environmentSchema.safeParse(given);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const name = String(issue?.path[0]);
    throw new CorralError('INVALID_PARAMS', `The environment variable ${name} is "${env[name]}". ${issue?.message}.`);
  }
  return {
    paths: resolvePaths(env, uid),
    containment: parsed.data.CORRAL_CONTAINMENT,
    launcher: parsed.data.CORRAL_LAUNCHER,
    logLevel: parsed.data.CORRAL_LOG_LEVEL,
    jobDefaults: { maxRuntimeMs: null, killGraceMs: defaultKillGraceMs },
    groups: [{ name: defaultGroup, parallel: os.availableParallelism(), maxQueued: defaultMaxQueued }],
  };
}
