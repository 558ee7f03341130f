/** What happens to the daemon and its jobs. */
import type { JobEdit, SignalName } from '../../protocol/index.ts';
import type { LeaderExit, OutputSize, ProcessIdentity, Usage } from './attempt.ts';
import type { HookFailure } from './hooks.ts';
import type { IdleSample } from './idle-watch.ts';
import type { Job, JobDefinition } from './job.ts';
import type { StopMode } from './phase.ts';
import type { JobDefaults } from './profiles.ts';
import type { AtLimits } from './resources.ts';
import type { GroupSettings } from './state.ts';

/** Ties an answer to the call that asked for it. */
export type RequestId = number;

/** Everything that can happen. Requests carry what the shell looked up in the store about jobs that have ended. */
export type Event =
  | {
      readonly type: 'submit';
      readonly request: RequestId;
      readonly definitions: readonly JobDefinition[];
      /** Jobs that already have one of the idempotency keys. */
      readonly known: ReadonlyMap<string, Job>;
      /** Those that the jobs wait for. */
      readonly ended: EndedJobs;
    }
  | {
      readonly type: 'edit';
      readonly request: RequestId;
      /** Of one job. */
      readonly jobIds: readonly number[];
      readonly ended: EndedJobs;
      readonly edit: JobEdit;
      /** Where the policies that it does not name come from. */
      readonly defaults: JobDefaults;
    }
  | {
      readonly type: 'move';
      readonly request: RequestId;
      readonly jobIds: readonly number[];
      readonly ended: EndedJobs;
      readonly group: string;
    }
  | {
      readonly type: 'retry';
      readonly request: RequestId;
      readonly jobIds: readonly number[];
      /** The jobs, and those that they wait for. */
      readonly ended: EndedJobs;
    }
  /** What a submit would make of it; nothing is changed. */
  | {
      readonly type: 'settle';
      readonly request: RequestId;
      readonly definitions: readonly [JobDefinition];
      readonly known: ReadonlyMap<string, Job>;
      readonly ended: EndedJobs;
    }
  | {
      readonly type: 'cancel';
      readonly request: RequestId;
      readonly jobIds: readonly number[];
      readonly ended: EndedJobs;
      readonly mode: StopMode;
    }
  | {
      readonly type: 'signal';
      readonly request: RequestId;
      readonly jobIds: readonly number[];
      readonly ended: EndedJobs;
      readonly signal: SignalName;
    }
  /** A job reports of itself. */
  | {
      readonly type: 'report';
      readonly request: RequestId;
      readonly jobId: number;
      /** The one that must be the newest; `null`: whichever is. */
      readonly attempt: number | null;
      readonly report: Report;
    }
  /** Jobs have reported by the pipe, where nobody gets an answer. */
  | { readonly type: 'reportsRead'; readonly reports: ReadonlyMap<number, readonly Report[]> }
  | { readonly type: 'resetStuck'; readonly request: RequestId; readonly criteria: StuckCriteria }
  | {
      readonly type: 'pause';
      readonly request: RequestId;
      readonly jobIds: readonly number[];
      readonly ended: EndedJobs;
    }
  | {
      readonly type: 'resume';
      readonly request: RequestId;
      readonly jobIds: readonly number[];
      readonly ended: EndedJobs;
    }
  | {
      readonly type: 'remove';
      readonly request: RequestId;
      readonly jobIds: readonly number[];
      readonly ended: EndedJobs;
    }
  /** All output together is beyond its limit by so much, and nothing of jobs that have ended is left to delete. */
  | { readonly type: 'forgetEarlier'; readonly request: RequestId; readonly bytes: number }
  | {
      readonly type: 'addGroup';
      readonly request: RequestId;
      readonly name: string;
      /** What is not named has its default. */
      readonly settings: GroupSettings;
    }
  | {
      readonly type: 'setGroup';
      readonly request: RequestId;
      readonly name: string;
      /** What is not named stays as it is. */
      readonly settings: GroupSettings;
    }
  | { readonly type: 'removeGroup'; readonly request: RequestId; readonly name: string }
  /** Start the next job of a manual group. */
  | {
      readonly type: 'runPending';
      readonly request: RequestId;
      readonly name: string;
      /** In which its processes are held. */
      readonly tier: string;
    }
  | {
      readonly type: 'pauseGroup';
      readonly request: RequestId;
      readonly name: string;
      readonly running: 'pause' | 'letRun';
    }
  | { readonly type: 'resumeGroup'; readonly request: RequestId; readonly name: string }
  /** Clients hold calls on these jobs from now on, or do not any more. */
  | { readonly type: 'attached' | 'detached'; readonly jobIds: readonly number[] }
  | {
      readonly type: 'heartbeat';
      readonly request: RequestId;
      readonly jobIds: readonly number[];
      readonly ended: EndedJobs;
    }
  /** A client opens a scope, or comes back to one that is open. */
  | {
      readonly type: 'openScope';
      readonly request: RequestId;
      readonly scope: string;
      readonly name: string | null;
      /** Whether there is, or was, a scope of this id. */
      readonly isKnown: boolean;
    }
  | { readonly type: 'closeScope'; readonly request: RequestId; readonly scope: string }
  /** The connection of a client that had opened the scope, or come back to it, is closed. */
  | { readonly type: 'scopeClientGone'; readonly scope: string }
  | { readonly type: 'scopeCounted'; readonly scope: string; readonly processesLeft: number }
  | { readonly type: 'launched'; readonly jobId: number; readonly leader: ProcessIdentity }
  | { readonly type: 'launchFailed'; readonly jobId: number; readonly message: string; readonly exit: LeaderExit }
  /** There was no room on the disk for the job's output. It is no fault of the job's: it goes back to the queue. */
  | { readonly type: 'launchLackedSpace'; readonly jobId: number; readonly shortage: string }
  /** A look at the disk: what is short, or `null`. */
  | { readonly type: 'diskChecked'; readonly shortage: string | null }
  | {
      readonly type: 'leaderExited';
      readonly jobId: number;
      readonly exit: LeaderExit;
      /** Processes of the attempt that are still alive. */
      readonly remaining: number;
      readonly usage: Usage;
      /** Absent: nothing is known of that. */
      readonly atLimits?: AtLimits | null;
    }
  /** The leader is gone and so is every other process of the attempt. */
  | {
      readonly type: 'emptied';
      readonly jobId: number;
      readonly usage: Usage;
      readonly atLimits?: AtLimits | null;
    }
  /** The configuration says how many retries may come due at once. */
  | { readonly type: 'setRetryPace'; readonly perSecond: number; readonly burst: number }
  /** A hook was run for the jobs, and failed. `ended`: as the store has them; a record that was removed needs no note. */
  | {
      readonly type: 'hookFailed';
      readonly jobIds: readonly number[];
      readonly ended: EndedJobs;
      readonly failure: HookFailure;
    }
  /** How large the output files of a running attempt are, as far as that is too much. */
  | {
      readonly type: 'outputMeasured';
      readonly jobId: number;
      readonly attempt: number;
      readonly size: OutputSize;
      /** What they take on the disk: less, where a part was dropped. */
      readonly onDisk: OutputSize;
      /** What the output of all jobs together leaves this one; `null`: its own limit counts. */
      readonly totalLeavesBytes: number | null;
    }
  /** The beginning of the output could not be dropped. */
  | { readonly type: 'outputKept'; readonly jobId: number; readonly reason: string }
  | { readonly type: 'tick' }
  /** Running jobs were looked at, to see whether they are idle. */
  | { readonly type: 'sampled'; readonly samples: readonly CheckedJob[] }
  /** End all jobs gracefully, then close. Said twice: kill them. */
  | { readonly type: 'shutdown' };

