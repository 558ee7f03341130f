/** What is known of a job. Records are immutable: a change is a new record. */
import type { HookSpec, LimitName, LimitsView, Policies, ResourcesSpec, ResourcesView } from '../../protocol/index.ts';
import type { Attempt } from './attempt.ts';
import type { Instant } from './instant.ts';
import type { JobPhase } from './phase.ts';

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

/** What a job asked for, how it is held to it, and what there is to say of that. */
export interface SettledResources extends ResourcesSpec {
  readonly enforcedBy: Partial<Record<LimitName, LimitsView[LimitName]['by']>>;
  /** Absent in a record of an earlier daemon: `job`. */
  readonly from?: ResourcesView['from'];
  /** Of limits that are not enforced: why. */
  readonly shortfalls: readonly string[];
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
  /** What is left of its start deadline while that stands still, because it or its group is paused. Absent: it does not, or there is none. */
  readonly startLeftMs?: number;
  /** Retries so far, since it was submitted or retried by a client. */
  readonly retries: number;
  /** How often the pause before a retry has doubled since an attempt ran well. */
  readonly doublings: number;
  /** When its newest attempts failed, newest last, on the steady wall clock: what the breaker counts. */
  readonly failuresWallMs: readonly number[];
  /** A client stopped it while it was ending for another reason: it is not run again. */
  readonly stopped: boolean;
}

/** A pause, as it survives the daemon and the attempt. */
export interface HeldBack {
  /**
   * Whoever has a group go on does so with the jobs that its pause froze, not with those that were paused by themselves. A job
   * that waits is not held by its group.
   */
  readonly by: 'job' | 'group';
}

/** Clients that took an interest in a job: they held a `wait` or `logs` call on it, or said that it should live on. */
export interface ClientPresence {
  /** When the newest call began or ended, or the newest heartbeat came; `null`: none ever has. */
  readonly seen: Pick<Instant, 'monoMs' | 'wallMs'> | null;
}

export const noClient: ClientPresence = { seen: null };

export function currentAttempt(job: Job): Attempt {
  const attempt = job.attempts.at(-1);
  if (attempt === undefined) throw new Error(`job ${job.id} is ${job.phase.status} and has no attempt`);
  return attempt;
}

/** How many attempts a job has had, also where the oldest are not kept any more: the number of the newest. 0 before the first. */
export function attemptsBegun({ attempts }: Job): number {
  return attempts.at(-1)?.number ?? 0;
}

/** A copy of the job whose current attempt has these fields replaced. */
export function withAttempt(job: Job, fields: Partial<Attempt>): Job {
  return { ...job, attempts: [...job.attempts.slice(0, -1), { ...currentAttempt(job), ...fields }] };
}

export function withPhase(job: Job, phase: JobPhase): Job {
  return { ...job, phase };
}
