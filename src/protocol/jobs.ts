import { z } from 'zod';
import { bytesTextProblem } from './bytes.ts';
import { causes } from './causes.ts';
import { durationMs, policiesViewSchema, policyFields } from './policies.ts';
import { resourcesSchema, resourcesViewSchema } from './resources.ts';

export const jobStatuses = ['queued', 'starting', 'running', 'stopping', 'completed', 'failed', 'cancelled'] as const;
export type JobStatus = (typeof jobStatuses)[number];

export const finalStatuses = ['completed', 'failed', 'cancelled'] as const satisfies readonly JobStatus[];
export const liveStatuses = ['queued', 'starting', 'running', 'stopping'] as const satisfies readonly JobStatus[];

export function isFinal(status: JobStatus): boolean {
  return (finalStatuses as readonly JobStatus[]).includes(status);
}

export const defaultGroup = 'default';

const withoutNul = (what: string) =>
  z.string().refine((value) => !value.includes('\0'), `${what} holds a NUL byte, which no program can be given`);
/** Text that the store gives back unchanged. */
const text = (what: string) =>
  withoutNul(what).refine(
    (value) => value.isWellFormed(),
    `${what} holds half of a surrogate pair, which is not Unicode`,
  );
/** What the kernel takes as bytes: those that are not UTF-8 travel as U+DC80 to U+DCFF (bytes.ts). */
const bytes = (what: string) =>
  withoutNul(what).refine((value) => bytesTextProblem(value) === null, {
    error: ({ input }) => `${what} ${bytesTextProblem(String(input))}`,
  });
const absolutePath = (what: string) =>
  bytes(what).refine((path) => path.startsWith('/'), `${what} must be an absolute path`);
export const jobIdSchema = z.number().int().positive().safe();

/** Transitions on which a hook may be run. `retrying`: an attempt failed, and the job waits for the next. */
export const hookMoments = ['running', 'retrying', 'stopping', 'completed', 'failed', 'cancelled'] as const;
export type HookMoment = (typeof hookMoments)[number];

const commandSchema = z
  .array(bytes('command'))
  .min(1)
  .max(10_000)
  .refine((argv) => argv[0] !== '', 'command names no program');

export const hookSchema = z
  .strictObject({
    on: z.array(z.enum(hookMoments)).min(1).max(hookMoments.length).describe('The transitions after which it is run.'),
    command: commandSchema.describe("Program and arguments. It reads the job's JSON, as `get` has it, on stdin."),
    timeoutMs: durationMs.optional().describe('It is killed when it has run this long. Absent: 30,000.'),
  })
  .meta({ id: 'Hook', description: 'A command that is run when something has become of a job.' });
export type HookSpec = z.output<typeof hookSchema>;

const envName = bytes('env').refine(
  (name) => name !== '' && !name.includes('='),
  'a variable name is empty or holds "="',
);
const nameField = text('name').min(1).max(200);
const priorityField = z.number().int().min(-1_000_000).max(1_000_000);
const startAtField = z.iso.datetime({ offset: true });

