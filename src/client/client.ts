import {
  type BulkReport,
  type EventView,
  type GroupView,
  type Health,
  type JobEdit,
  type JobSpec,
  type JobUsageView,
  type JobView,
  type MethodParams,
  type MethodResult,
  maxHoldMs,
  maxJobIds,
  type ResetReport,
  type RunPending,
  type ScopeReport,
  type SignalName,
  type StuckJob,
} from '../protocol/index.ts';
import type { Caller } from './caller.ts';
import type { Connection } from './connection.ts';
import { type EventsOptions, readEvents } from './events.ts';
import { type LogsOptions, readLogs } from './logs.ts';
import { inPieces } from './pieces.ts';
import { Scope, type ScopeOptions } from './scope.ts';
import { type JobRequest, type Submitted, settleJob, submitJob, submitJobs } from './submitting.ts';
import { type WaitOptions, waitForJobs } from './waiting.ts';

export type ListOptions = MethodParams<'list'>;
export type StuckCriteria = MethodParams<'stuck.list'>;

export type GroupSettings = Omit<MethodParams<'group.set'>, 'name'>;
/** What jobs are meant; `jobIds`: only some of these, however many. */
export type SelectOptions = Omit<MethodParams<'select'>, 'cursor'>;

/** Graces of jobs are cut to 5 s when the daemon stops, so one that takes longer than this has a process that cannot be killed. */
const stopTimeoutMs = 60_000;

