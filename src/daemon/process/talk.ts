import { hasRun, type Talk } from '../core/index.ts';
import { connectionsOf, type ReadBudget, waitsOf } from '../linux/index.ts';

/** Threads and descriptors that are looked at in one go, for one job: the event loop waits meanwhile, some 10 µs for each. */
const mostReads = 500;

/**
 * What the processes of a job have to do with others. The connections of one that has not run since are as they were, and those of a job
 * that is looked at for the first time are not asked for yet.
 *
 * @returns `null` where there is too much to look at
 */
export function talkOf(
  pids: readonly number[],
  before: ReadonlyMap<number, Talk> | null,
): ReadonlyMap<number, Talk> | null {
  const budget: ReadBudget = { left: mostReads };
  const family = new Set(pids);
  const found = new Map<number, Talk>();
  for (const pid of pids) {
    const waits = waitsOf(pid, budget);
    if (waits === undefined) continue; // It has gone.
    if (waits === null) return null;
    const known = before?.get(pid);
    const asks = before !== null && hasRun(known, waits);
    found.set(pid, { waits, connections: asks ? connectionsOf(pid, family, budget) : (known?.connections ?? null) });
  }
  return budget.left < 0 ? null : found;
}
