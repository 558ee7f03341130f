/**
 * Failed attempts are run again: which of them, after which pause, and when that is given up. And not too many at once: the
 * pace at which retries come due is the damper against a storm of jobs that fail together.
 */
import { type Cause, formatDuration, type RetryPolicy } from '../../protocol/index.ts';
import type { Attempt } from './attempt.ts';
import type { Change } from './changes.ts';
import { type Decision, merge, nothing, replace } from './decision.ts';
import type { Instant } from './instant.ts';
import { currentAttempt, type Job, type QueueRecord } from './job.ts';
import type { RetryPace, State } from './state.ts';
import { freshQueueRecord } from './waiting.ts';

/** Beyond so many doublings every pause is at its limit, and a number would not hold more for ever. */
const maxDoublings = 64;

export interface BackoffInput extends Pick<RetryPolicy, 'delayMs' | 'maxDelayMs' | 'jitter'> {
  /** How often the pause has doubled. */
  readonly doublings: number;
  /** From 0 up to 1. */
  readonly unitRandom: number;
}

/** The pause before a retry: doubled each time, up to a limit, and less a share that is left to chance. */
export function backoffMs({ doublings, delayMs, maxDelayMs, jitter, unitRandom }: BackoffInput): number {
  const longest = Math.min(maxDelayMs, delayMs * 2 ** doublings);
  return Math.round(longest * (1 - jitter * unitRandom));
}

/** Successive multiples of the golden ratio spread evenly over the unit, so jobs that fail in one turn do not share its chance. */
const goldenRatio = 0.618_033_988_749_895;

export function chanceOf(jobId: number, unitRandom: number): number {
  return (unitRandom + jobId * goldenRatio) % 1;
}

/** What becomes of a job whose attempt has failed: its place in the queue, or why it is given up. */
export type AfterFailure =
  | { readonly next: 'retry'; readonly queue: QueueRecord }
  | { readonly next: 'fail'; readonly queue: QueueRecord; readonly message: string | null };

/** @param job whose current attempt is over, and has failed */
export function afterFailure(job: Job, now: Instant): AfterFailure {
  const { definition, queue } = job;
  const { retry } = definition.policies;
  const attempt = currentAttempt(job);
  const mayRetry = !queue.stopped && covers(retry, attempt);
  if (!mayRetry || (retry.limit !== null && queue.retries >= retry.limit))
    return { next: 'fail', queue, message: null };
  const { breakerFailures, breakerWindowMs } = retry;
  const failures = breakerFailures === null ? [] : [...known(queue, now), now.steadyWallMs].slice(-breakerFailures);
  const [first = now.steadyWallMs] = failures;
  const failed = { ...queue, failuresWallMs: failures };
  if (failures.length === breakerFailures && now.steadyWallMs - first <= breakerWindowMs) {
    const message = `gave up: ${breakerFailures} failures within ${formatDuration(breakerWindowMs)}; last: ${endOf(attempt)}`;
    return { next: 'fail', queue: failed, message };
  }
  const { doublings } = queue;
  const pauseMs = backoffMs({ ...retry, doublings, unitRandom: chanceOf(job.id, now.unitRandom) });
  return {
    next: 'retry',
    queue: {
      ...freshQueueRecord(now),
      held: queue.held,
      failuresWallMs: failures,
      notBefore: { wallMs: now.wallMs + pauseMs, clock: 'elapsed' },
      retries: queue.retries + 1,
      doublings: Math.min(doublings + 1, maxDoublings),
    },
  };
}

/** A failure that is still to come was written down by an earlier daemon whose clock was ahead: nobody knows how old it is. */
function known({ failuresWallMs }: QueueRecord, now: Instant): number[] {
  return failuresWallMs.filter((wallMs) => wallMs <= now.steadyWallMs);
}

function covers({ causes, exitCodes }: RetryPolicy, { cause, exit }: Attempt): boolean {
  if (cause === null || !causes.includes(cause)) return false;
  return cause !== 'exit' || exitCodes === null || (exit?.code != null && exitCodes.includes(exit.code));
}

/** An end in a word or two, and what there is to say beyond that. */
function endOf({ cause, exit, message }: Attempt): string {
  const end = cause === 'exit' ? `exit ${exit?.code}` : cause === 'signal' ? (exit?.signal ?? cause) : cause;
  return message === null ? `${end}` : `${end} (${message})`;
}

