/**
 * What the daemon knows, and how it changes.
 *
 * Records (`Job`, `Attempt`, `Group`) are immutable: a change is a new record. `State` holds the records of jobs that have
 * not ended, and indexes over them that are derived, never decided on their own. Jobs that have ended live in the store only.
 */
import {
  type Cause,
  type EventKind,
  type GroupMode,
  type HookSpec,
  isFinal,
  type JobStatus,
  type Policies,
} from '../../protocol/index.ts';
import { Heap } from './heap.ts';
import type { IdleWatch } from './idle.ts';
import type { OutputSize } from './output-limit.ts';
import type { SettledResources } from './resources.ts';
import { isLastingOfScope, neverOpened, putScope, type Scope, type ScopeState, tallyScope } from './scope-index.ts';

/** The two clocks, and chance, handed in. `monoMs` never jumps and measures durations; `wallMs` is for people. */
export interface Instant {
  readonly monoMs: number;
  readonly wallMs: number;
  /**
   * The wall clock as it was when the daemon started, gone on evenly since. What is kept for a time is kept for that time, whatever
   * the wall clock is set to meanwhile.
   */
  readonly steadyWallMs: number;
  /** Chance, handed in as well: from 0 up to 1. */
  readonly unitRandom: number;
  /** The boot whose clock `monoMs` is: within it, an earlier daemon's `monoMs` can be compared. Absent: not known. */
  readonly bootId?: string;
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
  readonly successCodes: readonly number[];
  readonly idempotencyKey: string | null;
  readonly scope: string | null;
  readonly delayMs: number | null;
  readonly startAtWallMs: number | null;
  readonly after: readonly number[];
  readonly afterMode: 'success' | 'any';
  readonly resources: SettledResources | null;
  readonly hooks: readonly HookSpec[];
  readonly profile: string;
  readonly policies: Policies;
  /** Where each value of the policies comes from, by its name, such as `idle.checks`. */
  readonly sources: Readonly<Record<string, string>>;
}

/** How a leader ended: `code` or `signal`, never both. wait(2) Neither: that is not known. */
export interface LeaderExit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** What an attempt used up, as far as its tier and launcher can tell. */
export interface Usage {
  readonly cpuMs: number | null;
  readonly peakRssBytes: number | null;
  /** What its output takes on the disk. `null` while it runs. */
  readonly outputBytes: number | null;
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
  /** Bytes at the beginning of its output files that were dropped to keep the limit. */
  readonly dropped: OutputSize;
  readonly progress: Progress | null;
  /** What it has reported as its result, as JSON text. */
  readonly result: string | null;
  readonly message: string | null;
}

/** What a job has reported of itself. */
export interface Progress {
  readonly percent: number | null;
  readonly message: string | null;
  readonly wallMs: number;
}

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
  /** It fails if it has not been started by then. */
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

/** Between two lines in a job's events about its progress, or about its result; between two commits for the former, too. */
export const noteEveryMs = 1_000;

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

/** Clients that take an interest in a job: they hold a `wait` or `logs` call on it, or say that it should live on. */
export interface ClientPresence {
  /** Calls that are held now. */
  readonly attached: number;
  /** When the newest of them began or ended, or the newest heartbeat came; `null`: none ever has. */
  readonly seen: Pick<Instant, 'monoMs' | 'wallMs'> | null;
}

export const noClient: ClientPresence = { attached: 0, seen: null };

/**
 * A job. Of its phase, a store keeps the status and how it ended; all other data of a phase, and its clients, are of this daemon's
 * life only, and may change without being written down.
 */
export interface Job {
  readonly id: number;
  readonly definition: JobDefinition;
  readonly submittedWallMs: number;
  readonly phase: JobPhase;
  readonly attempts: readonly Attempt[];
  readonly queue: QueueRecord;
  /** When its record is deleted, on the steady clock. `null` while it has not ended, and where it is kept. */
  readonly expiresWallMs: number | null;
  readonly client: ClientPresence;
  /** What could not be done as asked. */
  readonly warnings: readonly string[];
}

