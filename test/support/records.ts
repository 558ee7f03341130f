/** Records of the core, as a test needs them: everything that it does not name has its default. */
import { definitionFrom, type Group, type Instant, type Job, newGroup, newJob } from '../../src/daemon/core/index.ts';
import type { JobSpec } from '../../src/protocol/index.ts';

/** A time on all clocks. */
export function instant(monoMs: number, wallMs: number = monoMs, steadyWallMs: number = wallMs): Instant {
  return { monoMs, wallMs, steadyWallMs, unitRandom: 0.5 };
}

export function groupOf(name: string, settings: Partial<Group> = {}): Group {
  return { ...newGroup(name, 1), ...settings };
}

/** A queued job. */
export function jobOf(id: number, spec: Partial<JobSpec> = {}, submittedWallMs = 0): Job {
  return newJob(id, definitionFrom({ command: ['true'], env: {}, cwd: '/', ...spec }), instant(0, submittedWallMs));
}