/** What a caller asks for. The descriptions of fields, here and below, are what docs/protocol.md says of them. */
export const jobSpecSchema = z
  .strictObject({
    command: commandSchema.describe(
      "Program and arguments, as execvp(3) takes them: the first is looked up in the job's PATH if it has no slash. For a shell: `/bin/sh`, `-c` and the line.",
    ),
    env: z
      .record(envName, bytes('env'))
      .describe(
        "The job's whole environment: nothing of the daemon's own is added but the `CORRAL_` variables. A name is any text but an empty one, without `=` and NUL.",
      ),
    cwd: absolutePath('cwd').describe('Absolute path of the folder in which the job starts.'),
    name: nameField.optional().describe('A label for people. Need not be unique.'),
    group: text('group').min(1).max(100).optional().describe('The queue that it waits in. Absent: `default`.'),
    profile: text('profile')
      .min(1)
      .max(100)
      .optional()
      .describe(
        'The set of policies that it starts from: `default`, `stream`, `batch`, `test`, `service` or one of the configuration. Absent: `default`.',
      ),
    scope: text('scope')
      .min(1)
      .max(100)
      .optional()
      .describe('The scope that it ends with, as `scope.open` answered it. Absent: none.'),
    stdin: absolutePath('stdin')
      .optional()
      .describe('Absolute path of the file that the job reads as its standard input. Absent: /dev/null.'),
    splitOutput: z
      .boolean()
      .optional()
      .describe('Two output files, one for each stream, in place of one that has both in order. Absent: false.'),
    priority: priorityField.optional().describe('Higher starts first; equal ones start by age. Absent: 0.'),
    ...policyFields,
    delayMs: durationMs.optional().describe('It starts no sooner than this long after it was submitted, in ms.'),
    startAt: startAtField
      .optional()
      .describe(
        'It starts no sooner than at this time of the wall clock, such as `2027-01-31T06:00:00Z`. Not together with `delayMs`.',
      ),
    after: z.array(jobIdSchema).min(1).max(1_000).optional().describe('It starts when all of these jobs have ended.'),
    afterMode: z
      .enum(['success', 'any'])
      .optional()
      .describe(
        '`success`: if one of them does not complete, this job fails with cause `dependency`. `any`: how they end does not matter. Absent: `success`.',
      ),
    resources: resourcesSchema.optional(),
    hooks: z.array(hookSchema).max(16).optional().describe('Commands to be run when something has become of the job.'),
    successCodes: z
      .array(z.number().int().min(0).max(255))
      .min(1)
      .max(256)
      .optional()
      .describe('Exit codes that count as success. Absent: 0.'),
    idempotencyKey: text('idempotencyKey')
      .min(1)
      .max(200)
      .optional()
      .describe(
        "A second submit with the same key and command answers with the first one's job, whatever else it asks for: only the command is compared. Draw one for each job, such as a UUID. It is known as long as the job's record is.",
      ),
  })
  .meta({ id: 'JobSpec', description: 'What is to be run, and how.' });

export type JobSpec = z.input<typeof jobSpecSchema>;

/** What may be changed of a job that is queued. What is absent stays as it is. */
export const jobEditSchema = z
  .strictObject({
    name: nameField.nullable().optional().describe('`null`: none.'),
    priority: priorityField.optional(),
    command: commandSchema.optional().describe('In place of the whole command.'),
    cwd: absolutePath('cwd').optional(),
    env: z
      .strictObject({
        set: z.record(envName, bytes('env')).optional().describe('Variables that are added, or get another value.'),
        unset: z.array(envName).max(10_000).optional().describe('Variables that are taken out.'),
      })
      .optional()
      .describe('Single variables; all others stay.'),
    ...policyFields,
    delayMs: durationMs
      .nullable()
      .optional()
      .describe('It starts no sooner than this long after the edit, in ms. `null`: it need not wait for any time.'),
    startAt: startAtField.optional().describe('It starts no sooner than at this time. Not together with `delayMs`.'),
    resources: resourcesSchema.nullable().optional().describe('In place of all limits. `null`: none.'),
  })
  .refine((edit) => Object.values(edit).some((value) => value !== undefined), 'name something to change')
  .refine(
    ({ delayMs, startAt }) => delayMs === undefined || startAt === undefined,
    'name one of delayMs and startAt: a job has one time before which it does not start',
  )
  .meta({ id: 'JobEdit', description: 'What is to be changed of a queued job.' });

export type JobEdit = z.output<typeof jobEditSchema>;

/** What an attempt and its job say alike. */
const leaderEnd = {
  exitCode: z
    .int()
    .nullable()
    .describe(
      "The leader's exit code; 126 or 127 where it could not be started (`spawn-error`), as a shell has it. `null` until it has exited, and where a signal ended it.",
    ),
  signal: z.string().nullable().describe('The signal that ended the leader, such as `SIGKILL`.'),
};
const strays = z.int().describe('Processes that lived on when the leader had exited; they were ended.');
const usage = {
  cpuMs: z
    .int()
    .nullable()
    .describe(
      'CPU time used, in ms: of all its processes in tier `cgroup`; of the leader, and of what was waited for, elsewhere (at least so much, with the launcher execa). `null` where it is not known.',
    ),
  peakRssBytes: z
    .int()
    .nullable()
    .describe(
      'Largest resident memory that any one of its processes had, in bytes, as far as that was seen. `null` where it is not known.',
    ),
};