/** One report of a job. */
export type Report =
  | { readonly kind: 'progress'; readonly percent: number | null; readonly message: string | null }
  /** JSON text; `null`: there is no result any more. */
  | { readonly kind: 'result'; readonly json: string | null }
  /** Lines that were meant to be reports and cannot be read. */
  | { readonly kind: 'unreadable'; readonly lines: number; readonly message: string };

/** Which jobs are stuck. Both must hold; `null`: it does not count. */
export interface StuckCriteria {
  readonly olderThanMs: number | null;
  readonly noProgressForMs: number | null;
  readonly group: string | null;
}

/** What a look has found. A job that could not be looked at has no counts. */
export interface CheckedJob extends IdleSample {
  readonly jobId: number;
  readonly attempt: number;
}

type WithoutFacts<E> = E extends unknown ? Omit<E, 'request' | 'ended' | 'known' | 'tier' | 'isKnown'> : never;

/** A request before it has its number and what the store knows of the jobs that it names. */
export type Request = WithoutFacts<Extract<Event, { request: RequestId }>>;

export type EndedJobs = ReadonlyMap<number, Job>;

/** Whether the event asks for something that must be on the disk to count. All others happen, whether or not that can be written down. */
export function asksForRecord(event: Event): boolean {
  switch (event.type) {
    case 'submit':
    case 'settle':
    case 'edit':
    case 'move':
    case 'retry':
    case 'remove':
    case 'forgetEarlier':
    case 'addGroup':
    case 'setGroup':
    case 'removeGroup':
    case 'runPending':
    case 'pauseGroup':
    case 'resumeGroup':
    case 'openScope':
      return true;
    case 'report':
      return event.report.kind === 'result';
    default:
      return false;
  }
}
