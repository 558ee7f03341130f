import { type DeadlineEntry, deadlineOf, type Instant, type Job, type State } from './model.ts';

/** The next time at which some job wants to be looked at, or a group has a token for one that waits; `null`: there is none. */
export function nextDeadline(state: State): number | null {
  let next = nextDeadlineOfJobs(state);
  for (const { bucket } of state.groups.values()) {
    const { wakeAtMonoMs } = bucket;
    if (wakeAtMonoMs !== null && (next === null || wakeAtMonoMs < next)) next = wakeAtMonoMs;
  }
  return next;
}

/** Forgets deadlines that no longer stand. */
function nextDeadlineOfJobs(state: State): number | null {
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
  for (let at = nextDeadlineOfJobs(state); at !== null && at <= now.monoMs; at = nextDeadlineOfJobs(state)) {
    const entry = state.deadlines.pop();
    const job = entry && state.live.get(entry.jobId);
    if (entry && job) due.set(job, entry);
  }
  for (const entry of due.values()) state.deadlines.push(entry);
  return [...due.keys()];
}