const outputDroppedBytes = z
  .int()
  .describe('Bytes at the beginning of its output that are gone, because the limit was `truncate`.');
const progress = z
  .object({
    percent: z.number().nullable().describe('0 to 100. `null` where only a message was reported.'),
    message: z.string().nullable(),
    at: z.string(),
  })
  .nullable()
  .describe('What it has reported last. `null`: nothing.');
const result = z.unknown().describe('What it has reported as its result: any JSON. `null`: nothing.');

/** What a job may report of itself. A message is for a column of `ls`, a result for whoever waits for the job. */
export const reportLimits = { messageLength: 500, resultBytes: 64 * 1024, resultDepth: 64 } as const;

export const progressReport = {
  percent: z.number().min(0).max(100).nullable().optional().describe('0 to 100; fractions are allowed.'),
  message: text('message').max(reportLimits.messageLength).nullable().optional(),
};
export const resultReport = z
  .unknown()
  .superRefine((value, context) => {
    const problem = resultProblem(value);
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  })
  .describe(
    `Any JSON of at most ${reportLimits.resultBytes / 1024} KiB, nested at most ${reportLimits.resultDepth} deep. \`null\` takes an earlier one back.`,
  );

/** Why a value cannot be a job's result, or `null`. */
export function resultProblem(value: unknown): string | null {
  if (value === undefined) return 'must be there: any JSON, also null';
  if (!isWithinDepth(value, reportLimits.resultDepth)) return `is nested more than ${reportLimits.resultDepth} deep`;
  const bytes = new TextEncoder().encode(JSON.stringify(value)).length;
  if (bytes <= reportLimits.resultBytes) return null;
  return `has ${bytes} bytes as JSON, and at most ${reportLimits.resultBytes} are kept. Write it to a file, and report the path`;
}

function isWithinDepth(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return depth > 0 && Object.values(value).every((inner) => isWithinDepth(inner, depth - 1));
}

/** A job keeps its newest attempts, with their output: one that is run again for ever must not grow for ever, and must fit a frame. */
export const keptAttempts = 100;

export const attemptViewSchema = z
  .object({
    attempt: z.int().describe('Its number, from 1 on.'),
    pid: z.int().nullable().describe('The leader: the first process of the attempt. `null` where none was started.'),
    startedAt: z.string().nullable(),
    finishedAt: z.string().nullable(),
    cause: z.enum(causes).nullable().describe('Why it ended. `null` while nothing has ended it.'),
    ...leaderEnd,
    strays,
    ...usage,
    outputDroppedBytes,
    progress,
    result: result.describe(
      'What it has reported as its result: any JSON. `null`: nothing, or it is not among the four newest attempts.',
    ),
    message: z.string().nullable().describe('See Job.'),
  })
  .meta({ id: 'Attempt', description: 'One run of a job. A job that is run again has several.' });
export type AttemptView = z.infer<typeof attemptViewSchema>;

