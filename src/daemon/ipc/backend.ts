import type {
  BulkReport,
  EventView,
  GroupView,
  Health,
  JobStatus,
  MethodResult,
  SignalName,
} from '../../protocol/index.ts';
import type { Job, JobDefaults, JobDefinition, OutputFacts, StopMode } from '../core/index.ts';

/** What the methods need of the daemon. main.ts puts it together. */
export interface Backend {
  readonly supervisor: SupervisorApi;
  readonly store: StoreReader;
  readonly output: OutputApi;
  /** Asked at each call: the configuration may change. */
  readonly jobDefaults: JobDefaults;
  status(): MethodResult<'daemon.status'>;
  health(): Health;
  /** Reads the configuration again; one that cannot be used changes nothing, and `error` says why. */
  reload(): MethodResult<'daemon.reload'>['config'];
  /** Ends all jobs gracefully and exits. */
  stop(): void;
}

export interface SupervisorApi {
  submit(definitions: readonly JobDefinition[]): Promise<{ id: number; created: boolean }[]>;
  cancel(jobIds: readonly number[], mode: StopMode): Promise<BulkReport>;
  signal(jobIds: readonly number[], signal: SignalName): Promise<BulkReport>;
  remove(jobIds: readonly number[]): Promise<BulkReport>;
  setGroup(name: string, settings: { parallel: number | null; maxQueued: number | null }): Promise<GroupView>;
  groups(): GroupView[];
  /** @throws CorralError `JOB_NOT_FOUND` */
  job(jobId: number): Job;
  wait(
    jobIds: readonly number[],
    mode: 'all' | 'any',
    holdMs: number,
    signal: AbortSignal,
  ): Promise<{ ended: boolean; finished: number[] }>;
  onNextChange(jobId: number, onChange: () => void): () => void;
  /** Calls back once, when a transition of any job has been written down. Returns how to give up. */
  onNextTransition(onChange: () => void): () => void;
}

export interface StoreReader {
  listEvents(query: { after: number; jobId: number | null; limit: number }): EventView[];
  lastEvent(): number;
  listJobIds(query: {
    statuses: readonly JobStatus[] | null;
    group: string | null;
    order: 'oldest' | 'newest';
    cursor: number | null;
    limit: number;
  }): number[];
}

export interface OutputApi {
  facts(job: Job): OutputFacts;
  path(jobId: number, attempt: number, split: boolean, stream: 'stdout' | 'stderr'): string;
  size(path: string): number;
  read(path: string, offset: number, length: number): Buffer;
  /** `null` where there is no file yet. */
  watch(path: string, onGrowth: () => void): (() => void) | null;
}

/** One call: who asks, and whether they are still there. */
export interface Call {
  readonly backend: Backend;
  /** Aborted when the client's connection is closed. */
  readonly signal: AbortSignal;
}
