import {
  apply,
  type Change,
  droppedLast,
  endLeftovers,
  type Group,
  groupEnters,
  type HostLimits,
  type Instant,
  type Job,
  recover,
  restoreScopes,
  revived,
  type State,
  settleDependents,
} from '../core/index.ts';
import type { Snapshot } from '../store/index.ts';

/** What the daemon that takes over has found out of jobs and host. */
interface Found {
  readonly hostLimits: HostLimits;
  readonly outputBytes: (job: Job) => number;
  readonly removeOutput: (job: Job, attempts: readonly number[]) => void;
}

interface TakenOver {
  /** Groups that the store does not know. */
  readonly added: readonly Change[];
  /** What became of jobs and scopes of the earlier daemon. */
  readonly recovered: readonly Change[];
  /** Jobs that had lost their supervisor. */
  readonly lost: number;
}

/** Fills the state with what the store holds, and ends what was under way when the earlier daemon died. The store has yet to be told. */
export function takeOver(
  state: State,
  snapshot: Snapshot,
  defaultGroups: readonly Group[],
  { hostLimits, outputBytes, removeOutput }: Found,
  now: Instant,
): TakenOver {
  const known = new Set(snapshot.groups.map((group) => group.name));
  const entering = (groups: readonly Group[]) => groups.flatMap((group) => groupEnters(group, now));
  const added = entering(defaultGroups.filter((group) => !known.has(group.name)));
  restoreScopes(state, snapshot.scopes, now);
  const jobs = revived(snapshot.jobs, now, hostLimits);
  const loaded = jobs.map((after): Change => ({ kind: 'job', before: null, after }));
  apply(state, [...entering(snapshot.groups), ...added, ...loaded]);
  state.nextJobId = Math.max(state.nextJobId, snapshot.nextJobId);
  // Before anything is written down: should this daemon die as well, the next one finds the same.
  for (const job of jobs) removeOutput(job, droppedLast(job));
  const changes = recover(state, jobs, outputBytes, now);
  const { changes: ended } = settleDependents(state, { changes, effects: [] }, now);
  apply(state, ended);
  const { changes: leftovers } = settleDependents(state, endLeftovers(state, now), now);
  apply(state, leftovers);
  const lost = jobs.filter(({ phase }) => phase.status !== 'queued').length;
  return { added, recovered: [...ended, ...leftovers], lost };
}
