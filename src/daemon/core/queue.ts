import type { Change } from './changes.ts';
import type { Decision } from './decision.ts';
import type { Effect } from './effects.ts';
import type { Instant } from './instant.ts';
import type { Job } from './job.ts';
import { startAttempt } from './launching.ts';
import { tokenAtMonoMs, withoutToken } from './rate.ts';
import type { Bucket, GroupState, State } from './state.ts';
import { isReady } from './waiting.ts';

/** Starts of a group in one turn. Each costs about a millisecond, in which nobody is answered. */
const maxStartsPerTurn = 32;

/**
 * Fills the free slots of every group that starts its jobs by itself, highest priority first, then oldest, as fast as its rate
 * allows. Takes the entries out of the ready heaps; taking the changes back (`apply`'s undo) puts them in again.
 */
export function schedule(state: State, tier: string, now: Instant): Decision {
  const changes: Change[] = [];
  const effects: Effect[] = [];
  let goesOn = false;
  for (const group of state.groups.values()) {
    const { jobs, bucket } = state.admission === 'open' ? nextStarts(state, group, now) : noStarts(group);
    for (const job of jobs) {
      const start = startAttempt(job, tier, now);
      changes.push(...start.changes);
      effects.push(...start.effects);
    }
    changes.push(...bucketChange(group, bucket));
    if (jobs.length === maxStartsPerTurn) goesOn = true;
  }
  if (goesOn) effects.push({ type: 'goOn' });
  return { changes, effects };
}

interface Starts {
  readonly jobs: readonly Job[];
  readonly bucket: Bucket;
}

function noStarts({ bucket }: GroupState): Starts {
  return { jobs: [], bucket: awaitedUntil(null, bucket) };
}

/** @param wakeAtMonoMs when the token comes that a job waits for; `null`: none does */
function awaitedUntil(wakeAtMonoMs: number | null, bucket: Bucket): Bucket {
  const isAwaited = wakeAtMonoMs !== null;
  const isSo = bucket.wakeAtMonoMs === wakeAtMonoMs && bucket.isAwaited === isAwaited;
  return isSo ? bucket : { ...bucket, wakeAtMonoMs, isAwaited };
}

/** Whether the group starts a job by itself as soon as there is a slot, a token and a job that is ready. */
export function startsByItself({ group }: GroupState): boolean {
  return group.mode === 'auto' && !group.paused;
}

function nextStarts(state: State, group: GroupState, now: Instant): Starts {
  const { parallel, ratePerSecond } = group.group;
  if (!startsByItself(group)) return noStarts(group);
  const taken = new Set<number>();
  const jobs: Job[] = [];
  let bucket = group.bucket;
  let wakeAtMonoMs: number | null = null;
  for (let free = Math.min(parallel - group.active, maxStartsPerTurn); free > 0; free -= 1) {
    const job = nextReady(state, group, taken);
    if (job === undefined) break;
    const atMonoMs = tokenAtMonoMs(group.group, bucket);
    if (atMonoMs > now.monoMs) {
      wakeAtMonoMs = atMonoMs;
      break;
    }
    group.ready.pop();
    taken.add(job.id);
    jobs.push(job);
    if (ratePerSecond !== null) bucket = withoutToken(group.group, bucket, now);
  }
  return { jobs, bucket: awaitedUntil(wakeAtMonoMs, bucket) };
}

function bucketChange({ group, bucket: before }: GroupState, after: Bucket): Change[] {
  return before === after ? [] : [{ kind: 'bucket', group: group.name, before, after }];
}

/** Starts one job at a client's wish. The caller has seen that there is a slot, a token and a job. */
export function startOne(group: GroupState, job: Job, tier: string, now: Instant): Decision {
  const { changes, effects } = startAttempt(job, tier, now);
  return { changes: [...changes, ...bucketChange(group, withoutToken(group.group, group.bucket, now))], effects };
}

/** A group whose next token was waited for has been woken: the scheduling of this turn looks at it again. */
export function wake(state: State, now: Instant): Decision {
  const changes = [...state.groups.values()].flatMap((group): Change[] => {
    const { wakeAtMonoMs } = group.bucket;
    const isDue = wakeAtMonoMs !== null && wakeAtMonoMs <= now.monoMs;
    return isDue ? bucketChange(group, { ...group.bucket, wakeAtMonoMs: null }) : [];
  });
  return { changes, effects: [] };
}

/** Whether a stop of the daemon is complete: nothing runs, and nothing will be started. */
export function isDrained(state: State): boolean {
  if (state.admission !== 'closing') return false;
  for (const group of state.groups.values()) if (group.active > 0) return false;
  return true;
}

const noneTaken: ReadonlySet<number> = new Set();

/**
 * The job of a group that is next to start. It is left in the heap, and entries before it that no longer stand are forgotten: of
 * jobs that are not ready any more, that have another priority or group by now, or that have several entries, because changes to
 * them were taken back.
 */
export function nextReady(state: State, group: GroupState, taken: ReadonlySet<number> = noneTaken): Job | undefined {
  for (let entry = group.ready.peek(); entry !== undefined; entry = group.ready.peek()) {
    const job = state.live.get(entry.jobId);
    const stands =
      job !== undefined &&
      isReady(job) &&
      job.definition.priority === entry.priority &&
      job.definition.group === group.group.name &&
      !taken.has(job.id);
    if (stands) return job;
    group.ready.pop();
  }
  return undefined;
}