/** What a job brings to the queue, each time that it enters it. */
export interface QueueRecord {
  /** When it entered. */
  readonly sinceWallMs: number;
  /**
   * The same on the clock of the boot, which nobody sets: in that boot, it tells what has passed even across daemons. It is about
   * the entry at `wallMs`; beside another `sinceWallMs` it says nothing.
   */
  readonly entry?: { readonly bootId: string; readonly monoMs: number; readonly wallMs: number };
  /** It is not started before this. `wall`: whatever the wall clock then says; `elapsed`: when so much time has passed. */
  readonly notBefore: { readonly wallMs: number; readonly clock: 'wall' | 'elapsed' } | null;
  /** A client paused it: it does not start, and what runs of it stands still. */
  readonly held: HeldBack | null;
  /** Retries so far, since it was submitted or retried by a client. */
  readonly retries: number;
  /** How often the pause before a retry has doubled since an attempt ran well. */
  readonly doublings: number;
  /** When its newest attempts failed, newest last, on the steady wall clock: what the breaker counts. */
  readonly failuresWallMs: readonly number[];
  /** A client stopped it while it was ending for another reason: it is not run again. */
  readonly stopped: boolean;
}

/** How many retries may come due at once: a bucket of `burst`, filled `perSecond`. */
export interface RetryPace {
  readonly perSecond: number;
  readonly burst: number;
  /** When the bucket is full again. Each start puts it off. */
  readonly nextMonoMs: number;
}

/** A pause, as it survives the daemon and the attempt. */
export interface HeldBack {
  /** Whoever pauses a group goes on with the jobs that this paused, not with those that were paused by themselves. */
  readonly by: 'job' | 'group';
  /** What was left of its start deadline; `null` where it had none. */
  readonly startLeftMs: number | null;
}

export interface Group {
  readonly name: string;
  readonly parallel: number;
  readonly maxQueued: number;
  /** Most starts per second; `null`: no limit. */
  readonly ratePerSecond: number | null;
  readonly burst: number;
  readonly mode: GroupMode;
  readonly paused: boolean;
}

export type GroupSettings = Partial<Omit<Group, 'name'>>;

/** One thing that a decision changes. The store writes the list down in one transaction. */
export type Change =
  | { readonly kind: 'job'; readonly before: Job | null; readonly after: Job }
  | { readonly kind: 'jobRemoved'; readonly jobId: number }
  /** Something happened to a job that stays in its status; a line in its events. */
  | {
      readonly kind: 'note';
      readonly job: Job;
      readonly note: Exclude<EventKind, 'transition'>;
      readonly detail: unknown;
    }
  | { readonly kind: 'group'; readonly before: Group | null; readonly after: Group }
  /** Only a group without live jobs is removed. `was`: for taking it back. */
  | { readonly kind: 'groupRemoved'; readonly was: GroupState }
  | { readonly kind: 'bucket'; readonly group: string; readonly before: Bucket; readonly after: Bucket }
  | { readonly kind: 'scope'; readonly before: Scope | null; readonly after: Scope }
  | { readonly kind: 'admission'; readonly before: Admission; readonly after: Admission }
  | { readonly kind: 'retryPace'; readonly before: RetryPace; readonly after: RetryPace };

/**
 * Whether jobs are accepted and started. Paused: there is no room on the disk, and what is left of it is for the results of what
 * runs. `closing`: the daemon is ending its jobs.
 */
export type Admission = 'open' | { readonly pausedFor: string } | 'closing';

/** What the rate of a group allows, of this daemon's life only. A token bucket, told by the time at which it would be full. */
export interface Bucket {
  readonly fullAtMonoMs: number;
  /** A job waits for nothing but a token, and this is when there will be one. */
  readonly wakeAtMonoMs: number | null;
  /** A job waited for nothing but a token when jobs were last to be started. */
  readonly isAwaited: boolean;
}

export const fullBucket: Bucket = { fullAtMonoMs: Number.NEGATIVE_INFINITY, wakeAtMonoMs: null, isAwaited: false };

