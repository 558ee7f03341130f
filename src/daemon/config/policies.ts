/** Policies as the configuration has them. How its keys and those of the protocol go together is said once, in `policyKeys`. */
import { z } from 'zod';
import {
  type CapSettings,
  cappedPolicies,
  idleSettings,
  type PolicySettings,
  policyFields,
  policyKeys,
  type ResourceCaps,
  resourcesSchema,
  retrySettings,
} from '../../protocol/index.ts';
import { duration, flag, list, number, size } from './values.ts';

const idle = z.strictObject(
  {
    'cpu-millicores': number(idleSettings.shape.cpuMillicores).optional(),
    checks: number(idleSettings.shape.checks).optional(),
    interval: duration.pipe(idleSettings.shape.intervalMs).optional(),
    signals: list(idleSettings.shape.signals).optional(),
    'dry-run': flag(idleSettings.shape.dryRun).optional(),
  },
  'write "off", "on", or a table such as { checks = 5, interval = "10s" }',
);

const retry = z.strictObject(
  {
    limit: number(retrySettings.shape.limit, { off: 0, unlimited: null }).optional(),
    delay: duration.pipe(retrySettings.shape.delayMs).optional(),
    'max-delay': duration.pipe(retrySettings.shape.maxDelayMs).optional(),
    jitter: number(retrySettings.shape.jitter).optional(),
    causes: list(retrySettings.shape.causes).optional(),
    'exit-codes': list(retrySettings.shape.exitCodes, { any: null }).optional(),
    'breaker-failures': number(retrySettings.shape.breakerFailures, { off: null }).optional(),
    'breaker-window': duration.pipe(retrySettings.shape.breakerWindowMs).optional(),
  },
  'write a table such as { limit = 3, delay = "1s" }',
);

/** What `[jobs]` and each profile may say. */
export const policySection = z.strictObject({
  'max-runtime': duration.pipe(policyFields.maxRuntimeMs.unwrap()).optional(),
  'kill-grace': duration.pipe(policyFields.killGraceMs.unwrap()).optional(),
  'start-deadline': duration.pipe(policyFields.startDeadlineMs.unwrap()).optional(),
  lease: duration.pipe(policyFields.leaseMs.unwrap()).optional(),
  ttl: duration.pipe(policyFields.ttlMs.unwrap()).optional(),
  idle: z.preprocess((value) => (value === 'off' ? null : value === 'on' ? {} : value), idle.nullable()).optional(),
  retry: retry.optional(),
  'on-supervisor-lost': policyFields.onSupervisorLost,
  'output-limit': size.pipe(policyFields.outputLimitBytes.unwrap()).optional(),
  'on-output-limit': policyFields.onOutputLimit,
});

const limits = resourcesSchema.shape;

/** What no job may exceed. `off`: whatever it asks for. */
export const capSection = z.strictObject({
  'max-runtime': duration.pipe(policyFields.maxRuntimeMs.unwrap()).optional(),
  'kill-grace': duration.pipe(policyFields.killGraceMs.unwrap()).optional(),
  'start-deadline': duration.pipe(policyFields.startDeadlineMs.unwrap()).optional(),
  lease: duration.pipe(policyFields.leaseMs.unwrap()).optional(),
  ttl: duration.pipe(policyFields.ttlMs.unwrap()).optional(),
  retry: retry
    .pick({ limit: true })
    .extend({
      limit: number(retrySettings.shape.limit, { off: null, unlimited: null }).optional(),
    })
    .optional(),
  'output-limit': size.pipe(policyFields.outputLimitBytes.unwrap()).optional(),
  idle: duration.pipe(idleSettings.shape.intervalMs.nullable()).optional(),
  memory: size.pipe(limits.memoryBytes.unwrap().nullable()).optional(),
  cpus: number(limits.cpus.unwrap().nullable(), { off: null }).optional(),
  pids: number(limits.pids.unwrap().nullable(), { off: null }).optional(),
});

type Tree = { readonly [key: string]: unknown };

/** What a section says, in the protocol's words. */
export function policiesFrom(section: Tree): PolicySettings {
  const settings: Record<string, unknown> = {};
  for (const [name, key] of Object.entries(policyKeys)) {
    const value = valueAt(section, key.split('.'));
    if (value === undefined) continue;
    const [group = '', part] = name.split('.');
    if (part !== undefined) settings[group] = { ...(settings[group] as object | undefined), [part]: value };
    else settings[group] = typeof value === 'object' && value !== null ? {} : value;
  }
  return settings;
}

export function capsFrom(section: z.output<typeof capSection>): CapSettings {
  const { idle, memory, cpus, pids } = section;
  const resources = numbersOf({ memoryBytes: memory, cpus, pids }) as ResourceCaps;
  return {
    ...numbersOf(
      Object.fromEntries(cappedPolicies.map((name) => [name, valueAt(section, policyKeys[name].split('.'))])),
    ),
    ...numbersOf({ idleMs: idle }),
    ...(Object.keys(resources).length === 0 ? {} : { resources }),
  };
}

/** Those that are set, and not to `off`. */
function numbersOf(values: Tree): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => (typeof value === 'number' ? [[name, value]] : [])),
  );
}

export function valueAt(tree: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (at, part) => (typeof at === 'object' && at !== null ? (at as Tree)[part] : undefined),
    tree,
  );
}
