import { z } from 'zod';

/** Why an attempt ended. The first cause wins and is never overwritten. */
export const causes = ['exit', 'signal', 'spawn-error', 'max-runtime', 'cancel', 'supervisor-lost'] as const;
export type Cause = (typeof causes)[number];

export const jobStatuses = ['queued', 'starting', 'running', 'stopping', 'completed', 'failed', 'cancelled'] as const;
export type JobStatus = (typeof jobStatuses)[number];

export const finalStatuses = ['completed', 'failed', 'cancelled'] as const satisfies readonly JobStatus[];
export const liveStatuses = ['queued', 'starting', 'running', 'stopping'] as const satisfies readonly JobStatus[];

export function isFinal(status: JobStatus): boolean {
  return (finalStatuses as readonly JobStatus[]).includes(status);
}

export const defaultGroup = 'default';

/** Longest time that a setting may name: a hundred years, in ms. Far beyond 2^31, and safe to add to any clock. */
const maxDurationMs = 100 * 365 * 86_400_000;

/** Text that a program can be given and the store gives back unchanged. */
const text = (what: string) =>
  z
    .string()
    .refine((value) => !value.includes('\0'), `${what} holds a NUL byte, which no program can be given`)
    .refine((value) => value.isWellFormed(), `${what} holds half of a surrogate pair, which is not Unicode`);
const absolutePath = (what: string) =>
  text(what).refine((path) => path.startsWith('/'), `${what} must be an absolute path`);
const durationMs = z.number().int().positive().max(maxDurationMs);

export const jobIdSchema = z.number().int().positive().safe();

/** What a caller asks for. Durations in ms. Absent settings take the daemon's defaults. */
export const jobSpecSchema = z.strictObject({
  /** Program and arguments, as execvp(3) takes them: the first is looked up in the job's PATH if it has no slash. */
  command: z
    .array(text('command'))
    .min(1)
    .max(10_000)
    .refine((argv) => argv[0] !== '', 'command names no program'),
  /** Environment of the job, whole: nothing of the daemon's own is added but the CORRAL_ variables. */
  env: z.record(
    text('env').refine((name) => name !== '' && !name.includes('='), 'a variable name is empty or holds "="'),
    text('env'),
  ),
  cwd: absolutePath('cwd'),
  name: text('name').min(1).max(200).optional(),
  group: text('group').min(1).max(100).optional(),
  /** File that the job reads as its standard input. Absent: /dev/null. */
  stdin: absolutePath('stdin').optional(),
  /** Two output files, one for each stream, in place of one that has both in order. */
  splitOutput: z.boolean().optional(),
  /** Higher starts first; equal ones start by age. */
  priority: z.number().int().min(-1_000_000).max(1_000_000).optional(),
  /** The attempt is stopped when it has run this long. `null`: no limit. */
  maxRuntimeMs: durationMs.nullable().optional(),
  /** Time between SIGTERM and SIGKILL. `null`: SIGKILL at once. */
  killGraceMs: durationMs.nullable().optional(),
  /** Exit codes that count as success. */
  successCodes: z.array(z.number().int().min(0).max(255)).min(1).max(256).optional(),
  /** What becomes of the job if the daemon dies or stops while it runs. */
  onSupervisorLost: z.enum(['fail', 'retry']).optional(),
  /** A second submit with the same key answers with the first one's job. */
  idempotencyKey: text('idempotencyKey').min(1).max(200).optional(),
});

export type JobSpec = z.input<typeof jobSpecSchema>;

export const attemptViewSchema = z.object({
  attempt: z.number(),
  pid: z.number().nullable(),
  startedAt: z.string().nullable(),
  finishedAt: z.string().nullable(),
  cause: z.enum(causes).nullable(),
  exitCode: z.number().nullable(),
  signal: z.string().nullable(),
  strays: z.number(),
  cpuMs: z.number().nullable(),
  peakRssBytes: z.number().nullable(),
  message: z.string().nullable(),
});
export type AttemptView = z.infer<typeof attemptViewSchema>;

/** A job as `show --json` prints it. Times are ISO 8601 in UTC, durations in ms. */
export const jobViewSchema = z.object({
  id: jobIdSchema,
  name: z.string().nullable(),
  group: z.string(),
  profile: z.string(),
  command: z.array(z.string()),
  cwd: z.string(),
  priority: z.number(),
  status: z.enum(jobStatuses),
  cause: z.enum(causes).nullable(),
  exitCode: z.number().nullable(),
  signal: z.string().nullable(),
  /** A sentence where the cause alone does not say enough, such as why the program could not be started. */
  message: z.string().nullable(),
  /** Number of the newest attempt; 0 before the first. */
  attempt: z.number(),
  attempts: z.array(attemptViewSchema),
  strays: z.number(),
  /** Processes that SIGKILL did not end, such as ones in state D. The slot stays held. */
  unkillable: z.boolean(),
  pid: z.number().nullable(),
  submittedAt: z.string(),
  startedAt: z.string().nullable(),
  finishedAt: z.string().nullable(),
  cpuMs: z.number().nullable(),
  peakRssBytes: z.number().nullable(),
  outputBytes: z.number(),
  outputFiles: z.array(z.string()),
  limits: z.object({
    maxRuntimeMs: z.number().nullable(),
    killGraceMs: z.number().nullable(),
    successCodes: z.array(z.number()),
  }),
  onSupervisorLost: z.enum(['fail', 'retry']),
  idempotencyKey: z.string().nullable(),
  containment: z.string().nullable(),
});
export type JobView = z.infer<typeof jobViewSchema>;

/** One transition of a job. */
export const eventViewSchema = z.object({
  seq: z.number(),
  at: z.string(),
  jobId: jobIdSchema,
  /** 0 before the first attempt. */
  attempt: z.number(),
  /** `null`: the job was submitted. */
  from: z.enum(jobStatuses).nullable(),
  to: z.enum(jobStatuses),
  cause: z.enum(causes).nullable(),
});
export type EventView = z.infer<typeof eventViewSchema>;

export const groupViewSchema = z.object({
  name: z.string(),
  /** Slots: jobs that may run at once. 0 starts nothing. */
  parallel: z.number(),
  maxQueued: z.number(),
  queued: z.number(),
  /** Slots in use: jobs that are starting, running or stopping. */
  active: z.number(),
});
export type GroupView = z.infer<typeof groupViewSchema>;

/** The answer to work on several jobs: what became of each. */
export const bulkReportSchema = z.object({
  requested: z.number(),
  done: z.number(),
  failed: z.number(),
  errors: z.array(z.object({ jobId: z.number(), code: z.string(), message: z.string() })),
});
export type BulkReport = z.infer<typeof bulkReportSchema>;
