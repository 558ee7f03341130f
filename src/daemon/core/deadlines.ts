/** When the daemon is to look at its jobs, groups and scopes if nothing else happens. */
import type { Heap } from './heap.ts';
import type { Instant } from './instant.ts';
import type { Job } from './job.ts';
import { progressDueMonoMs } from './reports.ts';
import { nextScopeDeadline } from './scopes.ts';
import type { DeadlineEntry, State } from './state.ts';

/** When a job wants something, as it now stands. */
type Wish = (job: Job) => number | null;

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

/** Enters when a job that has become this is to be looked at. A time that it had before has its entry already. */
export function enterDeadlines(state: State, before: Job | null, after: Job): void {
  enterWish(state, state.deadlines, deadlineOf, before, after);
  enterWish(state, state.idleChecks, idleCheckOf, before, after);
}

/** Entries that no longer stand are borne with up to here, and as many as that for each job: each heartbeat leaves one. */
const mostStale = 1_000;
const mostStalePerJob = 4;

function enterWish(state: State, entries: Heap<DeadlineEntry>, wish: Wish, before: Job | null, after: Job): void {
  const atMonoMs = wish(after);
  if (atMonoMs === null || (before !== null && wish(before) === atMonoMs)) return;
  entries.push({ atMonoMs, jobId: after.id });
  if (entries.size <= mostStale + mostStalePerJob * state.live.size) return;
  const seen = new Set<number>();
  entries.keep(({ jobId, atMonoMs: enteredMonoMs }) => {
    const job = state.live.get(jobId);
    const stands = job !== undefined && wish(job) === enteredMonoMs && !seen.has(jobId);
    if (stands) seen.add(jobId);
    return stands;
  });
}

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

function earliest(...times: readonly (number | null)[]): number | null {
  const known = times.filter((time) => time !== null);
  return known.length === 0 ? null : Math.min(...known);
}
