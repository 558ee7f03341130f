import { z } from 'zod';
import { configStatusSchema, shownConfigSchema } from './config.ts';
import type { ErrorCode } from './errors.ts';
import { groupNameSchema, groupSettings, groupViewSchema, runPendingSchema } from './groups.ts';
import { healthSchema } from './health.ts';
import {
  bulkReportSchema,
  eventViewSchema,
  jobEditSchema,
  jobFilterFields,
  jobIdSchema,
  jobSpecSchema,
  jobStatuses,
  jobUsageSchema,
  jobViewSchema,
  progressReport,
  resetReportSchema,
  resultReport,
  settledJobSchema,
  stuckJobSchema,
} from './jobs.ts';
import { durationMs } from './policies.ts';
import { limitsViewSchema } from './resources.ts';
import { scopeIdSchema, scopeNameSchema, scopeReportSchema } from './scopes.ts';

/** Most jobs that one call may name: the report on each must fit a frame. */
export const maxJobIds = 5_000;
const jobIds = z.array(jobIdSchema).min(1).max(maxJobIds);
const none = z.strictObject({});

/** Most jobs that those of one batch may name in `after` together, each as often as it is named: each is looked up. */
export const maxDependenciesInBatch = 20_000;

/** Longest that the daemon holds one `wait` or `logs` call open; clients ask again. Each call so has a deadline of its own. */
export const maxHoldMs = 60_000;
const holdMs = z.number().int().min(0).max(maxHoldMs).optional();

/** A stuck job that is reset gets its own grace, but at most this: whoever asked for the reset waits for it. */
export const maxResetGraceMs = 45_000;

/** Largest piece of output in one answer, in bytes before base64. It must fit a frame. */
export const maxLogChunkBytes = 256 * 1024;

/** Most jobs in one page of `list`, and the default. */
export const maxPageSize = 200;

/** Most transitions in one answer of `events`, and the default. */
export const maxEventsPage = 1_000;

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

const submitted = z
  .object({
    id: jobIdSchema,
    created: z
      .boolean()
      .describe('False where the idempotency key was known, and this is the job that it made before.'),
    warnings: z
      .array(z.string())
      .optional()
      .describe('What the job will not have as it asked for, under `best-effort`. Absent: it has everything.'),
  })
  .meta({ id: 'Submitted' });

const reporter = {
  jobId: jobIdSchema.describe('In a job, it is in `CORRAL_JOB_ID`.'),
  attempt: z
    .number()
    .int()
    .positive()
    .optional()
    .describe(
      'In a job, it is in `CORRAL_ATTEMPT`. Where another one is the newest by now, the report is refused. Absent: the newest.',
    ),
};

/** Of a job, both must hold; what is absent does not count. */
const stuckCriteria = {
  olderThanMs: durationMs.optional().describe('Only jobs that have been running for at least this long, in ms.'),
  noProgressForMs: durationMs
    .optional()
    .describe('Only jobs that have reported nothing new for at least this long, in ms.'),
  group: z.string().optional().describe('Only jobs of this group.'),
};

const partialJobSpec = jobSpecSchema.partial().meta({ id: 'PartialJobSpec' });

/** What there is to say of a method. docs/protocol.md is made of it, and the client goes by `repeat`. */
interface Method {
  /** One to three sentences. */
  readonly about: string;
  /** Whether the request may be sent again where nobody knows if the first one arrived. */
  readonly repeat: 'safe' | 'once';
  /** Codes that it can answer with, beyond `generalErrors`. */
  readonly errors: readonly ErrorCode[];
  /** Codes that its report can name for single jobs. */
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
  'TOO_MANY_CALLS',
  'STORE_FAILED',
  'STORE_DAMAGED',
  'INTERNAL',
] as const satisfies readonly ErrorCode[];

/** Why jobs are not accepted, one or many. */
const admissionErrors = [
  'GROUP_NOT_FOUND',
  'PROFILE_NOT_FOUND',
  'JOB_NOT_FOUND',
  'SCOPE_CLOSED',
  'LIMIT_UNENFORCEABLE',
  'QUEUE_FULL',
  'DISK_LOW',
  'IDEMPOTENCY_MISMATCH',
  'SHUTTING_DOWN',
] as const satisfies readonly ErrorCode[];