export interface GroupState {
  group: Group;
  queued: number;
  active: number;
  /** Attempts begun, and jobs ended, in this daemon's life. */
  starts: number;
  ends: number;
  bucket: Bucket;
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
  retryPace: RetryPace;
  nextJobId: number;
  readonly live: Map<number, Job>;
  readonly groups: Map<string, GroupState>;
  /** By job: the queued jobs that name it in `after` and have not been started yet. */
  readonly dependents: Map<number, Set<number>>;
  /** Scopes that are not closed, or whose last jobs are being ended. */
  readonly scopes: Map<string, ScopeState>;
  /** May hold deadlines that no longer stand; whoever takes one out compares it with the job. */
  readonly deadlines: Heap<DeadlineEntry>;
  /**
   * When running jobs are to be looked at, of the same kind. Apart from the deadlines: a check gives the job its next one, and a
   * deadline in the far future would be entered again each time.
   */
  readonly idleChecks: Heap<DeadlineEntry>;
}

/** Before the configuration says otherwise. */
const usualPace: RetryPace = { perSecond: 20, burst: 100, nextMonoMs: 0 };

export function emptyState(nextJobId = 1): State {
  return {
    admission: 'open',
    retryPace: usualPace,
    nextJobId,
    live: new Map(),
    groups: new Map(),
    dependents: new Map(),
    scopes: new Map(),
    deadlines: new Heap(comesBefore),
    idleChecks: new Heap(comesBefore),
  };
}

