/** Requests become jobs as the daemon is told of them: with what their caller lends them, and in messages that fit a frame. */
import { randomUUID } from 'node:crypto';
import { CorralError, type JobSpec, type MethodResult, noScope } from '../protocol/index.ts';
import { type Caller, callerFolder } from './caller.ts';
import type { Connection } from './connection.ts';
import { checkJobFits, wireBytes } from './message-size.ts';

/**
 * What to run. `scope` is that of the environment (`CORRAL_SCOPE`) unless it is named; `none`: none. `command` is a program with its arguments; `shell` a line for /bin/sh. One of them must be there. Bytes that are not
 * UTF-8 stand in the command, the environment and paths as lone surrogates: 0xff is `\udcff` (PEP 383).
 */
export type JobRequest = Partial<Omit<JobSpec, 'command'>> &
  ({ command: string[]; shell?: never } | { shell: string; command?: never });

export interface Submitted {
  readonly id: number;
  /** False where the idempotency key was known, and this is the job that it made before. */
  readonly created: boolean;
  /** What the job will not have as it asked for, under `best-effort`. Absent: it has everything. */
  readonly warnings?: readonly string[] | undefined;
}

/** Bytes of one submitBatch frame, what its jobs share included; the limit of a frame is 1 MiB. */
const maxBatchBytes = 900 * 1024;
const maxBatchJobs = 10_000;

export async function submitJob(connection: Connection, caller: Caller, request: JobRequest): Promise<Submitted> {
  const job = { idempotencyKey: randomUUID(), ...jobOf(request, caller) };
  checkJobFits(job, 'The job');
  return connection.call('submit', { job });
}

export async function settleJob(
  connection: Connection,
  caller: Caller,
  request: JobRequest,
): Promise<MethodResult<'settle'>> {
  const job = jobOf(request, caller);
  checkJobFits(job, 'The job');
  return connection.call('settle', { job });
}

export async function submitJobs(
  connection: Connection,
  caller: Caller,
  requests: readonly JobRequest[],
  defaults: Partial<JobSpec>,
): Promise<Submitted[]> {
  const { scope: usual = caller.scope(), ...settings } = defaults;
  // A job that belongs to none cannot say so where the others share one.
  const isShared = requests.every(({ scope }) => scope !== noScope);
  const shared = { ...fromCaller(defaults, caller), ...settings, ...(isShared ? inScope(usual) : {}) };
  checkJobFits(shared, 'What the jobs of the batch have in common');
  const submitted: Submitted[] = [];
  const sharedBytes = wireBytes(shared);
  const specs = requests.map(({ scope, ...request }) => ({
    idempotencyKey: randomUUID(),
    ...toSpec(request as JobRequest),
    ...inScope(scope ?? (isShared ? undefined : usual)),
  }));
  for (const [index, spec] of specs.entries()) checkJobFits(spec, `Job ${index + 1} of the batch`, sharedBytes);
  for (const jobs of inFrames(specs, sharedBytes)) {
    try {
      const result = await connection.call('submitBatch', { defaults: shared, jobs });
      submitted.push(...result.jobs);
    } catch (error) {
      if (!(error instanceof CorralError) || submitted.length === 0) throw error;
      const range = `${submitted[0]?.id} to ${submitted.at(-1)?.id}`;
      throw new CorralError(
        error.code,
        `${error.message} The first ${submitted.length} jobs of the batch were accepted as jobs ${range}; the others were not.`,
      );
    }
  }
  return submitted;
}

function jobOf(request: JobRequest, caller: Caller): JobSpec {
  const { scope = caller.scope(), ...rest } = request;
  return { ...fromCaller(request, caller), ...toSpec(rest as JobRequest), ...inScope(scope) };
}

/** What the caller lends a job that does not name it itself. A folder that has gone is no harm to one that does. */
function fromCaller({ env, cwd }: Partial<JobSpec>, caller: Caller): Pick<JobSpec, 'env' | 'cwd'> {
  return { env: env ?? caller.env(), cwd: cwd ?? callerFolder() };
}

function toSpec(request: JobRequest): Partial<JobSpec> & { command: string[] } {
  const { shell, command, ...rest } = request;
  return { ...rest, command: command ?? ['/bin/sh', '-c', shell] };
}

function inScope(scope: string | undefined): { scope?: string } {
  return scope === undefined || scope === '' || scope === noScope ? {} : { scope };
}

/** Cuts a list of jobs into pieces that each fit a frame. */
function* inFrames<T>(jobs: readonly T[], sharedBytes: number): Generator<T[]> {
  let piece: T[] = [];
  let bytes = sharedBytes;
  for (const job of jobs) {
    const size = wireBytes(job);
    if (piece.length > 0 && (bytes + size > maxBatchBytes || piece.length === maxBatchJobs)) {
      yield piece;
      piece = [];
      bytes = sharedBytes;
    }
    piece.push(job);
    bytes += size;
  }
  if (piece.length > 0) yield piece;
}