/** A job as `show --json` prints it. */
export const jobViewSchema = z
  .object({
    id: jobIdSchema,
    name: z.string().nullable(),
    group: z.string(),
    profile: z.string(),
    scope: z.string().nullable(),
    command: z.array(z.string()),
    cwd: z.string(),
    priority: z.int(),
    status: z.enum(jobStatuses).describe('The last three are final: the job has ended and changes no more.'),
    cause: z.enum(causes).nullable().describe('Why it ended, or is being ended. `null` before that.'),
    ...leaderEnd,
    message: z
      .string()
      .nullable()
      .describe('A sentence where the cause alone does not say enough, such as why the program could not be started.'),
    attempt: z
      .int()
      .describe('Number of the newest attempt, which the fields beside this are about; 0 before the first.'),
    attempts: z
      .array(attemptViewSchema)
      .describe(`The ${keptAttempts} newest, oldest first. Earlier ones are not kept, nor is their output.`),
    strays,
    paused: z.boolean().describe('A client paused it: its processes stand still, or it does not start.'),
    waitingFor: z
      .string()
      .nullable()
      .describe('Of a queued job: why it has not started, in a sentence. `null` where it has.'),
    notBefore: z.string().nullable().describe('Of a queued job: it starts no sooner, because of a delay or a retry.'),
    after: z.array(jobIdSchema).describe('Jobs that had to end first.'),
    afterMode: z.enum(['success', 'any']),
    retries: z.int().describe('How often it was run again by its retry policy.'),
    outputDroppedBytes,
    progress,
    result,
    warnings: z
      .array(z.string())
      .describe('What could not be done as asked, such as a limit that this host cannot enforce.'),
    unkillable: z.boolean().describe('Some process was not ended by SIGKILL, as in state D. The slot stays held.'),
    pid: z.int().nullable().describe('The leader, while the job is running or stopping.'),
    submittedAt: z.string(),
    startedAt: z.string().nullable(),
    finishedAt: z.string().nullable(),
    expiresAt: z
      .string()
      .nullable()
      .describe('When record, events and output are deleted. `null` before the end, and where they are kept.'),
    ...usage,
    outputBytes: z.int().describe('Output of the newest attempt, all files together.'),
    outputFiles: z.array(z.string()).describe('Paths of these files.'),
    splitOutput: z.boolean().describe('Two files, one for each stream, in place of one that has both in order.'),
    limits: z.object({
      maxRuntimeMs: z.int().nullable().describe('`null`: no limit.'),
      killGraceMs: z.int().nullable().describe('`null`: SIGKILL at once.'),
      successCodes: z.array(z.int()),
    }),
    policies: policiesViewSchema,
    resources: resourcesViewSchema.nullable(),
    onSupervisorLost: z.enum(['fail', 'retry']),
    idempotencyKey: z.string().nullable(),
    containment: z
      .string()
      .nullable()
      .describe('How its processes are held, such as `cgroup` or `scan`. `null` before the first attempt.'),
  })
  .meta({ id: 'Job', description: 'A job as the daemon knows it. Its environment is not told.' });
export type JobView = z.infer<typeof jobViewSchema>;

/** A job as it would be submitted. */
export const settledJobSchema = jobViewSchema
  .pick({
    name: true,
    group: true,
    profile: true,
    scope: true,
    command: true,
    cwd: true,
    priority: true,
    splitOutput: true,
    notBefore: true,
    after: true,
    afterMode: true,
    limits: true,
    policies: true,
    resources: true,
    warnings: true,
    onSupervisorLost: true,
    idempotencyKey: true,
  })
  .meta({ id: 'SettledJob', description: 'A job as it would be submitted.' });
export type SettledJob = z.infer<typeof settledJobSchema>;

/** A running job that an operator may want to end. */
export const stuckJobSchema = z
  .object({
    jobId: jobIdSchema,
    runningMs: z.int().describe('How long its newest attempt has been running.'),
    noProgressMs: z
      .int()
      .describe('How long it has reported nothing new. Of an attempt that never reported: since it started.'),
  })
  .meta({ id: 'StuckJob', description: 'A job that has been running for long, or does not get on.' });
export type StuckJob = z.infer<typeof stuckJobSchema>;

export const resetReportSchema = z
  .object({
    success: z.boolean().describe('Whether all of them have ended, and every process of theirs is gone.'),
    reset_count: z.int().describe('How many have ended.'),
    job_ids: z.array(jobIdSchema).describe('Those that have ended.'),
    message: z.string().describe('The same in a sentence; it names the jobs that have not ended.'),
  })
  .meta({ id: 'ResetReport', description: 'What became of a reset of stuck jobs.' });
export type ResetReport = z.infer<typeof resetReportSchema>;

/** What an event can be. Beside transitions: a report of the job, a client's pause, and what the daemon has to say of the job. */
export const eventKinds = [
  'transition',
  'progress',
  'result',
  'paused',
  'resumed',
  'edited',
  'warning',
  'idle',
] as const;
export type EventKind = (typeof eventKinds)[number];