function comesBefore(a: DeadlineEntry, b: DeadlineEntry): number {
  return a.atMonoMs - b.atMonoMs;
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

/** Whether a client has paused the job. One that stops its own processes is not paused. */
export function isPaused({ phase, queue }: Job): boolean {
  return queue.held !== null && canBePaused(phase.status);
}

/** Before and while it runs. What is being ended must not stand still. */
export function canBePaused(status: JobStatus): boolean {
  return status === 'queued' || status === 'starting' || status === 'running';
}

/** Whether nothing but a slot keeps the job from starting. */
export function isReady({ phase, queue }: Job): boolean {
  const isTime = phase.status === 'queued' && phase.readyAtMonoMs === null && phase.waitsFor.length === 0;
  return isTime && queue.held === null;
}

/** The jobs whose end matters to this one: none from its first attempt on. */
export function dependenciesOf({ phase, attempts, definition }: Job): readonly number[] {
  return phase.status === 'queued' && attempts.length === 0 ? definition.after : [];
}

export function earliest(...times: readonly (number | null)[]): number | null {
  const known = times.filter((time) => time !== null);
  return known.length === 0 ? null : Math.min(...known);
}

/** The time at which this job wants to be looked at if nothing else happens. */
export function deadlineOf(job: Job): number | null {
  switch (job.phase.status) {
    case 'queued':
      return earliest(job.phase.readyAtMonoMs, job.phase.startByMonoMs);
    case 'running':
      // What it has reported is written down also while it stands still.
      return earliest(
        job.phase.paused === null ? earliest(job.phase.deadlineMonoMs, job.phase.leaseUntilMonoMs) : null,
        progressDueMonoMs(job),
      );
    case 'stopping':
      return job.phase.escalateAtMonoMs;
    default:
      return null;
  }
}

/** When this job is to be looked at, to see whether it is idle. */
export function idleCheckOf({ phase }: Job): number | null {
  return phase.status === 'running' ? (phase.idle?.dueMonoMs ?? null) : null;
}

/**
 * Whether the store keeps what this changes. Of a job in the same status, it does not keep the data of its phase, and of what it
 * reports only what is noted: the rest goes with the next change of the attempt.
 */
export function isLasting(change: Change): boolean {
  switch (change.kind) {
    case 'admission':
    case 'retryPace':
    case 'bucket':
      return false;
    case 'job': {
      const { before, after } = change;
      return (
        before === null ||
        before.phase.status !== after.phase.status ||
        differLastingly(before, after) ||
        before.definition !== after.definition ||
        before.queue !== after.queue ||
        before.expiresWallMs !== after.expiresWallMs ||
        before.warnings !== after.warnings
      );
    }
    case 'scope':
      return isLastingOfScope(change.before, change.after);
    default:
      return true;
  }
}

function differLastingly(before: Job, after: Job): boolean {
  if (before.attempts === after.attempts) return false;
  const [last, next] = [before.attempts.at(-1), after.attempts.at(-1)];
  if (before.attempts.length !== after.attempts.length || last === undefined || next === undefined) return true;
  const isEqual = (Object.keys(next) as (keyof Attempt)[]).every(
    (key) => key === 'progress' || last[key] === next[key],
  );
  return !isEqual || notedIn(before.phase) !== notedIn(after.phase);
}

function notedIn(phase: JobPhase): ReportTimes['noted'] {
  return 'reportTimes' in phase ? (phase.reportTimes?.noted ?? null) : null;
}

/** When what a running job reported is to be written down, because it came too soon after what was. */
export function progressDueMonoMs({ phase, attempts }: Job): number | null {
  const noted = notedIn(phase);
  if (phase.status !== 'running' || noted === null) return null;
  return readsTheSame(noted.progress, attempts.at(-1)?.progress ?? null) ? null : noted.monoMs + noteEveryMs;
}

/** Whether a column of `ls` shows both alike. */
export function readsTheSame(one: Progress | null, other: Progress | null): boolean {
  if (one === null || other === null) return one === other;
  return one.message === other.message && wholePercent(one) === wholePercent(other);
}

function wholePercent({ percent }: Progress): number | null {
  return percent === null ? null : Math.floor(percent);
}

/** Whether a job is in another status after this. */
export function isTransition(change: Change): boolean {
  return change.kind === 'job' && change.before?.phase.status !== change.after.phase.status;
}

/** Why a job is in another status now. What an attempt of an earlier life ended for is not why the job is queued again. */
export function causeOfTransition(before: Job | null, { phase, attempts }: Job): Cause | null {
  if (hasEnded(phase)) return phase.cause;
  return before !== null && hasEnded(before.phase) ? null : (attempts.at(-1)?.cause ?? null);
}

/** Brings the state up to date with the changes, in order. Returns how to take them back. */
export function apply(state: State, changes: readonly Change[]): () => void {
  for (const change of changes) {
    applyOne(state, change);
    tally(state, change, +1);
  }
  return () => {
    for (const change of changes.toReversed()) {
      tally(state, change, -1);
      takeBack(state, change);
    }
  };
}

function knownGroup(state: State, name: string): GroupState {
  const found = state.groups.get(name);
  if (found === undefined) throw new Error(`there is no group ${name}`);
  return found;
}

/** Counts by what was decided, not by statuses: to take a start back is no end, and a job may go back to its queue by itself. */
function tally(state: State, change: Change, by: 1 | -1): void {
  if (change.kind !== 'job' || change.before === null) return;
  const from = change.before.phase;
  const to = change.after.phase;
  if (from.status === to.status) return;
  const group = knownGroup(state, change.after.definition.group);
  if (to.status === 'starting') group.starts += by;
  if (hasEnded(to)) group.ends += by;
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
          starts: 0,
          ends: 0,
          bucket: fullBucket,
          ready: new Heap(startsBefore),
        });
      return;
    }
    case 'groupRemoved':
      state.groups.delete(change.was.group.name);
      return;
    case 'bucket':
      knownGroup(state, change.group).bucket = change.after;
      return;
    case 'scope':
      return putScope(state.scopes, change.before, change.after);
    case 'admission':
      state.admission = change.after;
      return;
    case 'retryPace':
      state.retryPace = change.after;
      return;
    case 'jobRemoved': // Only ended jobs are removed, and those are not in the state.
    case 'note':
      return;
  }
}

