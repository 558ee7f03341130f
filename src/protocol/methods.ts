import { z } from 'zod';
import type { ErrorCode } from './errors.ts';
import { healthSchema } from './health.ts';
import {
  bulkReportSchema,
  eventViewSchema,
  groupViewSchema,
  jobIdSchema,
  jobSpecSchema,
  jobStatuses,
  jobViewSchema,
} from './jobs.ts';

/** Most jobs that one call may name: the report on each must fit a frame. */
export const maxJobIds = 5_000;
const jobIds = z.array(jobIdSchema).min(1).max(maxJobIds);
const none = z.strictObject({});

/** Longest that the daemon holds one `wait` or `logs` call open; clients ask again. Each call so has a deadline of its own. */
export const maxHoldMs = 60_000;
const holdMs = z.number().int().min(0).max(maxHoldMs);

/** Largest piece of output in one answer, in bytes before base64. It must fit a frame. */
export const maxLogChunkBytes = 256 * 1024;

/** Most jobs in one page of `list`, and the default. */
export const maxPageSize = 200;

/** Most transitions in one answer of `events`, and the default. */
export const maxEventsPage = 1_000;

const configStatus = z.object({
  path: z.string().nullable(),
  loadedAt: z.string(),
  error: z.string().nullable(),
});

/** Signals that a client may send to a job. signal(7) */
export const signalNames = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGABRT',
  'SIGKILL',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGTERM',
  'SIGCONT',
  'SIGSTOP',
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
  'SIGWINCH',
] as const;
export type SignalName = (typeof signalNames)[number];

const submitted = z.object({
  id: jobIdSchema,
  /** False where the idempotency key was known and this is the job that it made before. */
  created: z.boolean(),
});

/** What there is to say of a method. docs/protocol.md is made of it, and the client goes by `repeat`. */
interface Method {
  /** One to three sentences. */
  readonly about: string;
  /** Whether the request may be sent again where nobody knows if the first one arrived. */
  readonly repeat: 'safe' | 'once';
  /** Codes that it can answer with, beyond `generalErrors`. */
  readonly errors: readonly ErrorCode[];
  /** Codes that its bulk report can name for single jobs. */
  readonly errorsPerJob?: readonly ErrorCode[];
  readonly params: z.ZodObject;
  readonly result: z.ZodObject;
}

/** Codes that every request can be answered with. */
export const generalErrors = [
  'INVALID_REQUEST',
  'METHOD_NOT_FOUND',
  'HELLO_REQUIRED',
  'INVALID_PARAMS',
  'FRAME_TOO_LARGE',
  'INTERNAL',
] as const satisfies readonly ErrorCode[];

