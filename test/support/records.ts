/** Records of the core, as a test needs them: everything that it does not name has its default. */
import {
  builtInDefaults,
  definitionFrom,
  type Group,
  type HostLimits,
  type Instant,
  type Job,
  type JobDefaults,
  newGroup,
  newJob,
} from '../../src/daemon/core/index.ts';
import type { JobSpec } from '../../src/protocol/index.ts';

/** A time on all clocks. */
export function instant(monoMs: number, wallMs: number = monoMs, steadyWallMs: number = wallMs): Instant {
  return { monoMs, wallMs, steadyWallMs, unitRandom: 0.5 };
}

export function groupOf(name: string, settings: Partial<Group> = {}): Group {
  return { ...newGroup(name, 1), ...settings };
}

const byCgroup = { by: 'cgroup', why: null } as const;

/** A host that can hold jobs to every limit. */
export const ableHost: HostLimits = {
  how: { memory: byCgroup, cpus: byCgroup, pids: byCgroup, nice: { by: 'each process', why: null } },
  lowestNice: -20,
};

/** What is built in, on such a host. */
export const defaultsOnAbleHost: JobDefaults = { ...builtInDefaults, hostLimits: ableHost };

/** A queued job. */
export function jobOf(id: number, spec: Partial<JobSpec> = {}, submittedWallMs = 0): Job {
  return newJob(id, definitionFrom({ command: ['true'], env: {}, cwd: '/', ...spec }), instant(0, submittedWallMs));
}
