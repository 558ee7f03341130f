/** What a decision has the shells do. */
import type { ErrorCode, IdlePolicy, SignalName } from '../../protocol/index.ts';
import type { RequestId } from './events.ts';
import type { IdleSample } from './idle-watch.ts';
import type { Job } from './job.ts';

/** What the shells do once the changes of the same decision are committed. */
export type Effect =
  | { readonly type: 'reply'; readonly request: RequestId; readonly result: unknown }
  | { readonly type: 'refuse'; readonly request: RequestId; readonly code: ErrorCode; readonly message: string }
  | { readonly type: 'launch'; readonly job: Job }
  /** SIGTERM, then SIGCONT, to every process of the attempt, frozen or not: a stopped one could not act on the SIGTERM. */
  | { readonly type: 'terminate'; readonly jobId: number }
  /** SIGKILL to every process of the attempt, and to those that they fork meanwhile. */
  | { readonly type: 'kill'; readonly jobId: number }
  | { readonly type: 'signal'; readonly jobId: number; readonly signal: SignalName }
  /** There may be more to start: take another turn, after others had theirs. */
  | { readonly type: 'goOn' }
  /** Of attempts whose record is gone, by their numbers. */
  | { readonly type: 'removeOutput'; readonly job: Job; readonly attempts: readonly number[] }
  /** Gives back the room of what was dropped. */
  | { readonly type: 'dropOutput'; readonly job: Job }
  /** Every process of the attempt stands still, until it is thawed, terminated or killed. */
  | { readonly type: 'freeze'; readonly jobId: number }
  | { readonly type: 'thaw'; readonly jobId: number }
  /** Look at running jobs, and say what was found in a `sampled`: of every one, also where nothing could be. */
  | { readonly type: 'sample'; readonly checks: readonly IdleCheck[] }
  | { readonly type: 'finished'; readonly job: Job }
  /** Count the live processes of these jobs, which are all that were live when the scope was closed. */
  | { readonly type: 'countScope'; readonly scope: string; readonly jobIds: readonly number[] }
  | { readonly type: 'scopeClosed'; readonly scope: string };

/** A running job that is to be looked at: what the shell needs to know of it. */
export interface IdleCheck {
  readonly job: Job;
  readonly dueMonoMs: number;
  readonly rule: IdlePolicy;
  readonly last: IdleSample | null;
}

/** Whether the effect ends, signals or looks at processes, and promises nothing: it need not wait for the disk. */
export function reachesProcesses(effect: Effect): boolean {
  switch (effect.type) {
    case 'terminate':
    case 'kill':
    case 'signal':
    case 'freeze':
    case 'thaw':
    case 'sample':
      return true;
    default:
      return false;
  }
}
