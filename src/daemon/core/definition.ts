import { defaultGroup, type JobSpec } from '../../protocol/index.ts';
import type { JobDefinition } from './model.ts';

/** What a job gets where its caller says nothing. */
export interface JobDefaults {
  readonly maxRuntimeMs: number | null;
  readonly killGraceMs: number | null;
}

/** A caller's wish with every default filled in. */
export function definitionFrom(spec: JobSpec, defaults: JobDefaults): JobDefinition {
  return {
    name: spec.name ?? null,
    group: spec.group ?? defaultGroup,
    command: spec.command,
    env: spec.env,
    cwd: spec.cwd,
    stdin: spec.stdin ?? null,
    splitOutput: spec.splitOutput ?? false,
    priority: spec.priority ?? 0,
    maxRuntimeMs: spec.maxRuntimeMs === undefined ? defaults.maxRuntimeMs : spec.maxRuntimeMs,
    killGraceMs: spec.killGraceMs === undefined ? defaults.killGraceMs : spec.killGraceMs,
    successCodes: spec.successCodes ?? [0],
    onSupervisorLost: spec.onSupervisorLost ?? 'fail',
    idempotencyKey: spec.idempotencyKey ?? null,
  };
}
