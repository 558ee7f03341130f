/**
 * What the daemon knows, and how it changes.
 *
 * Records (`Job`, `Attempt`, `Group`) are immutable: a change is a new record. `State` holds the records of jobs that have
 * not ended, and indexes over them that are derived, never decided on their own. Jobs that have ended live in the store only.
 */
import { type Cause, isFinal, type JobStatus } from '../../protocol/index.ts';
import { Heap } from './heap.ts';

/** The two clocks, handed in. `monoMs` never jumps and measures durations; `wallMs` is for people. */
export interface Instant {
  readonly monoMs: number;
  readonly wallMs: number;
}

/** A job's command and settings, complete: every default is filled in when it is submitted. */
export interface JobDefinition {
  readonly name: string | null;
  readonly group: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly stdin: string | null;
  readonly splitOutput: boolean;
  readonly priority: number;
  readonly maxRuntimeMs: number | null;
  readonly killGraceMs: number | null;
  readonly successCodes: readonly number[];
  readonly onSupervisorLost: 'fail' | 'retry';
  readonly idempotencyKey: string | null;
}

/** How a leader ended: `code` or `signal`, never both. wait(2) */
export interface LeaderExit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** What an attempt used up, as far as its tier and launcher can tell. */
export interface Usage {
  readonly cpuMs: number | null;
  readonly peakRssBytes: number | null;
}

/** A process that cannot be mistaken for another: its pid, the tick of the boot in which it started, and the boot. proc(5) */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: number;
  readonly bootId: string;
}

/** One run of a job's command. Written down before the launch, so that a crash in between finds the process. */
export interface Attempt {
  readonly number: number;
  readonly tier: string;
  readonly leader: ProcessIdentity | null;
  readonly startedWallMs: number | null;
  readonly finishedWallMs: number | null;
  /** First cause wins: once it is set, nothing overwrites it. */
  readonly cause: Cause | null;
  readonly exit: LeaderExit | null;
  /** Processes that lived on when the leader had exited. */
  readonly strays: number;
  readonly usage: Usage;
  readonly message: string | null;
}

/** Each status carries the data that only it has. The current attempt is the last one of `Job.attempts`. */
export type JobPhase =
  | { readonly status: 'queued' }
  /** A stop that comes before the launch has answered is carried out as soon as there is a process. */
  | { readonly status: 'starting'; readonly stopRequested: StopRequest | null }
  | { readonly status: 'running'; readonly deadlineMonoMs: number | null }
  | {
      readonly status: 'stopping';
      readonly escalateAtMonoMs: number;
      readonly killed: boolean;
      readonly unkillable: boolean;
    }
  | EndedPhase;

export interface EndedPhase {
  readonly status: 'completed' | 'failed' | 'cancelled';
  readonly cause: Cause;
  readonly finishedWallMs: number;
}

/** A stop, and how much time it gives between SIGTERM and SIGKILL: `null` is SIGKILL at once. */
export interface StopRequest {
  readonly cause: Cause;
  readonly graceMs: number | null;
}

export type StopMode = 'graceful' | 'kill';

export interface Job {
  readonly id: number;
  readonly definition: JobDefinition;
  readonly submittedWallMs: number;
  readonly phase: JobPhase;
  readonly attempts: readonly Attempt[];
}

export interface Group {
  readonly name: string;
  readonly parallel: number;
  readonly maxQueued: number;
}

/** One thing that a decision changes. The store writes the list down in one transaction. */
export type Change =
  | { readonly kind: 'job'; readonly before: Job | null; readonly after: Job }
  | { readonly kind: 'jobRemoved'; readonly jobId: number }
  | { readonly kind: 'group'; readonly before: Group | null; readonly after: Group }
  | { readonly kind: 'admission'; readonly before: Admission; readonly after: Admission };

/**
 * Whether jobs are accepted and started. Paused: there is no room on the disk, and what is left of it is for the results of what
 * runs. `closing`: the daemon is ending its jobs.
 */
export type Admission = 'open' | { readonly pausedFor: string } | 'closing';

export interface GroupState {
  group: Group;
  queued: number;
  active: number;
  /** Queued jobs in starting order. May hold entries of jobs that are queued no more; whoever takes one out checks. */
  readonly ready: Heap<ReadyEntry>;
}

export interface ReadyEntry {
  readonly jobId: number;
  readonly priority: number;
}

export interface DeadlineEntry {
  readonly atMonoMs: number;
  readonly jobId: number;
}

export interface State {
  admission: Admission;
  nextJobId: number;
  readonly live: Map<number, Job>;
  readonly groups: Map<string, GroupState>;
  /** May hold deadlines that no longer stand; whoever takes one out compares it with the job. */
  readonly deadlines: Heap<DeadlineEntry>;
}

