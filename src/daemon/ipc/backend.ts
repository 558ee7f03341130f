import type {
  EventView,
  GroupView,
  Health,
  JobStatus,
  MethodResult,
  ScopeReport,
  StuckJob,
} from '../../protocol/index.ts';
import type {
  Job,
  JobDefaults,
  JobSketch,
  JobUsage,
  OutputFacts,
  ProcessFacts,
  Request,
  StuckCriteria,
} from '../core/index.ts';

/** What the methods need of the daemon. main.ts puts it together. */
export interface Backend {
  readonly supervisor: SupervisorApi;
  readonly store: StoreReader;
  readonly output: OutputApi;
  readonly usage: UsageApi;
  /** Asked at each call: the configuration may change. */
  readonly jobDefaults: JobDefaults;
  status(): MethodResult<'daemon.status'>;
  health(): Health;
  /** The configuration in force, key by key. */
  config(): MethodResult<'config.show'>;
  /** Reads the configuration again; one that cannot be used changes nothing, and `error` says why. */
  reload(): MethodResult<'daemon.reload'>['config'];
  /** Ends all jobs gracefully and exits. */
  stop(): void;
}

export interface SupervisorApi {
  /** Puts a request to the loop, and resolves with the answer once that is durable. */
  ask<R>(request: Request): Promise<R>;
  groups(): GroupView[];
  /** Why a queued job has not started; `full` says how many are before it, which costs a look at each. */
  waitingFor(job: Job, detail?: 'brief' | 'full'): string | null;
  stuck(criteria: StuckCriteria): StuckJob[];
  /** Ids of the jobs that run or are being stopped, the smallest first. */
  runningJobs(): number[];
  /** @throws CorralError `JOB_NOT_FOUND` */
  job(jobId: number): Job;
  wait(
    jobIds: readonly number[],
    mode: 'all' | 'any',
    holdMs: number,
    signal: AbortSignal,
  ): Promise<{ ended: boolean; finished: number[] }>;
  /** A client holds a call on these jobs, until the function that is returned is called. */
  attach(jobIds: readonly number[]): () => void;
  scopeClientGone(scope: string): void;
  /** @throws CorralError `SCOPE_NOT_FOUND` */
  scope(id: string): ScopeReport;
  /** Calls back once, when a scope is closed and empty. Returns how to give up. */
  onScopeClosed(id: string, onClosed: () => void): () => void;
  onNextChange(jobId: number, onChange: () => void): () => void;
  /** Calls back once, when an event of a job, or with `null` of any, has been written down. Returns how to give up. */
  onNextEvent(jobId: number | null, onChange: () => void): () => void;
}

export interface StoreReader {
  listEvents(query: { after: number; jobId: number | null; limit: number }): EventView[];
  lastEvent(): number;
  listSketches(query: {
    statuses: readonly JobStatus[] | null;
    group: string | null;
    scope: string | null;
    order: 'oldest' | 'newest';
    cursor: number | null;
    limit: number;
  }): JobSketch[];
  /** Those of the jobs that have a record. */
  sketchesOf(jobIds: readonly number[]): JobSketch[];
}

export interface OutputApi {
  facts(job: Job): OutputFacts;
  path(jobId: number, attempt: number, split: boolean, stream: 'stdout' | 'stderr'): string;
  size(path: string): number;
  read(path: string, offset: number, length: number): Buffer;
  /** `null` where there is no file yet. */
  watch(path: string, onGrowth: () => void): (() => void) | null;
}

/** What running jobs use. */
export interface UsageApi {
  /** Jobs without processes are left out. */
  measure(jobIds: readonly number[]): Promise<JobUsage[]>;
  describe(pids: readonly number[]): Promise<ReadonlyMap<number, ProcessFacts>>;
}

/** One call: who asks, and whether they are still there. */
export interface Call {
  readonly backend: Backend;
  /** Aborted when the client's connection is closed. */
  readonly signal: AbortSignal;
}