export const eventViewSchema = z
  .object({
    seq: z.int().describe('Its number. Numbers only grow.'),
    kind: z
      .enum(eventKinds)
      .describe(
        '`transition`: the job is in another status. The others tell something of a job that stays in its status.',
      ),
    detail: z.unknown().describe('What there is to say beyond that; `null` where nothing is.'),
    at: z.string(),
    jobId: jobIdSchema,
    attempt: z.int().describe('0 before the first attempt.'),
    from: z.enum(jobStatuses).nullable().describe('`null`: the job was submitted.'),
    to: z.enum(jobStatuses),
    cause: z.enum(causes).nullable().describe('Why it ended, or is being ended.'),
  })
  .meta({ id: 'Event', description: 'Something that happened to a job.' });
export type EventView = z.infer<typeof eventViewSchema>;

/** What tells jobs from others, in every method that takes it. All that is named must hold. */
export const jobFilterFields = {
  statuses: z.array(z.enum(jobStatuses)).min(1).optional().describe('Only jobs in one of these. Absent: in any.'),
  group: z.string().optional().describe('Only jobs of this group. One that does not exist has none.'),
  name: z.string().min(1).max(200).optional().describe('Only jobs with this name. `*` stands for any text: `build-*`.'),
  scope: z.string().min(1).max(100).optional().describe('Only jobs of this scope.'),
  olderThanMs: durationMs
    .optional()
    .describe(
      'Only jobs that were submitted longer ago than this, in ms; of those that have ended, that ended longer ago.',
    ),
};
export type JobFilter = z.output<z.ZodObject<typeof jobFilterFields>>;

export const processUsageSchema = z
  .object({
    pid: z.int(),
    command: z.string().describe('Its command line, shortened; in brackets the name that the kernel has for it.'),
    state: z.string().describe('`R` runs, `S` sleeps, `D` waits for a disk, `T` is stopped, `Z` has ended.'),
    cpuMs: z.int().describe('CPU time, without that of its children.'),
    cpuMillicores: z.number().nullable().describe('Thousandths of a core, as above.'),
    rssBytes: z.int().describe('Resident memory.'),
  })
  .meta({ id: 'ProcessUsage', description: 'What one process uses right now.' });
export type ProcessUsageView = z.infer<typeof processUsageSchema>;

export const jobUsageSchema = z
  .object({
    jobId: jobIdSchema,
    attempt: z.int(),
    cpuMs: z
      .int()
      .nullable()
      .describe(
        'CPU time since the attempt began, in ms. Outside of tier `cgroup` only that of processes which are alive, and of children that they waited for.',
      ),
    cpuMillicores: z
      .number()
      .nullable()
      .describe(
        'CPU use in thousandths of a core, since the look before. `null` where there was none within the last minute: ask again.',
      ),
    rssBytes: z.int().describe('Resident memory of all processes; what they share counts in each.'),
    processCount: z.int(),
    processes: z.array(processUsageSchema).describe('Those that use most come first. Empty if not asked for.'),
    idle: z
      .object({
        quietChecks: z.int().describe('In a row, up to now.'),
        checks: z.int().describe('So many end the job.'),
        dryRun: z.boolean(),
      })
      .nullable()
      .describe('How close the job is to counting as idle. `null`: it never does.'),
  })
  .meta({ id: 'JobUsage', description: 'What a running job uses right now.' });
export type JobUsageView = z.infer<typeof jobUsageSchema>;

export const bulkReportSchema = z
  .object({
    requested: z.int().describe('Jobs that were named, each counted once.'),
    done: z.int(),
    failed: z.int(),
    errors: z
      .array(z.object({ jobId: z.int(), code: z.string(), message: z.string() }))
      .describe('One for each job that failed.'),
  })
  .meta({
    id: 'BulkReport',
    description: 'What became of work on several jobs. That of one does not stop the others.',
  });
export type BulkReport = z.infer<typeof bulkReportSchema>;