/** Every method of the protocol: what goes in, what comes back. */
export const methods = {
  hello: {
    about: 'First request of each connection: agrees on a protocol version, the newest that both sides know.',
    repeat: 'safe',
    errors: ['PROTOCOL_MISMATCH'],
    params: z.strictObject({
      protocols: z.array(z.number().int()).min(1).max(32),
      client: z.string().max(200).optional(),
    }),
    result: z.object({ protocol: z.number(), version: z.string(), pid: z.number() }),
  },
  submit: {
    about:
      'Answers when the job is durable: it survives a crash of the daemon and a loss of power. Safe to repeat with an idempotency key only; without one a repetition may make a second job.',
    repeat: 'safe',
    errors: ['GROUP_NOT_FOUND', 'QUEUE_FULL', 'IDEMPOTENCY_MISMATCH', 'SHUTTING_DOWN', 'STORE_FAILED'],
    params: z.strictObject({ job: jobSpecSchema }),
    result: submitted,
  },
  submitBatch: {
    about:
      'All of the jobs in one durable commit, or none. A job takes from `defaults` what it does not name itself. Safe to repeat where each job has an idempotency key.',
    repeat: 'safe',
    errors: ['GROUP_NOT_FOUND', 'QUEUE_FULL', 'IDEMPOTENCY_MISMATCH', 'SHUTTING_DOWN', 'STORE_FAILED'],
    params: z.strictObject({
      defaults: jobSpecSchema.partial().optional(),
      jobs: z.array(jobSpecSchema.partial()).min(1).max(10_000),
    }),
    result: z.object({ jobs: z.array(submitted) }),
  },
  get: {
    about: 'One job, whether it has ended or not.',
    repeat: 'safe',
    errors: ['JOB_NOT_FOUND'],
    params: z.strictObject({ jobId: jobIdSchema }),
    result: z.object({ job: jobViewSchema }),
  },
  list: {
    about: 'One page of jobs, by id.',
    repeat: 'safe',
    errors: [],
    params: z.strictObject({
      statuses: z.array(z.enum(jobStatuses)).min(1).optional(),
      group: z.string().optional(),
      order: z.enum(['oldest', 'newest']).optional(),
      cursor: jobIdSchema.optional(),
      limit: z.number().int().min(1).max(maxPageSize).optional(),
    }),
    result: z.object({ jobs: z.array(jobViewSchema), nextCursor: jobIdSchema.nullable() }),
  },
  wait: {
    about:
      'Answers when all (or any) of the jobs have ended, or after `holdMs` with `ended: false`. `jobs` has as many of the finished ones as fit a frame, in the order of `finished`; the others are to be had by `get`.',
    repeat: 'safe',
    errors: ['JOB_NOT_FOUND'],
    params: z.strictObject({ jobIds, mode: z.enum(['all', 'any']).optional(), holdMs: holdMs.optional() }),
    result: z.object({ ended: z.boolean(), finished: z.array(jobIdSchema), jobs: z.array(jobViewSchema) }),
  },
  logs: {
    about:
      'One piece of the output of a job. With `holdMs` the answer waits for new output or the end of the attempt. `ended` with an empty piece: there will be no more.',
    repeat: 'safe',
    errors: ['JOB_NOT_FOUND', 'OUTPUT_UNREADABLE'],
    params: z.strictObject({
      jobId: jobIdSchema,
      attempt: z.number().int().positive().optional(),
      stream: z.enum(['stdout', 'stderr']).optional(),
      offset: z.number().int().safe().optional(),
      maxBytes: z.number().int().min(1).max(maxLogChunkBytes).optional(),
      holdMs: holdMs.optional(),
    }),
    result: z.object({
      data: z.base64(),
      offset: z.number(),
      nextOffset: z.number(),
      attempt: z.number(),
      ended: z.boolean(),
    }),
  },
  cancel: {
    about:
      'Ends jobs. Queued ones end without having run; to cancel one that has ended is no error and changes nothing. The answer does not wait for the end: `wait` does.',
    repeat: 'safe',
    errors: ['STORE_FAILED'],
    errorsPerJob: ['JOB_NOT_FOUND'],
    params: z.strictObject({ jobIds, mode: z.enum(['graceful', 'kill']).optional() }),
    result: bulkReportSchema,
  },
  signal: {
    about: 'Sends a signal to every process of running jobs.',
    repeat: 'once',
    errors: ['STORE_FAILED'],
    errorsPerJob: ['JOB_NOT_FOUND', 'JOB_NOT_RUNNING'],
    params: z.strictObject({ jobIds, signal: z.enum(signalNames) }),
    result: bulkReportSchema,
  },
  remove: {
    about: 'Deletes the record, the events and the output of jobs that have ended.',
    repeat: 'once',
    errors: ['STORE_FAILED'],
    errorsPerJob: ['JOB_NOT_FOUND', 'JOB_RUNNING'],
    params: z.strictObject({ jobIds }),
    result: bulkReportSchema,
  },
  'group.list': {
    about: 'Every group, with its settings and how full it is.',
    repeat: 'safe',
    errors: [],
    params: none,
    result: z.object({ groups: z.array(groupViewSchema) }),
  },
  'group.set': {
    about:
      'Changes settings of a group. What is not named stays as it is. More slots take effect at once, fewer as jobs end.',
    repeat: 'safe',
    errors: ['GROUP_NOT_FOUND', 'STORE_FAILED'],
    params: z.strictObject({
      name: z.string(),
      parallel: z.number().int().min(0).max(100_000).optional(),
      maxQueued: z.number().int().min(0).max(1_000_000).optional(),
    }),
    result: z.object({ group: groupViewSchema }),
  },
  'daemon.status': {
    about: 'What the daemon is, where its things are, and how many jobs it has in each status.',
    repeat: 'safe',
    errors: [],
    params: none,
    result: z.object({
      version: z.string(),
      pid: z.number(),
      guardianPid: z.number().nullable(),
      socket: z.string(),
      stateDir: z.string(),
      startedAt: z.string(),
      launcher: z.string(),
      containment: z.object({
        tier: z.string(),
        guarantee: z.string(),
        holes: z.array(z.string()),
        reason: z.string(),
      }),
      jobs: z.record(z.enum(jobStatuses), z.number()),
      config: configStatus,
    }),
  },
  'daemon.health': {
    about: 'How the daemon is, with a reason for everything that is not well.',
    repeat: 'safe',
    errors: [],
    params: none,
    result: healthSchema,
  },
  'daemon.reload': {
    about: 'Reads the configuration again. One that cannot be used changes nothing; `config.error` then says why.',
    repeat: 'safe',
    errors: [],
    params: none,
    result: z.object({ config: configStatus }),
  },
  events: {
    about:
      'A page of the record of transitions, oldest first: those after number `after`. With `holdMs` the answer waits for one. Numbers only grow, across restarts too; those of removed jobs are gone. `lastSeq` is the newest there is, for starting at the end.',
    repeat: 'safe',
    errors: [],
    params: z.strictObject({
      after: z.number().int().min(0).safe(),
      jobId: jobIdSchema.optional(),
      limit: z.number().int().min(1).max(maxEventsPage).optional(),
      holdMs: holdMs.optional(),
    }),
    result: z.object({ events: z.array(eventViewSchema), lastSeq: z.number() }),
  },
  'daemon.stop': {
    about:
      'Ends all jobs gracefully, writes everything down and exits. Answers at once; the end of the connection is the end of the daemon.',
    repeat: 'once',
    errors: [],
    params: none,
    result: z.object({ pid: z.number() }),
  },
} as const satisfies Record<string, Method>;

export type MethodName = keyof typeof methods;
export type MethodParams<M extends MethodName> = z.input<(typeof methods)[M]['params']>;
export type ParsedParams<M extends MethodName> = z.output<(typeof methods)[M]['params']>;
export type MethodResult<M extends MethodName> = z.output<(typeof methods)[M]['result']>;

export function isMethodName(name: string): name is MethodName {
  return Object.hasOwn(methods, name);
}

/** Says what is wrong with a parameter, in words: `params.job.cwd: cwd must be an absolute path`. */
export function describeIssues(error: z.ZodError, root: readonly string[] = ['params']): string {
  return error.issues
    .slice(0, 3)
    .map((issue) => `${[...root, ...issue.path.map(String)].join('.')}: ${issue.message}`)
    .join('; ');
}
