/** Changes are made to the state, and taken back. */
import type { JobStatus } from '../../protocol/index.ts';
import type { Change } from './changes.ts';
import { enterDeadlines } from './deadlines.ts';
import { dependenciesOf } from './dependencies.ts';
import { Heap } from './heap.ts';
import { type Job, withPhase } from './job.ts';
import { hasEnded, holdsSlot, type JobPhase } from './phase.ts';
import { neverOpened, putScope, tallyScope } from './scope-index.ts';
import { fullBucket, type GroupState, type State, startsBefore } from './state.ts';
import { isReady } from './waiting.ts';

/** Brings the state up to date with the changes, in order. Returns how to take them back. */
export function apply(state: State, changes: readonly Change[]): () => void {
  for (const change of changes) {
    applyOne(state, change);
    tally(state, change, +1);
  }
  return () => {
    for (const change of changes.toReversed()) {
      tally(state, change, -1);
      takeBack(state, change);
    }
  };
}

/** Counts by what was decided, not by statuses: to take a start back is no end, and a job may go back to its queue by itself. */
function tally(state: State, change: Change, by: 1 | -1): void {
  if (change.kind !== 'job' || change.before === null) return;
  const from = change.before.phase;
  const to = change.after.phase;
  if (from.status === to.status) return;
  const group = knownGroup(state, change.after.definition.group);
  if (to.status === 'starting') group.starts += by;
  if (hasEnded(to)) group.ends += by;
}

function applyOne(state: State, change: Change): void {
  switch (change.kind) {
    case 'job':
      return replaceJob(state, change.before, change.after);
    case 'group': {
      const known = state.groups.get(change.after.name);
      if (known) known.group = change.after;
      else
        state.groups.set(change.after.name, {
          group: change.after,
          queued: 0,
          active: 0,
          starts: 0,
          ends: 0,
          bucket: fullBucket,
          ready: new Heap(startsBefore),
        });
      return;
    }
    case 'groupRemoved':
      state.groups.delete(change.was.group.name);
      return;
    case 'bucket':
      knownGroup(state, change.group).bucket = change.after;
      return;
    case 'scope':
      return putScope(state.scopes, change.before, change.after);
    case 'admission':
      state.admission = change.after;
      return;
    case 'retryPace':
      state.retryPace = change.after;
      return;
    case 'calls':
      return countCalls(state, change.jobIds, change.by);
    case 'jobRemoved': // Only ended jobs are removed, and those are not in the state.
    case 'note':
      return;
  }
}

/** Undoing a new job leaves a gap in the ids: they are never reused. */
function takeBack(state: State, change: Change): void {
  switch (change.kind) {
    case 'job':
      return replaceJob(state, change.after, change.before ?? withPhase(change.after, forgotten));
    case 'group':
      if (change.before === null) state.groups.delete(change.after.name);
      else knownGroup(state, change.after.name).group = change.before;
      return;
    case 'groupRemoved':
      state.groups.set(change.was.group.name, change.was);
      return;
    case 'bucket':
      knownGroup(state, change.group).bucket = change.before;
      return;
    case 'scope':
      return putScope(state.scopes, change.after, change.before ?? neverOpened(change.after));
    case 'admission':
      state.admission = change.before;
      return;
    case 'retryPace':
      state.retryPace = change.before;
      return;
    case 'calls':
      return countCalls(state, change.jobIds, change.by === 1 ? -1 : 1);
    case 'jobRemoved':
    case 'note':
      return;
  }
}

function countCalls(state: State, jobIds: readonly number[], by: 1 | -1): void {
  for (const jobId of jobIds) {
    const calls = (state.calls.get(jobId) ?? 0) + by;
    if (calls === 0) state.calls.delete(jobId);
    else state.calls.set(jobId, calls);
  }
}

const forgotten: JobPhase = { status: 'cancelled', cause: 'cancel', finishedWallMs: 0 };

function replaceJob(state: State, before: Job | null, after: Job): void {
  const groupState = groupStateOf(state, after);
  if (before !== null) count(groupStateOf(state, before), before.phase.status, -1);
  const { status } = after.phase;
  count(groupState, status, +1);
  replaceDependent(state, before, after);
  if (after.definition.scope !== null)
    tallyScope(state.scopes.get(after.definition.scope), before, after.phase === forgotten ? null : after);
  state.nextJobId = Math.max(state.nextJobId, after.id + 1);
  if (hasEnded(after.phase)) {
    state.live.delete(after.id);
    return;
  }
  state.live.set(after.id, after);
  // A queued job whose clients come and go keeps the entry that it has.
  const hasEntry = before !== null && isReady(before) && before.definition === after.definition;
  if (isReady(after) && !hasEntry) groupState.ready.push({ jobId: after.id, priority: after.definition.priority });
  enterDeadlines(state, before, after);
}

function replaceDependent(state: State, before: Job | null, after: Job): void {
  const was = before === null ? [] : dependenciesOf(before);
  const is = dependenciesOf(after);
  if (was === is) return;
  for (const jobId of was) {
    const dependents = state.dependents.get(jobId);
    if (dependents?.delete(after.id) && dependents.size === 0) state.dependents.delete(jobId);
  }
  for (const jobId of is) {
    const dependents = state.dependents.get(jobId);
    if (dependents) dependents.add(after.id);
    else state.dependents.set(jobId, new Set([after.id]));
  }
}

function count(groupState: GroupState, status: JobStatus, by: 1 | -1): void {
  if (status === 'queued') groupState.queued += by;
  else if (holdsSlot(status)) groupState.active += by;
}

function groupStateOf(state: State, { id, definition }: Job): GroupState {
  const groupState = state.groups.get(definition.group);
  if (groupState === undefined) throw new Error(`job ${id} is in group ${definition.group}, which does not exist`);
  return groupState;
}

function knownGroup(state: State, name: string): GroupState {
  const found = state.groups.get(name);
  if (found === undefined) throw new Error(`there is no group ${name}`);
  return found;
}