/** A job that leaves its running phase: one that ran well for longer than its longest pause begins again with the shortest. */
export function afterRun(job: Job, now: Instant): Job {
  const { phase, queue, definition } = job;
  if (phase.status !== 'running' || queue.doublings === 0) return job;
  const ranWell = now.monoMs - phase.startedMonoMs > definition.policies.retry.maxDelayMs;
  return ranWell ? { ...job, queue: { ...queue, doublings: 0 } } : job;
}

/** Ends that somebody asked for. What ends so is not run again. */
export function isAskedFor(cause: Cause): boolean {
  return cause === 'cancel' || cause === 'scope' || cause === 'lease' || cause === 'reset';
}

/** A job that was ending for a reason of its own when somebody asked for its end. It keeps the reason, and is not run again. */
export function withoutRetry(job: Job, cause: Cause): Job {
  const { cause: first } = currentAttempt(job);
  if (!isAskedFor(cause) || first === null || isAskedFor(first) || job.queue.stopped) return job;
  return { ...job, queue: { ...job.queue, stopped: true } };
}

/** Whether the job waits for the pause before its retry to be over. */
export function waitsForRetry({ phase, queue }: Job): boolean {
  return phase.status === 'queued' && queue.retries > 0 && queue.notBefore?.clock === 'elapsed';
}

/**
 * Retries whose pause is over, each at its turn. A token bucket, written as the time at which the next token would be there if
 * none were saved up (GCRA): up to `burst` may go at once, the others get a time of their own, one behind the other.
 *
 * @param due retries whose time has come
 * @param ready what the job becomes when it may start
 */
export function paceRetries(before: RetryPace, due: readonly Job[], ready: (job: Job) => Job, now: Instant): Decision {
  let pace = before;
  const changes: Change[] = [];
  for (const job of due) {
    if (job.phase.status !== 'queued') continue;
    const { turnMonoMs, after } = takeTurn(pace, now);
    pace = after;
    const next: Job =
      turnMonoMs <= now.monoMs
        ? ready(job)
        : { ...job, phase: { ...job.phase, readyAtMonoMs: turnMonoMs, hasTurn: true } };
    changes.push(...replace(job, next).changes);
  }
  if (pace !== before) changes.push({ kind: 'retryPace', before, after: pace });
  return { changes, effects: [] };
}

function takeTurn(pace: RetryPace, now: Instant): { turnMonoMs: number; after: RetryPace } {
  const intervalMs = 1_000 / pace.perSecond;
  const nextMonoMs = Math.max(pace.nextMonoMs, now.monoMs);
  const savedMs = (pace.burst - 1) * intervalMs;
  return { turnMonoMs: nextMonoMs - savedMs, after: { ...pace, nextMonoMs: nextMonoMs + intervalMs } };
}

/** How many retries have been given a time that is still to come. */
export function retriesHeldBack({ nextMonoMs, burst, perSecond }: RetryPace, nowMonoMs: number): number {
  return Math.max(0, Math.ceil(((nextMonoMs - nowMonoMs) * perSecond) / 1_000 - 1e-6) - burst);
}

/**
 * Another pace, also for the retries that have a turn which is still to come: they keep their order. What has been taken out of the
 * bucket stays taken, as far as the new one is so large.
 */
export function setRetryPace(
  state: State,
  { perSecond, burst }: Pick<RetryPace, 'perSecond' | 'burst'>,
  ready: (job: Job) => Job,
  now: Instant,
): Decision {
  const before = state.retryPace;
  if (before.perSecond === perSecond && before.burst === burst) return nothing;
  const waiting = [...state.live.values()]
    .map((job) => ({ job, turnMonoMs: turnOf(job) }))
    .filter(({ turnMonoMs }) => turnMonoMs > now.monoMs)
    .sort((one, other) => one.turnMonoMs - other.turnMonoMs)
    .map(({ job }) => job);
  const taken = Math.max(0, ((before.nextMonoMs - now.monoMs) * before.perSecond) / 1_000 - waiting.length);
  const after = { perSecond, burst, nextMonoMs: now.monoMs + (Math.min(taken, burst) * 1_000) / perSecond };
  return merge([
    { changes: [{ kind: 'retryPace', before, after }], effects: [] },
    paceRetries(after, waiting, ready, now),
  ]);
}

/** When a job that waits for its turn has it. */
function turnOf({ phase }: Job): number {
  return phase.status === 'queued' && phase.hasTurn === true ? (phase.readyAtMonoMs ?? 0) : 0;
}