/** Undoing a new job leaves a gap in the ids: they are never reused. */
function takeBack(state: State, change: Change): void {
  switch (change.kind) {
    case 'job':
      return replaceJob(state, change.after, change.before ?? withPhase(change.after, forgotten));
    case 'group':
      if (change.before === null) state.groups.delete(change.after.name);
      else knownGroup(state, change.after.name).group = change.before;
      return;
    case 'groupRemoved':
      state.groups.set(change.was.group.name, change.was);
      return;
    case 'bucket':
      knownGroup(state, change.group).bucket = change.before;
      return;
    case 'scope':
      return putScope(state.scopes, change.after, change.before ?? neverOpened(change.after));
    case 'admission':
      state.admission = change.before;
      return;
    case 'retryPace':
      state.retryPace = change.before;
      return;
    case 'jobRemoved':
    case 'note':
      return;
  }
}

const forgotten: JobPhase = { status: 'cancelled', cause: 'cancel', finishedWallMs: 0 };

function replaceJob(state: State, before: Job | null, after: Job): void {
  const groupState = groupStateOf(state, after);
  if (before !== null) count(groupStateOf(state, before), before.phase.status, -1);
  const { status } = after.phase;
  count(groupState, status, +1);
  replaceDependent(state, before, after);
  if (after.definition.scope !== null)
    tallyScope(state.scopes.get(after.definition.scope), before, after.phase === forgotten ? null : after);
  state.nextJobId = Math.max(state.nextJobId, after.id + 1);
  if (hasEnded(after.phase)) {
    state.live.delete(after.id);
    return;
  }
  state.live.set(after.id, after);
  // A queued job whose clients come and go keeps the entry that it has.
  const hasEntry = before !== null && isReady(before) && before.definition === after.definition;
  if (isReady(after) && !hasEntry) groupState.ready.push({ jobId: after.id, priority: after.definition.priority });
  const atMonoMs = deadlineOf(after);
  if (atMonoMs !== null && (before === null || deadlineOf(before) !== atMonoMs))
    enter(state, state.deadlines, { atMonoMs, jobId: after.id }, deadlineOf);
  const lookAtMonoMs = idleCheckOf(after);
  if (lookAtMonoMs !== null && (before === null || idleCheckOf(before) !== lookAtMonoMs))
    enter(state, state.idleChecks, { atMonoMs: lookAtMonoMs, jobId: after.id }, idleCheckOf);
}

/** Entries that no longer stand are borne with up to here, and as many as that for each job: each heartbeat leaves one. */
const mostStale = 1_000;
const mostStalePerJob = 4;

function enter(
  state: State,
  entries: Heap<DeadlineEntry>,
  entry: DeadlineEntry,
  wish: (job: Job) => number | null,
): void {
  entries.push(entry);
  if (entries.size <= mostStale + mostStalePerJob * state.live.size) return;
  const seen = new Set<number>();
  entries.keep(({ jobId, atMonoMs }) => {
    const job = state.live.get(jobId);
    const stands = job !== undefined && wish(job) === atMonoMs && !seen.has(jobId);
    if (stands) seen.add(jobId);
    return stands;
  });
}

function groupStateOf(state: State, { id, definition }: Job): GroupState {
  const groupState = state.groups.get(definition.group);
  if (groupState === undefined) throw new Error(`job ${id} is in group ${definition.group}, which does not exist`);
  return groupState;
}

function replaceDependent(state: State, before: Job | null, after: Job): void {
  const was = before === null ? [] : dependenciesOf(before);
  const is = dependenciesOf(after);
  if (was === is) return;
  for (const jobId of was) {
    const dependents = state.dependents.get(jobId);
    if (dependents?.delete(after.id) && dependents.size === 0) state.dependents.delete(jobId);
  }
  for (const jobId of is) {
    const dependents = state.dependents.get(jobId);
    if (dependents) dependents.add(after.id);
    else state.dependents.set(jobId, new Set([after.id]));
  }
}

function count(groupState: GroupState, status: JobStatus, by: 1 | -1): void {
  if (status === 'queued') groupState.queued += by;
  else if (holdsSlot(status)) groupState.active += by;
}
