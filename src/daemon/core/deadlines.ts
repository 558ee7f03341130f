import { type DeadlineEntry, deadlineOf, type Instant, type Job, type State } from './model.ts';

/** The next time at which some job wants to be looked at, or `null`. Forgets deadlines that no longer stand. */
export function nextDeadline(state: State): number | null {
  for (let entry = state.deadlines.peek(); entry !== undefined; entry = state.deadlines.peek()) {
    const job = state.live.get(entry.jobId);
    if (job !== undefined && deadlineOf(job) === entry.atMonoMs) return entry.atMonoMs;
    state.deadlines.pop();
  }
  return null;
}

/** The jobs whose deadline has come. They stay due until a decision gives them another deadline, or none. */
export function dueJobs(state: State, now: Instant): Job[] {
  const due = new Map<Job, DeadlineEntry>();
  for (let at = nextDeadline(state); at !== null && at <= now.monoMs; at = nextDeadline(state)) {
    const entry = state.deadlines.pop();
    const job = entry && state.live.get(entry.jobId);
    if (entry && job) due.set(job, entry);
  }
  for (const entry of due.values()) state.deadlines.push(entry);
  return [...due.keys()];
}
