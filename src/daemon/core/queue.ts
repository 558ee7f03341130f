import type { Decision } from './decision.ts';
import type { Effect } from './events.ts';
import { beginAttempt } from './launching.ts';
import { type Change, type GroupState, isReady, type Job, type State } from './model.ts';

/**
 * Fills the free slots of every group, highest priority first, then oldest. Takes the entries out of the ready heaps;
 * taking the changes back (`apply`'s undo) puts them in again.
 */
export function schedule(state: State, tier: string): Decision {
  const changes: Change[] = [];
  const effects: Effect[] = [];
  if (state.admission === 'open') {
    for (const group of state.groups.values()) {
      const taken = new Set<number>();
      for (let free = group.group.parallel - group.active; free > 0; free -= 1) {
        const job = takeReady(state, group, taken);
        if (job === undefined) break;
        taken.add(job.id);
        const starting = beginAttempt(job, tier);
        changes.push({ kind: 'job', before: job, after: starting });
        effects.push({ type: 'launch', job: starting });
      }
    }
  }
  return { changes, effects };
}

/** Whether a stop of the daemon is complete: nothing runs, and nothing will be started. */
export function isDrained(state: State): boolean {
  if (state.admission !== 'closing') return false;
  for (const group of state.groups.values()) if (group.active > 0) return false;
  return true;
}

/** A job may have several entries, if changes to it were taken back; it is taken once. */
function takeReady(state: State, group: GroupState, taken: ReadonlySet<number>): Job | undefined {
  for (let entry = group.ready.pop(); entry !== undefined; entry = group.ready.pop()) {
    const job = state.live.get(entry.jobId);
    if (job !== undefined && isReady(job) && !taken.has(job.id)) return job;
  }
  return undefined;
}
