import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  apply,
  deadlineOf,
  dueJobs,
  emptyState,
  type Instant,
  type Job,
  type JobPhase,
  justQueued,
  justRunning,
  nextDeadline,
  type State,
  withPhase,
} from '../../src/daemon/core/index.ts';
import { groupOf, instant, jobOf } from '../support/records.ts';

const at = (monoMs: number): Instant => instant(monoMs, 0);

const running = (deadlineMonoMs: number | null): JobPhase => ({ ...justRunning, deadlineMonoMs });
const stopping = (escalateAtMonoMs: number): JobPhase => ({
  status: 'stopping',
  escalateAtMonoMs,
  killed: false,
  unkillable: false,
});
const ended: JobPhase = { status: 'failed', cause: 'exit', finishedWallMs: 0 };

function job(id: number, phase: JobPhase): Job {
  return withPhase(jobOf(id), phase);
}

/** Jobs 1, 2, 3, … in these phases. */
function stateOf(...phases: JobPhase[]): State {
  const state = emptyState();
  apply(state, [{ kind: 'group', before: null, after: groupOf('default', { parallel: 9 }) }]);
  apply(
    state,
    phases.map((phase, index) => ({ kind: 'job', before: null, after: job(index + 1, phase) })),
  );
  return state;
}

function move(state: State, jobId: number, phase: JobPhase): () => void {
  const before = state.live.get(jobId) as Job;
  return apply(state, [{ kind: 'job', before, after: withPhase(before, phase) }]);
}

function dueIds(state: State, monoMs: number): number[] {
  return dueJobs(state, at(monoMs)).map(({ id }) => id);
}

const alarms: { name: string; phases: JobPhase[]; next: number | null }[] = [
  { name: 'there is no alarm without jobs', phases: [], next: null },
  {
    name: 'queued, starting and unlimited jobs want none',
    phases: [justQueued, { status: 'starting', sinceMonoMs: 0, stopRequested: null }, running(null)],
    next: null,
  },
  { name: 'the earliest deadline is the alarm', phases: [running(30), stopping(10), running(20)], next: 10 },
  { name: 'a deadline beyond 2^31 ms is kept as it is', phases: [running(2 ** 41)], next: 2 ** 41 },
];

for (const { name, phases, next } of alarms) {
  test(name, () => assert.equal(nextDeadline(stateOf(...phases)), next));
}

test('jobs are due at their deadline, not before, and in its order', () => {
  const state = stateOf(running(30), stopping(10), running(20), running(31));
  assert.deepEqual(dueIds(state, 9), []);
  assert.deepEqual(dueIds(state, 30), [2, 3, 1]);
});

test('a deadline that was replaced is forgotten, be it by a later or by an earlier one', () => {
  const state = stateOf(running(10), running(20));
  move(state, 1, stopping(50));
  move(state, 2, stopping(5));
  assert.equal(nextDeadline(state), 5);
  assert.deepEqual(dueIds(state, 49), [2]);
  move(state, 2, ended);
  assert.equal(nextDeadline(state), 50);
});

test('the deadline of a job that has ended is forgotten', () => {
  const state = stateOf(running(10));
  move(state, 1, ended);
  assert.equal(nextDeadline(state), null);
  assert.deepEqual(dueIds(state, 99), []);
});

test('a job with two deadlines that have passed is due once', () => {
  const state = stateOf(running(10));
  move(state, 1, stopping(20));
  move(state, 1, running(10));
  assert.deepEqual(dueIds(state, 30), [1]);
});

test('a deadline that was replaced and restored stands again', () => {
  const state = stateOf(running(10));
  const undo = move(state, 1, stopping(20));
  assert.equal(nextDeadline(state), 20);
  undo();
  assert.equal(nextDeadline(state), 10);
  assert.deepEqual(dueIds(state, 10), [1]);
});

test('a due job whose decision could not be committed is due again', () => {
  const state = stateOf(running(10));
  assert.deepEqual(dueIds(state, 10), [1]);
  const undo = move(state, 1, stopping(20));
  undo();
  assert.deepEqual(dueIds(state, 10), [1]);
});

test('a due job stays due until it is decided upon', () => {
  const state = stateOf(running(10));
  assert.deepEqual(dueIds(state, 10), [1]);
  assert.equal(nextDeadline(state), 10);
  assert.deepEqual(dueIds(state, 10), [1]);
});

test('10,000 replaced deadlines do not pile up once the alarm was asked for', () => {
  const state = stateOf(running(1));
  for (let monoMs = 2; monoMs <= 10_000; monoMs += 1) {
    move(state, 1, stopping(monoMs));
    nextDeadline(state);
  }
  assert.equal(state.deadlines.size, 1);
});

/** One job gets another phase; some of these turns cannot be written down, and are taken back. */
const turn = fc.record({
  jobId: fc.integer({ min: 1, max: 6 }),
  phase: fc.oneof(
    fc.option(fc.integer({ min: 0, max: 40 }), { nil: null }).map(running),
    fc.integer({ min: 0, max: 40 }).map(stopping),
    fc.constant(justQueued),
  ),
  isTakenBack: fc.boolean(),
});

test('whatever changes and is taken back, the alarm is the earliest deadline, and what is due is what has reached its own', () => {
  fc.assert(
    fc.property(fc.array(turn, { maxLength: 60 }), fc.integer({ min: 0, max: 41 }), (turns, nowMs) => {
      const state = stateOf(...Array.from({ length: 6 }, () => running(null)));
      const model = new Map<number, number>();
      for (const { jobId, phase, isTakenBack } of turns) {
        const undo = move(state, jobId, phase);
        if (isTakenBack) {
          undo();
          continue;
        }
        const deadline = deadlineOf(job(jobId, phase));
        if (deadline === null) model.delete(jobId);
        else model.set(jobId, deadline);
      }
      const due = [...model].filter(([, deadline]) => deadline <= nowMs).map(([jobId]) => jobId);
      assert.deepEqual(dueIds(state, nowMs).sort(), due.sort());
      assert.equal(nextDeadline(state), model.size === 0 ? null : Math.min(...model.values()));
    }),
  );
});
