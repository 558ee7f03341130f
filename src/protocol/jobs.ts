import { z } from 'zod';
import { bytesTextProblem } from './bytes.ts';

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
const durationMs = z.number().int().positive().max(maxDurationMs);

export const jobIdSchema = z.number().int().positive().safe();

/** What a caller asks for. The descriptions of fields, here and below, are what docs/protocol.md says of them. */
export const jobSpecSchema = z
  .strictObject({
    command: z
      .array(bytes('command'))
      .min(1)
      .max(10_000)
      .refine((argv) => argv[0] !== '', 'command names no program')
      .describe(
        "Program and arguments, as execvp(3) takes them: the first is looked up in the job's PATH if it has no slash. For a shell: `/bin/sh`, `-c` and the line.",
      ),
    env: z
      .record(
        bytes('env').refine((name) => name !== '' && !name.includes('='), 'a variable name is empty or holds "="'),
        bytes('env'),
      )
      .describe(
        "The job's whole environment: nothing of the daemon's own is added but the `CORRAL_` variables. A name is any text but an empty one, without `=` and NUL.",
      ),
    cwd: absolutePath('cwd').describe('Absolute path of the folder in which the job starts.'),
    name: text('name').min(1).max(200).optional().describe('A label for people. Need not be unique.'),
    group: text('group')
      .min(1)
      .max(100)
      .optional()
      .describe('The queue that it waits in. Absent: `default`, the only one there is in this version.'),
    stdin: absolutePath('stdin')
      .optional()
      .describe('Absolute path of the file that the job reads as its standard input. Absent: /dev/null.'),
    splitOutput: z
      .boolean()
      .optional()
      .describe('Two output files, one for each stream, in place of one that has both in order. Absent: false.'),
    priority: z
      .number()
      .int()
      .min(-1_000_000)
      .max(1_000_000)
      .optional()
      .describe('Higher starts first; equal ones start by age. Absent: 0.'),
    maxRuntimeMs: durationMs
      .nullable()
      .optional()
      .describe("The attempt is stopped when it has run this long. `null`: no limit. Absent: the daemon's default."),
    killGraceMs: durationMs
      .nullable()
      .optional()
      .describe("Time between SIGTERM and SIGKILL. `null`: SIGKILL at once. Absent: the daemon's default."),
    successCodes: z
      .array(z.number().int().min(0).max(255))
      .min(1)
      .max(256)
      .optional()
      .describe('Exit codes that count as success. Absent: 0.'),
    onSupervisorLost: z
      .enum(['fail', 'retry'])
      .optional()
      .describe('What becomes of the job if the daemon dies or stops while it runs. Absent: `fail`.'),
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
  cpuMs: z.int().nullable().describe('CPU time used, in ms. `null` where it is not known.'),
  peakRssBytes: z.int().nullable().describe('Largest resident memory, in bytes. `null` where it is not known.'),
};

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
    profile: z.string().describe('Always `default` in this version.'),
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
    attempts: z.array(attemptViewSchema).describe('Oldest first.'),
    strays,
    unkillable: z.boolean().describe('Some process was not ended by SIGKILL, as in state D. The slot stays held.'),
    pid: z.int().nullable().describe('The leader, while the job is running or stopping.'),
    submittedAt: z.string(),
    startedAt: z.string().nullable(),
    finishedAt: z.string().nullable(),
    ...usage,
    outputBytes: z.int().describe('Output of the newest attempt, all files together.'),
    outputFiles: z.array(z.string()).describe('Paths of these files.'),
    splitOutput: z.boolean().describe('Two files, one for each stream, in place of one that has both in order.'),
    limits: z.object({
      maxRuntimeMs: z.int().nullable().describe('`null`: no limit.'),
      killGraceMs: z.int().nullable().describe('`null`: SIGKILL at once.'),
      successCodes: z.array(z.int()),
    }),
    onSupervisorLost: z.enum(['fail', 'retry']),
    idempotencyKey: z.string().nullable(),
    containment: z
      .string()
      .nullable()
      .describe('How its processes are held, such as `cgroup` or `scan`. `null` before the first attempt.'),
  })
  .meta({ id: 'Job', description: 'A job as the daemon knows it. Its environment is not told.' });
export type JobView = z.infer<typeof jobViewSchema>;

export const eventViewSchema = z
  .object({
    seq: z.int().describe('Its number. Numbers only grow.'),
    at: z.string(),
    jobId: jobIdSchema,
    attempt: z.int().describe('0 before the first attempt.'),
    from: z.enum(jobStatuses).nullable().describe('`null`: the job was submitted.'),
    to: z.enum(jobStatuses),
    cause: z.enum(causes).nullable().describe('Why it ended, or is being ended.'),
  })
  .meta({ id: 'Event', description: 'One transition of a job.' });
export type EventView = z.infer<typeof eventViewSchema>;

export const groupViewSchema = z
  .object({
    name: z.string(),
    parallel: z.int().describe('Slots: jobs that may run at once. 0 starts nothing.'),
    maxQueued: z.int().describe('Jobs that may wait. A submit beyond it gets `QUEUE_FULL`.'),
    queued: z.int().describe('Jobs that wait.'),
    active: z.int().describe('Slots in use: jobs that are starting, running or stopping.'),
  })
  .meta({ id: 'Group', description: 'A queue with its own slots.' });
export type GroupView = z.infer<typeof groupViewSchema>;

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