/** Every method of the protocol: what goes in, what comes back. */
export const methods = {
  hello: {
    about: 'First request of each connection: agrees on a protocol version, the newest that both sides know.',
    repeat: 'safe',
    errors: ['PROTOCOL_MISMATCH'],
    params: z.strictObject({
      protocols: z.array(z.number().int()).min(1).max(32).describe('Every version that the client speaks.'),
      client: z.string().max(200).optional().describe('Name and version of the client.'),
    }),
    result: z.object({
      protocol: z.int().describe('The version that is spoken from here on.'),
      version: z.string().describe("The daemon's own version."),
      pid: z.int().describe("The daemon's pid."),
    }),
  },
  submit: {
    about:
      'Answers when the job is durable: it survives a crash of the daemon and a loss of power. Safe to repeat with an idempotency key only; without one a repetition may make a second job.',
    repeat: 'safe',
    errors: admissionErrors,
    params: z.strictObject({ job: jobSpecSchema }),
    result: submitted,
  },
  submitBatch: {
    about:
      'All of the jobs in one durable commit, or none. A job takes from `defaults` what it does not name itself. Safe to repeat where each job has an idempotency key. `IDEMPOTENCY_MISMATCH` may name a job of the same batch, which then was not made: two jobs of it have one key and other commands.',
    repeat: 'safe',
    errors: admissionErrors,
    params: z.strictObject({
      defaults: partialJobSpec.optional().describe('What the jobs have in common, such as the environment.'),
      jobs: z
        .array(partialJobSpec)
        .min(1)
        .max(10_000)
        .describe(
          `With the defaults filled in, each must be a whole JobSpec. A field replaces that of the defaults as a whole. Together they may name ${maxDependenciesInBatch} jobs in \`after\`.`,
        ),
    }),
    result: z.object({ jobs: z.array(submitted).describe('In the order of the request.') }),
  },
  settle: {
    about:
      'What a submit would make of a job: every default filled in, with the policies in force and where each comes from. It is refused as a submit would be. Nothing is submitted.',
    repeat: 'safe',
    errors: admissionErrors,
    params: z.strictObject({ job: jobSpecSchema }),
    result: z.object({
      job: settledJobSchema,
      existingId: jobIdSchema
        .nullable()
        .describe('The job that has the idempotency key already: a submit would answer with it, and make none.'),
    }),
  },
  get: {
    about: 'One job, whether it has ended or not.',
    repeat: 'safe',
    errors: ['JOB_NOT_FOUND'],
    params: z.strictObject({ jobId: jobIdSchema }),
    result: z.object({ job: jobViewSchema }),
  },
  list: {
    about:
      'One page of jobs, by id. A group that does not exist has none; that is no error. The daemon looks through so many records a call, so a page may be empty and not the last.',
    repeat: 'safe',
    errors: [],
    params: z.strictObject({
      ...jobFilterFields,
      order: z.enum(['oldest', 'newest']).optional().describe('Which come first. Absent: `oldest`.'),
      cursor: jobIdSchema.optional().describe('`nextCursor` of the page before. Absent: the first page.'),
      limit: z
        .number()
        .int()
        .min(1)
        .max(maxPageSize)
        .optional()
        .describe(`Most jobs in the page; it may have fewer, to fit a frame. Absent: ${maxPageSize}.`),
    }),
    result: z.object({
      jobs: z.array(jobViewSchema),
      nextCursor: jobIdSchema.nullable().describe('`null`: this is the last page.'),
    }),
  },
  select: {
    about:
      'Ids of the jobs that a filter means, in order: what bulk work takes. The daemon looks through so many records a call, so a page may be empty and not the last. With `jobIds`, those of them that exist and for which the rest holds.',
    repeat: 'safe',
    errors: [],
    params: z.strictObject({
      ...jobFilterFields,
      jobIds: jobIds.optional().describe('Only these. Absent: all.'),
      cursor: jobIdSchema.optional().describe('`nextCursor` of the page before. Absent: the first page.'),
    }),
    result: z.object({
      jobIds: z.array(jobIdSchema),
      nextCursor: jobIdSchema.nullable().describe('`null`: this is the last page.'),
    }),
  },
  wait: {
    about:
      'Answers when all (or any) of the jobs have ended, or after `holdMs` with `ended: false`. `jobs` has as many of the finished ones as fit a frame, in the order of `finished`; the others are to be had by `get`.',
    repeat: 'safe',
    errors: ['JOB_NOT_FOUND'],
    params: z.strictObject({
      jobIds,
      mode: z.enum(['all', 'any']).optional().describe('Absent: `all`.'),
      holdMs: holdMs.describe(`How long the answer may wait, in ms. 0 asks how things are. Absent: ${maxHoldMs}.`),
    }),
    result: z.object({
      ended: z.boolean().describe('Whether all (or any) have ended.'),
      finished: z.array(jobIdSchema).describe('Those of the jobs that have ended, in the order of `jobIds`.'),
      jobs: z.array(jobViewSchema).describe('Empty where `ended` is false.'),
    }),
  },
  logs: {
    about:
      'One piece of the output of a job. With `holdMs` the answer waits for new output or the end of the attempt. `ended` with an empty piece: there will be no more. Of a queued job the piece is empty and `ended` false. An attempt beyond those of a job that has ended is `INVALID_PARAMS`; one that is not kept any more is `ATTEMPT_GONE`: the first of `attempts` in the job says which are.',
    repeat: 'safe',
    errors: ['JOB_NOT_FOUND', 'ATTEMPT_GONE', 'OUTPUT_UNREADABLE'],
    params: z.strictObject({
      jobId: jobIdSchema,
      attempt: z.number().int().positive().optional().describe('Absent: the newest, or the first one to come.'),
      stream: z
        .enum(['stdout', 'stderr'])
        .optional()
        .describe('Of a job with split output; one without has both in one. Absent: `stdout`.'),
      offset: z
        .number()
        .int()
        .safe()
        .optional()
        .describe('First byte to read. Negative: counted from the end as it is now. Absent: 0.'),
      maxBytes: z
        .number()
        .int()
        .min(1)
        .max(maxLogChunkBytes)
        .optional()
        .describe(`Most bytes in the piece, before base64. Absent: ${maxLogChunkBytes}.`),
      holdMs: holdMs.describe('How long the answer may wait for output, in ms. Absent: 0.'),
    }),
    result: z.object({
      data: z.base64().describe('The bytes, as the job wrote them.'),
      offset: z
        .int()
        .describe('Where the piece begins: beyond what was asked for, where the oldest output has been dropped.'),
      nextOffset: z.int().describe('Where the next one begins.'),
      attempt: z.int().describe('Whose output it is: the attempt that was named, else the newest; 1 before the first.'),
      ended: z.boolean().describe('The attempt has ended: with an empty piece, there will be no more.'),
      attempts: z
        .int()
        .describe(
          'Number of the newest attempt by now; 0 before the first. A later one than `attempt` is read by its number.',
        ),
    }),
  },
  usage: {
    about:
      'What running jobs use right now: CPU, memory, processes. Jobs that do not run are left out. However many ask, processes are looked at four times a second at most.',
    repeat: 'safe',
    errors: ['JOB_NOT_FOUND'],
    params: z.strictObject({
      jobIds: jobIds.optional().describe('Absent: every job that runs.'),
      processes: z
        .boolean()
        .optional()
        .describe('Whether each process is listed, as far as a frame has room for them. Absent: false.'),
      cursor: jobIdSchema.optional().describe('`nextCursor` of the page before. Absent: the first page.'),
    }),
    result: z.object({
      jobs: z.array(jobUsageSchema).describe('By id.'),
      nextCursor: jobIdSchema.nullable().describe('`null`: this is the last page.'),
    }),
  },
  cancel: {
    about:
      'Ends jobs. Queued ones end without having run; to cancel one that has ended is no error and changes nothing. The answer does not wait for the end: `wait` does.',
    repeat: 'safe',
    errors: [],
    errorsPerJob: ['JOB_NOT_FOUND'],
    params: z.strictObject({
      jobIds,
      mode: z
        .enum(['graceful', 'kill'])
        .optional()
        .describe("`graceful`: SIGTERM, the job's grace, SIGKILL. `kill`: SIGKILL at once. Absent: `graceful`."),
    }),
    result: bulkReportSchema,
  },
  heartbeat: {
    about:
      'Says that somebody is still interested in these jobs: their leases begin anew. A client that holds `wait` or `logs` on a job need not say so.',
    repeat: 'safe',
    errors: [],
    errorsPerJob: ['JOB_NOT_FOUND', 'JOB_NOT_RUNNING'],
    params: z.strictObject({ jobIds }),
    result: bulkReportSchema,
  },
  signal: {
    about: 'Sends a signal to every process of running jobs.',
    repeat: 'once',
    errors: [],
    errorsPerJob: ['JOB_NOT_FOUND', 'JOB_NOT_RUNNING'],
    params: z.strictObject({ jobIds, signal: z.enum(signalNames) }),
    result: bulkReportSchema,
  },
  pause: {
    about:
      'Has jobs stand still: queued ones do not start, the processes of running ones are frozen. Their time limits stand still with them. To pause a paused job is no error and changes nothing.',
    repeat: 'safe',
    errors: [],
    errorsPerJob: ['JOB_NOT_FOUND', 'JOB_NOT_RUNNING'],
    params: z.strictObject({ jobIds }),
    result: bulkReportSchema,
  },
  resume: {
    about: 'Has paused jobs go on where they were. To resume a job that is not paused is no error and changes nothing.',
    repeat: 'safe',
    errors: [],
    errorsPerJob: ['JOB_NOT_FOUND', 'JOB_NOT_RUNNING'],
    params: z.strictObject({ jobIds }),
    result: bulkReportSchema,
  },
  edit: {
    about:
      'Changes a job that is queued. What is not named stays as it is, and so does what the job got from its profile. A job that has started is not changed any more.',
    repeat: 'once',
    errors: ['JOB_NOT_FOUND', 'JOB_NOT_QUEUED', 'PROFILE_NOT_FOUND', 'LIMIT_UNENFORCEABLE'],
    params: z.strictObject({ jobId: jobIdSchema, edit: jobEditSchema }),
    result: z.object({ job: jobViewSchema }),
  },
  move: {
    about: 'Moves queued jobs to another group, with their priority and their age.',
    repeat: 'safe',
    errors: ['GROUP_NOT_FOUND'],
    errorsPerJob: ['JOB_NOT_FOUND', 'JOB_NOT_QUEUED', 'QUEUE_FULL'],
    params: z.strictObject({ jobIds, group: z.string() }),
    result: bulkReportSchema,
  },
  retry: {
    about:
      'Puts jobs that have ended back into their queues, as the same jobs with one more attempt to come. Earlier attempts and events stay, as far as a job keeps them. One that was never started waits for its dependencies again.',
    repeat: 'once',
    errors: ['SHUTTING_DOWN', 'DISK_LOW'],
    errorsPerJob: ['SCOPE_CLOSED', 'JOB_NOT_FOUND', 'JOB_RUNNING', 'GROUP_NOT_FOUND', 'QUEUE_FULL'],
    params: z.strictObject({ jobIds }),
    result: bulkReportSchema,
  },
  progress: {
    about:
      'A job reports how far it is. Neither of both is no report. The newest is kept; of those that come in quick succession, not every one is an event.',
    repeat: 'safe',
    errors: ['JOB_NOT_FOUND', 'JOB_NOT_RUNNING'],
    params: z
      .strictObject({ ...reporter, ...progressReport })
      .refine(
        ({ percent = null, message = null }) => percent !== null || message !== null,
        'A percentage or a message must be there',
      ),
    result: none,
  },
  result: {
    about:
      'A job reports its result, which is durable when this is answered. It belongs to the attempt; the last one counts.',
    repeat: 'safe',
    errors: ['JOB_NOT_FOUND', 'JOB_NOT_RUNNING'],
    params: z.strictObject({ ...reporter, value: resultReport }),
    result: none,
  },
  remove: {
    about: 'Deletes the record, the events and the output of jobs that have ended.',
    repeat: 'once',
    errors: [],
    errorsPerJob: ['JOB_NOT_FOUND', 'JOB_RUNNING'],
    params: z.strictObject({ jobIds }),
    result: bulkReportSchema,
  },
  'stuck.list': {
    about: `Running jobs that may be stuck, the longest-running first, at most ${maxJobIds}. Paused ones are not among them.`,
    repeat: 'safe',
    errors: [],
    params: z.strictObject(stuckCriteria),
    result: z.object({ jobs: z.array(stuckJobSchema) }),
  },
  'stuck.reset': {
    about: `Ends running jobs that may be stuck, at most ${maxJobIds}, with cause \`reset\`: SIGTERM, the grace of each but at most ${maxResetGraceMs / 1_000} s, SIGKILL. Answers when every process of theirs is gone, or 15 s after the longest grace.`,
    repeat: 'once',
    errors: [],
    params: z
      .strictObject({
        ...stuckCriteria,
        holdMs: holdMs.describe(`How long the answer may wait for the end of the jobs, in ms. Absent: ${maxHoldMs}.`),
      })
      .refine(
        ({ olderThanMs, noProgressForMs }) => olderThanMs !== undefined || noProgressForMs !== undefined,
        'Say which jobs: olderThanMs, noProgressForMs or both',
      ),
    result: resetReportSchema,
  },
  'group.list': {
    about: 'Every group by name, with its settings and how full it is.',
    repeat: 'safe',
    errors: [],
    params: none,
    result: z.object({ groups: z.array(groupViewSchema) }),
  },
  'group.add': {
    about:
      'Makes a group. What is not named has its default: one slot, 10,000 jobs that may wait, no rate, `auto`. A group that is there already just so is no error.',
    repeat: 'safe',
    errors: ['GROUP_EXISTS', 'TOO_MANY_GROUPS'],
    params: z.strictObject({ name: groupNameSchema, ...groupSettings }),
    result: z.object({ group: groupViewSchema }),
  },
  'group.set': {
    about:
      'Changes settings of a group. What is not named stays as it is. More slots take effect at once, fewer as jobs end.',
    repeat: 'safe',
    errors: ['GROUP_NOT_FOUND'],
    params: z.strictObject({ name: z.string(), ...groupSettings }),
    result: z.object({ group: groupViewSchema }),
  },
  'group.remove': {
    about:
      'Removes a group that has no job that has not ended. The records of those that have keep its name. The group `default` stays: to remove it is `INVALID_PARAMS`.',
    repeat: 'once',
    errors: ['GROUP_NOT_FOUND', 'GROUP_NOT_EMPTY'],
    params: z.strictObject({ name: z.string() }),
    result: z.object({ name: z.string() }),
  },
  'group.runPending': {
    about:
      'Starts the next job of a `manual` group, by priority, then age, if a slot is free. Where none can be started, the answer has `started` 0, and `message` says why; that is no error. Of an `auto` group it is `INVALID_PARAMS`.',
    repeat: 'once',
    errors: ['GROUP_NOT_FOUND'],
    params: z.strictObject({ name: z.string() }),
    result: runPendingSchema,
  },
  'group.pause': {
    about:
      'Has a group start nothing more, until `group.resume`. Its running jobs are paused too, unless they may go on. The start deadlines of jobs that wait in it stand still.',
    repeat: 'safe',
    errors: ['GROUP_NOT_FOUND'],
    params: z.strictObject({
      name: z.string(),
      running: z
        .enum(['pause', 'letRun'])
        .optional()
        .describe('`pause`: its running jobs stand still. `letRun`: they go on to their end. Absent: `pause`.'),
    }),
    result: z.object({ group: groupViewSchema, report: bulkReportSchema.describe('On its running jobs.') }),
  },
  'group.resume': {
    about:
      'Has a group start jobs again. The jobs that were paused with it go on; those that were paused by themselves stay so.',
    repeat: 'safe',
    errors: ['GROUP_NOT_FOUND'],
    params: z.strictObject({ name: z.string() }),
    result: z.object({ group: groupViewSchema, report: bulkReportSchema.describe('On the jobs that go on.') }),
  },
  'config.show': {
    about: 'Every key of the configuration in force, with where it comes from, and the names of the profiles.',
    repeat: 'safe',
    errors: [],
    params: none,
    result: shownConfigSchema.extend({
      loadedAt: z.string().describe('When it was read.'),
      error: z.string().nullable().describe('Why the file as it is now is not in force.'),
    }),
  },
  'scope.open': {
    about:
      'Opens a scope: a bag of jobs that end when it is closed, or when this connection ends, whichever comes first. A client whose connection was lost because the daemon restarted says it again with the same id, within 10 s, and goes on.',
    repeat: 'safe',
    errors: ['SCOPE_CLOSED', 'TOO_MANY_SCOPES', 'SHUTTING_DOWN'],
    params: z.strictObject({
      scope: scopeIdSchema
        .optional()
        .describe(
          'An id that nobody can guess, such as a UUID: 16 to 100 letters, digits, `_` and `-`. One that is open: this connection holds it, too. Absent: the daemon draws one.',
        ),
      name: scopeNameSchema.optional().describe('A label for people.'),
    }),
    result: z.object({ scope: z.string().describe('For `scope` of a JobSpec.') }),
  },
  'scope.close': {
    about:
      'Ends all jobs of a scope at once, with cause `scope`: queued ones without having run, the others with their own grace. It takes no more jobs. Answers when all have ended, or after `holdMs`.',
    repeat: 'safe',
    errors: ['SCOPE_NOT_FOUND'],
    errorsPerJob: ['JOB_RUNNING', 'JOB_UNKILLABLE'],
    params: z.strictObject({
      scope: scopeIdSchema,
      holdMs: holdMs.describe(`How long the answer may wait, in ms. Absent: ${maxHoldMs}.`),
    }),
    result: scopeReportSchema,
  },
  'scope.report': {
    about: 'What became of the jobs of a scope. Kept for 24 h after it was closed, of the newest 1,000 that were.',
    repeat: 'safe',
    errors: ['SCOPE_NOT_FOUND'],
    errorsPerJob: ['JOB_RUNNING', 'JOB_UNKILLABLE'],
    params: z.strictObject({ scope: scopeIdSchema }),
    result: scopeReportSchema,
  },
  'daemon.status': {
    about: 'What the daemon is, where its things are, and how many jobs it has in each status.',
    repeat: 'safe',
    errors: [],
    params: none,
    result: z.object({
      version: z.string(),
      pid: z.int(),
      guardianPid: z
        .int()
        .nullable()
        .describe('The process that ends every job when the daemon dies. `null` while it is being replaced.'),
      socket: z.string(),
      stateDir: z.string(),
      startedAt: z.string(),
      launcher: z.string().describe('How processes are started: `posix_spawn` or `execa`.'),
      containment: z.object({
        tier: z.string().describe('How processes are held: `cgroup` or `scan`.'),
        guarantee: z.string().describe('What that promises, in a sentence.'),
        holes: z.array(z.string()).describe('What it cannot promise.'),
        reason: z.string().describe('Why it is this tier.'),
        limits: limitsViewSchema,
      }),
      jobs: z.record(z.enum(jobStatuses), z.int()).describe('How many there are in each status.'),
      config: configStatusSchema,
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
    result: z.object({ config: configStatusSchema }),
  },
  events: {
    about:
      'A page of the record of what happened to jobs, oldest first: that after number `after`. With `holdMs` the answer waits for one. Numbers only grow, across restarts too; those of removed jobs, and of attempts that are not kept any more, are gone. `lastSeq` is the newest there is, of whatever job, for starting at the end. A page may have fewer than `limit`, to fit a frame: an empty one says that there are no more for now. A job that does not exist has none, which is no error.',
    repeat: 'safe',
    errors: [],
    params: z.strictObject({
      after: z.number().int().min(0).safe().describe('The last number that the client has seen; 0 for all.'),
      jobId: jobIdSchema.optional().describe('Only those of one job.'),
      limit: z
        .number()
        .int()
        .min(1)
        .max(maxEventsPage)
        .optional()
        .describe(`Most in the page. Absent: ${maxEventsPage}.`),
      holdMs: holdMs.optional().describe('How long the answer may wait for one, in ms. Absent: 0.'),
    }),
    result: z.object({ events: z.array(eventViewSchema), lastSeq: z.int().describe('Not only of `jobId`.') }),
  },
  'daemon.stop': {
    about:
      'Ends all jobs gracefully, writes everything down and exits. Answers at once; the end of the connection is the end of the daemon.',
    repeat: 'once',
    errors: [],
    params: none,
    result: z.object({ pid: z.int() }),
  },
} as const satisfies Record<string, Method>;

export type MethodName = keyof typeof methods;
export type MethodParams<M extends MethodName> = z.input<(typeof methods)[M]['params']>;
export type ParsedParams<M extends MethodName> = z.output<(typeof methods)[M]['params']>;
export type MethodResult<M extends MethodName> = z.output<(typeof methods)[M]['result']>;

/** Whether clients are told that a method can answer with this code. */
export function isListed(code: ErrorCode, method: MethodName): boolean {
  const { errors }: Method = methods[method];
  return errors.includes(code) || generalErrors.some((general) => general === code);
}

export function isMethodName(name: string): name is MethodName {
  return Object.hasOwn(methods, name);
}
