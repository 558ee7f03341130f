/**
 * The policies of a job: what ends it, runs it again, and clears it away. A profile is a named set of them; a job takes those of
 * its profile and overrides single values.
 */
import { z } from 'zod';
import { causes } from './causes.ts';
import type { ResourceCaps } from './resources.ts';
import { durationText, sizeText } from './units.ts';

/** Longest time that a setting may name: a hundred years, in ms. Far beyond 2^31, and safe to add to any clock. */
const maxDurationMs = 100 * 365 * 86_400_000;
export const durationMs = z.number().int().positive().max(maxDurationMs);

/** What counts as activity beside CPU time above the threshold. */
export const idleSignals = ['cpu', 'io', 'output', 'progress', 'client'] as const;
export type IdleSignal = (typeof idleSignals)[number];

/** Causes after which an attempt can be run again. Those that somebody asked for are not among them. */
export const retryableCauses = causes.filter(
  (cause) => !['cancel', 'scope', 'lease', 'reset', 'dependency', 'start-deadline', 'supervisor-lost'].includes(cause),
);

export const idleSettings = z
  .strictObject({
    cpuMillicores: z
      .number()
      .min(0)
      .max(1_000_000)
      .describe('CPU use at or below which a check is quiet, in thousandths of a core.'),
    checks: z.number().int().min(1).max(1_000_000).describe('So many quiet checks in a row end the job.'),
    intervalMs: durationMs.min(100).describe('Time between two checks, in ms.'),
    signals: z
      .array(z.enum(idleSignals))
      .min(1)
      .max(idleSignals.length)
      .describe(
        'What must be quiet. `cpu`: CPU time; `io`: bytes read, written, sent or received; `output`: growth of the output; `progress`: a report by the job; `client`: an attached client or a heartbeat.',
      ),
    dryRun: z.boolean().describe('Only say that the job would have been ended.'),
  })
  .meta({ id: 'IdlePolicy', description: 'When a job counts as idle.' });

export const retrySettings = z
  .strictObject({
    limit: z.number().int().min(0).max(1_000_000).nullable().describe('Most retries. `null`: no limit.'),
    delayMs: durationMs.describe('Pause before the first retry, in ms. It doubles with each.'),
    maxDelayMs: durationMs.describe('Longest pause, in ms.'),
    jitter: z
      .number()
      .min(0)
      .max(1)
      .describe('Share of the pause that is left to chance, so that jobs that failed together do not return together.'),
    causes: z
      .array(z.enum(causes))
      .max(causes.length)
      .refine(
        (list) => list.every((cause) => retryableCauses.includes(cause)),
        `only these can be retried: ${retryableCauses.join(', ')}`,
      )
      .describe('Causes after which an attempt is run again.'),
    exitCodes: z
      .array(z.number().int().min(0).max(255))
      .min(1)
      .max(256)
      .nullable()
      .describe('With cause `exit`: only after these codes. `null`: after any that is no success.'),
    breakerFailures: z
      .number()
      .int()
      .min(1)
      .max(1_000_000)
      .nullable()
      .describe('The breaker: so many failures within `breakerWindowMs`, and the job fails for good. `null`: none.'),
    breakerWindowMs: durationMs.describe('See `breakerFailures`.'),
  })
  .meta({ id: 'RetryPolicy', description: 'Whether, when and how often a failed attempt is run again.' });

export type IdlePolicy = z.output<typeof idleSettings>;
export type RetryPolicy = z.output<typeof retrySettings>;

/** Every policy, as a job or a profile names it. What is not named is the profile's. */
export const policyFields = {
  maxRuntimeMs: durationMs
    .nullable()
    .optional()
    .describe("The attempt is stopped when it has run this long. `null`: no limit. Absent: the profile's."),
  killGraceMs: durationMs
    .nullable()
    .optional()
    .describe("Time between SIGTERM and SIGKILL. `null`: SIGKILL at once. Absent: the profile's."),
  startDeadlineMs: durationMs
    .nullable()
    .optional()
    .describe(
      "The job fails if it has not started this long after it could have: after it was queued, or at the end of its delay. `null`: it waits. Absent: the profile's.",
    ),
  leaseMs: durationMs
    .nullable()
    .optional()
    .describe(
      "How long a running job lives on without an attached client or a heartbeat. `null`: it needs none. Absent: the profile's.",
    ),
  ttlMs: durationMs
    .nullable()
    .optional()
    .describe(
      "Record, events and output are deleted this long after the end. `null`: they are kept. Absent: the profile's.",
    ),
  idle: idleSettings
    .partial()
    .nullable()
    .optional()
    .describe("When the job counts as idle and is ended. `null`: never. What is absent is the profile's."),
  retry: retrySettings.partial().optional().describe("What is absent is the profile's."),
  onSupervisorLost: z
    .enum(['fail', 'retry'])
    .optional()
    .describe("What becomes of the job if the daemon dies or stops while it runs. Absent: the profile's, `fail`."),
  outputLimitBytes: z
    .number()
    .int()
    .min(4096)
    .max(2 ** 50)
    .nullable()
    .optional()
    .describe("Most bytes of output of an attempt. `null`: no limit of its own. Absent: the profile's."),
  onOutputLimit: z
    .enum(['truncate', 'kill'])
    .optional()
    .describe("At the limit: `truncate` drops the oldest output, `kill` ends the job. Absent: the profile's."),
};