export function emptyState(nextJobId = 1): State {
  return {
    admission: 'open',
    nextJobId,
    live: new Map(),
    groups: new Map(),
    deadlines: new Heap((a, b) => a.atMonoMs - b.atMonoMs),
  };
}

/** Higher priority first, then age. */
export function startsBefore(a: ReadyEntry, b: ReadyEntry): number {
  return b.priority - a.priority || a.jobId - b.jobId;
}

export function currentAttempt(job: Job): Attempt {
  const attempt = job.attempts.at(-1);
  if (attempt === undefined) throw new Error(`job ${job.id} is ${job.phase.status} and has no attempt`);
  return attempt;
}

/** A copy of the job whose current attempt has these fields replaced. */
export function withAttempt(job: Job, fields: Partial<Attempt>): Job {
  return { ...job, attempts: [...job.attempts.slice(0, -1), { ...currentAttempt(job), ...fields }] };
}

export function withPhase(job: Job, phase: JobPhase): Job {
  return { ...job, phase };
}

export function hasEnded(phase: JobPhase): phase is EndedPhase {
  return isFinal(phase.status);
}

/** Whether SIGKILL did not end some process of the job. */
export function isUnkillable({ phase }: Job): boolean {
  return phase.status === 'stopping' && phase.unkillable;
}

/** A slot is held from the decision to start until the last process of the attempt is gone. */
export function holdsSlot(status: JobStatus): boolean {
  return status === 'starting' || status === 'running' || status === 'stopping';
}

/** The time at which this job wants to be looked at if nothing else happens. */
export function deadlineOf(job: Job): number | null {
  switch (job.phase.status) {
    case 'running':
      return job.phase.deadlineMonoMs;
    case 'stopping':
      return job.phase.escalateAtMonoMs;
    default:
      return null;
  }
}

/** Whether a job is in another status after this. */
export function isTransition(change: Change): boolean {
  return change.kind === 'job' && change.before?.phase.status !== change.after.phase.status;
}

/** Brings the state up to date with the changes, in order. Returns how to take them back. */
export function apply(state: State, changes: readonly Change[]): () => void {
  for (const change of changes) applyOne(state, change);
  return () => {
    for (const change of changes.toReversed()) applyOne(state, inverse(change));
  };
}

function applyOne(state: State, change: Change): void {
  switch (change.kind) {
    case 'job':
      return replaceJob(state, change.before, change.after);
    case 'group': {
      const known = state.groups.get(change.after.name);
      if (known) known.group = change.after;
      else
        state.groups.set(change.after.name, {
          group: change.after,
          queued: 0,
          active: 0,
          ready: new Heap(startsBefore),
        });
      return;
    }
    case 'admission':
      state.admission = change.after;
      return;
    case 'jobRemoved':
      return; // Only ended jobs are removed, and those are not in the state.
  }
}

/** Undoing a new job leaves a gap in the ids: they are never reused. A group is never unmade. */
function inverse(change: Change): Change {
  switch (change.kind) {
    case 'job':
      return { kind: 'job', before: change.after, after: change.before ?? withPhase(change.after, forgotten) };
    case 'group':
      return change.before === null ? change : { kind: 'group', before: change.after, after: change.before };
    case 'admission':
      return { kind: 'admission', before: change.after, after: change.before };
    case 'jobRemoved':
      return change;
  }
}

const forgotten: JobPhase = { status: 'cancelled', cause: 'cancel', finishedWallMs: 0 };

function replaceJob(state: State, before: Job | null, after: Job): void {
  const groupState = state.groups.get(after.definition.group);
  if (groupState === undefined)
    throw new Error(`job ${after.id} is in group ${after.definition.group}, which does not exist`);
  if (before !== null) count(groupState, before.phase.status, -1);
  const { status } = after.phase;
  count(groupState, status, +1);
  state.nextJobId = Math.max(state.nextJobId, after.id + 1);
  if (hasEnded(after.phase)) {
    state.live.delete(after.id);
    return;
  }
  state.live.set(after.id, after);
  if (status === 'queued') groupState.ready.push({ jobId: after.id, priority: after.definition.priority });
  const atMonoMs = deadlineOf(after);
  if (atMonoMs !== null && (before === null || deadlineOf(before) !== atMonoMs))
    state.deadlines.push({ atMonoMs, jobId: after.id });
}

function count(groupState: GroupState, status: JobStatus, by: 1 | -1): void {
  if (status === 'queued') groupState.queued += by;
  else if (holdsSlot(status)) groupState.active += by;
}
