/** Where a job stands, and what is known of it only there. */
import { type Cause, isFinal, type JobStatus } from '../../protocol/index.ts';
import type { Progress } from './attempt.ts';
import type { IdleWatch } from './idle-watch.ts';

/** Each status carries the data that only it has. The current attempt is the last one of `Job.attempts`. */
export type JobPhase =
  | QueuedPhase
  | {
      readonly status: 'starting';
      readonly sinceMonoMs: number;
      /** A stop that comes before the launch has answered is carried out as soon as there is a process. */
      readonly stopRequested: StopRequest | null;
      readonly reportTimes?: ReportTimes;
    }
  | RunningPhase
  | {
      readonly status: 'stopping';
      readonly escalateAtMonoMs: number;
      readonly killed: boolean;
      readonly unkillable: boolean;
      readonly reportTimes?: ReportTimes;
    }
  | EndedPhase;

export interface QueuedPhase {
  readonly status: 'queued';
  /** It is not started before this; `null`: its time has come. */
  readonly readyAtMonoMs: number | null;
  /** It fails if it has not been started by then; `null` also while that stands still (`QueueRecord.startLeftMs`). */
  readonly startByMonoMs: number | null;
  /** Jobs that have to end before it starts. */
  readonly waitsFor: readonly number[];
  /** Of a retry: `readyAtMonoMs` is its turn among those that came due together. */
  readonly hasTurn?: true;
}

export interface RunningPhase {
  readonly status: 'running';
  readonly startedMonoMs: number;
  /** Absent where it has not reported since it runs. */
  readonly reportTimes?: ReportTimes;
  /** When its max runtime is over. */
  readonly deadlineMonoMs: number | null;
  /** Since when its processes are frozen. Its deadlines are those of that moment, and move on with it (pausing.ts). */
  readonly paused: { readonly sinceMonoMs: number } | null;
  /** What is known of its idleness; `null`: its policy does not ask. */
  readonly idle: IdleWatch | null;
  /** When its lease is over; `null`: it has none, or a client is attached. */
  readonly leaseUntilMonoMs: number | null;
}

/** What a job has reported when, for as long as it is in its status. `null`: not yet. */
export interface ReportTimes {
  /** When it last reported something other than before. */
  readonly progressMonoMs: number | null;
  /** The progress that was last written down, with a line in the job's events, and when that was. */
  readonly noted: { readonly progress: Progress; readonly monoMs: number } | null;
  readonly resultNotedMonoMs: number | null;
  readonly warnedMonoMs: number | null;
  /** Lines that could not be read since the last warning. */
  readonly unreadableLines: number;
}

export interface EndedPhase {
  readonly status: 'completed' | 'failed' | 'cancelled';
  readonly cause: Cause;
  readonly finishedWallMs: number;
  /** What there is to say of an end in the queue, which no attempt can say. */
  readonly message?: string;
}

/** A stop, and how much time it gives between SIGTERM and SIGKILL: `null` is SIGKILL at once. */
export interface StopRequest {
  readonly cause: Cause;
  readonly graceMs: number | null;
  /** What there is to say beyond the cause. */
  readonly message?: string | null;
}

export type StopMode = 'graceful' | 'kill';

/** A job that has just begun to run, without a limit. */
export const justRunning: RunningPhase = {
  status: 'running',
  startedMonoMs: 0,
  deadlineMonoMs: null,
  leaseUntilMonoMs: null,
  paused: null,
  idle: null,
};

/** A job that waits for nothing but a slot. */
export const justQueued: QueuedPhase = { status: 'queued', readyAtMonoMs: null, startByMonoMs: null, waitsFor: [] };

export function hasEnded(phase: JobPhase): phase is EndedPhase {
  return isFinal(phase.status);
}

/** A slot is held from the decision to start until the last process of the attempt is gone. */
export function holdsSlot(status: JobStatus): boolean {
  return status === 'starting' || status === 'running' || status === 'stopping';
}