/** A connection to the daemon. Close it with `close()` or `await using`. Every method throws `CorralError`. */
export class Client implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #caller: Caller;
  readonly #socket: string;

  /** Use `connect`. */
  constructor(connection: Connection, caller: Caller, socket: string) {
    this.#connection = connection;
    this.#caller = caller;
    this.#socket = socket;
  }

  /**
   * Resolves when the job is durable: it survives a crash of the daemon and a loss of power. Folder and environment are the
   * caller's where the request names none. Safe to repeat after a lost connection, by an idempotency key that is drawn if the
   * request has none.
   */
  submit(request: JobRequest): Promise<Submitted> {
    return submitJob(this.#connection, this.#caller, request);
  }

  /**
   * Submits many jobs, in order, each frame's worth in one durable commit. All of a frame are accepted, or none.
   *
   * @param defaults what the jobs have in common; the caller's environment is sent once, with them
   */
  submitBatch(requests: readonly JobRequest[], defaults: Partial<JobSpec> = {}): Promise<Submitted[]> {
    return submitJobs(this.#connection, this.#caller, requests, defaults);
  }

  /**
   * What `submit` would make of the request: the job with every default filled in, the policies in force, and where each comes from.
   * It is refused as a submit would be. Nothing is submitted.
   *
   * @returns `existingId`: the job that the idempotency key belongs to already; `null` if a submit would make a new one
   */
  settle(request: JobRequest): Promise<MethodResult<'settle'>> {
    return settleJob(this.#connection, this.#caller, request);
  }

  async get(jobId: number): Promise<JobView> {
    return (await this.#connection.call('get', { jobId })).job;
  }

  /** One page of jobs. Ask for the next with its `nextCursor`. */
  list(options: ListOptions = {}): Promise<MethodResult<'list'>> {
    return this.#connection.call('list', options);
  }

  /**
   * Ids of the jobs for which all of the filter holds, oldest first. The bulk methods take them, at most 5,000 a call.
   * Durations are in ms. An empty filter means all jobs.
   */
  async select(filter: SelectOptions = {}): Promise<number[]> {
    const { jobIds, ...rest } = filter;
    const selected: number[] = [];
    for (const among of jobIds === undefined ? [{}] : inPieces(jobIds, maxJobIds).map((piece) => ({ jobIds: piece }))) {
      for (let cursor: number | null | undefined; cursor !== null; ) {
        const from = cursor === undefined ? {} : { cursor };
        const page: MethodResult<'select'> = await this.#connection.call('select', { ...rest, ...among, ...from });
        selected.push(...page.jobIds);
        cursor = page.nextCursor;
      }
    }
    return selected;
  }

  /**
   * Resolves on the event, not by polling, and goes on after a restart of the daemon.
   *
   * @returns the jobs that have ended: all of them, or with `any` those that had
   * @throws CorralError `WAIT_TIMEOUT`, `JOB_NOT_FOUND`, `DAEMON_UNREACHABLE`
   */
  wait(jobIds: number | readonly number[], options: WaitOptions = {}): Promise<JobView[]> {
    return waitForJobs(this.#connection, jobIds, options);
  }

  /** The output of a job as it was written, piece by piece; with `follow` until the job has ended, one attempt after the other. */
  logs(jobId: number, options: LogsOptions = {}): AsyncIterable<Buffer> {
    return readLogs(this.#connection, jobId, options);
  }

  /**
   * What running jobs use right now, all of them or those that are named. CPU use is reckoned since the look before, whoever asked
   * for it, and `null` the first time: ask again after a second or so. Jobs that do not run are left out.
   *
   * @throws CorralError `JOB_NOT_FOUND`
   */
  async usage(options: Omit<MethodParams<'usage'>, 'cursor'> = {}): Promise<JobUsageView[]> {
    const jobs: JobUsageView[] = [];
    for (let cursor: number | null | undefined; cursor !== null; ) {
      const page = await this.#connection.call('usage', { ...options, ...(cursor === undefined ? {} : { cursor }) });
      jobs.push(...page.jobs);
      cursor = page.nextCursor;
    }
    return jobs;
  }

  /** `graceful` (default): SIGTERM, the job's grace, SIGKILL. `kill`: SIGKILL at once. Cancelling an ended job does nothing. */
  cancel(jobIds: number | readonly number[], options: { mode?: 'graceful' | 'kill' } = {}): Promise<BulkReport> {
    return this.#connection.call('cancel', { jobIds: [jobIds].flat(), mode: options.mode ?? 'graceful' });
  }

  /**
   * Has jobs stand still: queued ones do not start, the processes of running ones are frozen, and their time limits with them.
   * Survives a restart of the daemon. To pause a paused job does nothing.
   */
  pause(jobIds: number | readonly number[]): Promise<BulkReport> {
    return this.#connection.call('pause', { jobIds: [jobIds].flat() });
  }

  /** Has paused jobs go on where they were. To resume a job that is not paused does nothing. */
  resume(jobIds: number | readonly number[]): Promise<BulkReport> {
    return this.#connection.call('resume', { jobIds: [jobIds].flat() });
  }

  /** Begins the leases of jobs anew: somebody is still interested. Needless while `wait` or `logs` with `follow` is under way. */
  heartbeat(jobIds: number | readonly number[]): Promise<BulkReport> {
    return this.#connection.call('heartbeat', { jobIds: [jobIds].flat() });
  }

  /**
   * Opens a scope: its jobs end when it is closed, or when this process goes away, however it does.
   *
   * ```ts
   * await using scope = client.scope({ name: 'load test' });
   * await scope.submit({ command: ['./server'] });
   * ```
   */
  scope(options: ScopeOptions = {}): Scope {
    return new Scope(this, this.#connection, this.#socket, options);
  }

  /** What became of a scope, whoever opened it. @throws CorralError `SCOPE_NOT_FOUND`, a day after its close at the latest */
  scopeReport(scope: string): Promise<ScopeReport> {
    return this.#connection.call('scope.report', { scope });
  }

  /** Sends a signal to every process of running jobs. Not repeated after a lost connection: it might arrive twice. */
  signal(jobIds: number | readonly number[], signal: SignalName): Promise<BulkReport> {
    return this.#connection.call('signal', { jobIds: [jobIds].flat(), signal });
  }

  /**
   * Changes a job that is queued; what is not named stays. Resolves with the job as it is then. Not repeated after a lost connection.
   *
   * @throws CorralError `JOB_NOT_QUEUED` once it has started, `JOB_NOT_FOUND`, `INVALID_PARAMS`
   */
  async edit(jobId: number, edit: JobEdit): Promise<JobView> {
    return (await this.#connection.call('edit', { jobId, edit })).job;
  }

  /** Moves queued jobs to another group; they keep their priority and their age. Throws `GROUP_NOT_FOUND`. */
  move(jobIds: number | readonly number[], group: string): Promise<BulkReport> {
    return this.#connection.call('move', { jobIds: [jobIds].flat(), group });
  }

  /**
   * Puts jobs that have ended back into their queues: the same jobs, with one more attempt to come. Not repeated after a lost
   * connection.
   *
   * @throws CorralError `SHUTTING_DOWN`, `DISK_LOW`; what is the matter with single jobs, such as `JOB_RUNNING`, is in the report
   */
  retry(jobIds: number | readonly number[]): Promise<BulkReport> {
    return this.#connection.call('retry', { jobIds: [jobIds].flat() });
  }

  /**
   * Reports how far a job is; at least one of both must be there. Inside a job, its id is in `CORRAL_JOB_ID`.
   *
   * @param progress `percent` from 0 to 100, fractions too; `message` of at most 500 characters; `attempt` guards against a report
   *   that comes after the attempt it is about
   * @throws CorralError `JOB_NOT_RUNNING`, `JOB_NOT_FOUND`, `INVALID_PARAMS`
   */
  async progress(jobId: number, progress: { percent?: number; message?: string; attempt?: number }): Promise<void> {
    await this.#connection.call('progress', { jobId, ...progress });
  }

  /**
   * Reports the result of a job: any JSON of at most 64 KiB. Resolves when it is durable; the last one counts, and `null` takes it
   * back.
   *
   * @throws CorralError `JOB_NOT_RUNNING`, `JOB_NOT_FOUND`, `INVALID_PARAMS`
   */
  async result(jobId: number, value: unknown, options: { attempt?: number } = {}): Promise<void> {
    await this.#connection.call('result', { jobId, value, ...options });
  }

  /** Running jobs that may be stuck, the longest-running first. Times are in ms; of a job, all that are given must hold. */
  async stuck(criteria: StuckCriteria = {}): Promise<StuckJob[]> {
    return (await this.#connection.call('stuck.list', criteria)).jobs;
  }

  /**
   * Ends the jobs that `stuck` names, with cause `reset`, and resolves when every process of theirs is gone, or after the
   * longest of their graces (45 s at most) and 15 s more: `success` is false then. At least one of the times must be given.
   */
  resetStuck(criteria: StuckCriteria): Promise<ResetReport> {
    return this.#connection.call('stuck.reset', { ...criteria, holdMs: maxHoldMs }, { holdMs: maxHoldMs });
  }

  /** Deletes the record and the output of jobs that have ended. */
  remove(jobIds: number | readonly number[]): Promise<BulkReport> {
    return this.#connection.call('remove', { jobIds: [jobIds].flat() });
  }

  async groups(): Promise<GroupView[]> {
    return (await this.#connection.call('group.list', {})).groups;
  }

  /**
   * Makes a group; without settings it has one slot. One that is there already, just so, is no error.
   *
   * @throws CorralError `GROUP_EXISTS` where its settings are others, `TOO_MANY_GROUPS`
   */
  async addGroup(name: string, settings: GroupSettings = {}): Promise<GroupView> {
    return (await this.#connection.call('group.add', { name, ...settings })).group;
  }

  /** Changes settings of a group; they are kept across restarts. `rate` is in starts per second. */
  async setGroup(name: string, settings: GroupSettings): Promise<GroupView> {
    return (await this.#connection.call('group.set', { name, ...settings })).group;
  }

  /** @throws CorralError `GROUP_NOT_EMPTY` while some job of it has not ended, `GROUP_NOT_FOUND` */
  async removeGroup(name: string): Promise<void> {
    await this.#connection.call('group.remove', { name });
  }

  /** Starts the next job of a `manual` group. Where none can be started now, `started` is 0 and `message` says why. */
  runPending(name: string): Promise<RunPending> {
    return this.#connection.call('group.runPending', { name });
  }

  /**
   * Has a group start nothing more. Its running jobs stand still until `resumeGroup`; with `letRun` they go on to their end.
   *
   * @returns the group, and a report on its running jobs
   */
  pauseGroup(name: string, options: { running?: 'pause' | 'letRun' } = {}): Promise<MethodResult<'group.pause'>> {
    return this.#connection.call('group.pause', { name, ...options });
  }

  /** Has a group start jobs again, and the jobs that were paused with it go on. */
  resumeGroup(name: string): Promise<MethodResult<'group.resume'>> {
    return this.#connection.call('group.resume', { name });
  }

  status(): Promise<MethodResult<'daemon.status'>> {
    return this.#connection.call('daemon.status', {});
  }

  /** Every key of the configuration in force, with where it comes from, and the names of the profiles. */
  config(): Promise<MethodResult<'config.show'>> {
    return this.#connection.call('config.show', {});
  }

  /** How the daemon is, with a reason for everything that is not well. */
  health(): Promise<Health> {
    return this.#connection.call('daemon.health', {});
  }

  /** The record of transitions; with `follow` what happens from now on too, across restarts of the daemon. */
  events(options: EventsOptions = {}): AsyncIterable<EventView> {
    return readEvents(this.#connection, options);
  }

  /** Has the daemon read its configuration again. One that cannot be used changes nothing; `error` says why. */
  async reload(): Promise<MethodResult<'daemon.reload'>['config']> {
    return (await this.#connection.call('daemon.reload', {})).config;
  }

  /** Asks the daemon to end all jobs gracefully and exit. Resolves with its pid when it has gone; `CALL_TIMEOUT` if it has not after a minute. */
  async stopDaemon(): Promise<{ pid: number }> {
    const stopping = await this.#connection.call('daemon.stop', {});
    await this.#connection.closedByDaemon(stopTimeoutMs);
    return stopping;
  }

  close(): void {
    this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