/** What a profile or a job says of its policies. */
export type PolicySettings = z.output<z.ZodObject<typeof policyFields>>;

/** The policies that are in force for a job. */
export interface Policies {
  readonly maxRuntimeMs: number | null;
  readonly killGraceMs: number | null;
  readonly startDeadlineMs: number | null;
  readonly leaseMs: number | null;
  readonly ttlMs: number | null;
  readonly idle: Readonly<IdlePolicy> | null;
  readonly retry: Readonly<RetryPolicy>;
  readonly onSupervisorLost: 'fail' | 'retry';
  readonly outputLimitBytes: number | null;
  readonly onOutputLimit: 'truncate' | 'kill';
}

const policyValue = z.union([
  z.number(),
  z.string(),
  z.boolean(),
  z.array(z.union([z.string(), z.number()])),
  z.null(),
]);

/** Each value of the policies by its name, such as `maxRuntimeMs` or `idle.checks`. */
export const policiesViewSchema = z
  .record(
    z.string(),
    z.object({
      value: policyValue.describe('`null`: off, or no limit.'),
      from: z
        .string()
        .describe(
          'Where it comes from: `job`; `profile NAME`, as it is built in; `config profiles.NAME` or `config jobs`, as the configuration has it; `config caps` where the configuration limits it.',
        ),
    }),
  )
  .meta({ id: 'Policies', description: 'The policies in force, and where each value comes from.' });
export type PoliciesView = z.output<typeof policiesViewSchema>;

/** Each policy by its name in the view, and as people write it: in the configuration, and where `corral show` prints it. */
export const policyKeys = {
  maxRuntimeMs: 'max-runtime',
  killGraceMs: 'kill-grace',
  startDeadlineMs: 'start-deadline',
  leaseMs: 'lease',
  ttlMs: 'ttl',
  idle: 'idle',
  'idle.cpuMillicores': 'idle.cpu-millicores',
  'idle.checks': 'idle.checks',
  'idle.intervalMs': 'idle.interval',
  'idle.signals': 'idle.signals',
  'idle.dryRun': 'idle.dry-run',
  'retry.limit': 'retry.limit',
  'retry.delayMs': 'retry.delay',
  'retry.maxDelayMs': 'retry.max-delay',
  'retry.jitter': 'retry.jitter',
  'retry.causes': 'retry.causes',
  'retry.exitCodes': 'retry.exit-codes',
  'retry.breakerFailures': 'retry.breaker-failures',
  'retry.breakerWindowMs': 'retry.breaker-window',
  onSupervisorLost: 'on-supervisor-lost',
  outputLimitBytes: 'output-limit',
  onOutputLimit: 'on-output-limit',
} as const;
export type PolicyName = keyof typeof policyKeys;

/** What `null` is called where it is not `off`. */
const namesOfNull: Readonly<Record<string, string>> = { 'retry.limit': 'unlimited', 'retry.exitCodes': 'any' };

/** The value of a policy as the configuration has it: `30m`, `256MiB`, `off`, `3`. */
export function policyText(name: string, value: PoliciesView[string]['value']): string | number | boolean | string[] {
  if (value === null) return namesOfNull[name] ?? 'off';
  if (Array.isArray(value)) return value.map(String);
  if (typeof value !== 'number') return value;
  return name.endsWith('Ms') ? durationText(value) : name.endsWith('Bytes') ? sizeText(value) : value;
}

/** Policies that the configuration can cap by a number, by their names in the view. */
export const cappedPolicies = [
  'maxRuntimeMs',
  'killGraceMs',
  'startDeadlineMs',
  'leaseMs',
  'ttlMs',
  'outputLimitBytes',
  'retry.limit',
] as const;

/** The most that any job may have of each. */
export type CapSettings = { readonly [name in (typeof cappedPolicies)[number]]?: number } & {
  /** The longest time until an idle job is ended. */
  readonly idleMs?: number;
  readonly resources?: ResourceCaps;
};
