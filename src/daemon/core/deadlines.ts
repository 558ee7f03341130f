import type { Heap } from './heap.ts';
import { type DeadlineEntry, deadlineOf, earliest, type Instant, idleCheckOf, type Job, type State } from './model.ts';
import { nextScopeDeadline } from './scopes.ts';

/** When a job wants something, as it now stands. */
type Wish = (job: Job) => number | null;

/** The next time at which some job wants to be looked at, a group has a token for one that waits, or a scope's client is waited for no longer; `null`: there is none. */
export function nextDeadline(state: State): number | null {
  const times = [
    next(state, state.deadlines, deadlineOf),
    next(state, state.idleChecks, idleCheckOf),
    nextScopeDeadline(state),
  ];
  for (const { bucket } of state.groups.values()) times.push(bucket.wakeAtMonoMs);
  return earliest(...times);
}

/** The jobs whose deadline has come. They stay due until a decision gives them another deadline, or none. */
export function dueJobs(state: State, now: Instant): Job[] {
  return due(state, state.deadlines, deadlineOf, now);
}

/** The running jobs that are to be checked for idleness. They stay due likewise. */
export function dueIdleChecks(state: State, now: Instant): Job[] {
  return due(state, state.idleChecks, idleCheckOf, now);
}

function next(state: State, entries: Heap<DeadlineEntry>, wish: Wish): number | null {
  for (let entry = entries.peek(); entry !== undefined; entry = entries.peek()) {
    const job = state.live.get(entry.jobId);
    if (job !== undefined && wish(job) === entry.atMonoMs) return entry.atMonoMs;
    entries.pop();
  }
  return null;
}

function due(state: State, entries: Heap<DeadlineEntry>, wish: Wish, now: Instant): Job[] {
  const found = new Map<Job, DeadlineEntry>();
  for (let at = next(state, entries, wish); at !== null && at <= now.monoMs; at = next(state, entries, wish)) {
    const entry = entries.pop();
    const job = entry && state.live.get(entry.jobId);
    if (entry && job) found.set(job, entry);
  }
  for (const entry of found.values()) entries.push(entry);
  return [...found.keys()];
}
