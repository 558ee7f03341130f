/** What is known of a scope, and the index of its jobs that is kept beside the jobs themselves. */
import { isFinal } from '../../protocol/index.ts';
import type { Job } from './job.ts';

/** Why a scope was closed: its client said so, its connection ended, or it did not come back after a restart of the daemon. */
export type ScopeEnd = 'closed' | 'client-gone' | 'client-lost';

export interface Scope {
  readonly id: string;
  readonly name: string | null;
  readonly openedWallMs: number;
  readonly phase: ScopePhase;
}

/** Each status carries the data that only it has. A store keeps the status, the end, and what was counted. */
export type ScopePhase =
  | {
      readonly status: 'open';
      /** Connections that it lives with. */
      readonly clients: number;
      /** After a restart: its client is waited for until then. */
      readonly returnByMonoMs: number | null;
    }
  | ClosingPhase
  | ClosedPhase;

interface ClosingPhase {
  readonly status: 'closing';
  readonly end: ScopeEnd;
  readonly closedWallMs: number;
  /** The jobs that were live when it was closed. */
  readonly jobIds: readonly number[];
  /** `counting`: all have ended, and the processes that they left are being counted. */
  readonly stage: 'ending' | 'counting';
}

/** Every job of it has ended. */
interface ClosedPhase {
  readonly status: 'closed';
  readonly end: ScopeEnd;
  readonly closedWallMs: number;
  readonly processesLeft: number;
  readonly tally: ScopeTally;
}

/** Jobs of a scope that have ended, by whether its close has ended them. */
export interface ScopeTally {
  readonly ended: number;
  readonly cleaned: number;
}

/** A scope as a store gives it. */
export interface StoredScope extends ScopeTally {
  readonly scope: Scope;
}

export interface ScopeState {
  scope: Scope;
  ended: number;
  cleaned: number;
  readonly live: Set<number>;
}

const noJobs: ScopeTally = { ended: 0, cleaned: 0 };

/** A scope whose opening is taken back. */
export function neverOpened(scope: Scope): Scope {
  const phase: ClosedPhase = { status: 'closed', end: 'closed', closedWallMs: 0, processesLeft: 0, tally: noJobs };
  return { ...scope, phase };
}

/** A closed scope is not in the index. One whose close is taken back has the jobs again that it had then. */
export function putScope(scopes: Map<string, ScopeState>, before: Scope | null, after: Scope): void {
  const known = scopes.get(after.id);
  if (after.phase.status === 'closed') scopes.delete(after.id);
  else if (known !== undefined) known.scope = after;
  else {
    const { ended, cleaned } = before?.phase.status === 'closed' ? before.phase.tally : noJobs;
    scopes.set(after.id, { scope: after, ended, cleaned, live: new Set() });
  }
}

/** Whether a store keeps what this changes. */
export function isLastingOfScope(before: Scope | null, after: Scope): boolean {
  return before?.phase.status !== after.phase.status;
}

/** Takes note of what has become of a job. @param after `null`: it never was */
export function tallyScope(state: ScopeState | undefined, before: Job | null, after: Job | null): void {
  if (state === undefined) return;
  const isLive = (job: Job | null) => job !== null && !isFinal(job.phase.status);
  if (isLive(before) && isLive(after)) return;
  if (before !== null) add(state, before, -1);
  if (after !== null) add(state, after, +1);
}

function add(state: ScopeState, { id, phase }: Job, by: 1 | -1): void {
  if (!isFinal(phase.status)) {
    if (by === 1) state.live.add(id);
    else state.live.delete(id);
    return;
  }
  state.ended += by;
  if ('cause' in phase && phase.cause === 'scope') state.cleaned += by;
}
