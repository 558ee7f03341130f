import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  apply,
  beginAttempt,
  type Change,
  type Decision,
  decide,
  emptyState,
  isLasting,
  type Job,
  justRunning,
  nextDeadline,
  type Report,
  type State,
  viewOf,
  withPhase,
} from '../../src/daemon/core/index.ts';
import { groupOf, instant, jobOf } from '../support/records.ts';

/** A state with job 1, which has been running since time 0. */
function running(): State {
  const state = emptyState();
  apply(state, [
    { kind: 'group', before: null, after: groupOf('default') },
    { kind: 'job', before: null, after: withPhase(beginAttempt(jobOf(1), 'scan'), justRunning) },
  ]);
  return state;
}

function jobIn(state: State): Job {
  const job = state.live.get(1);
  if (job === undefined) throw new Error('job 1 is gone');
  return job;
}

/** Decides and applies, as the loop does. */
function take(state: State, report: Report, atMs: number): Decision {
  const decision = decide(state, { type: 'reportsRead', reports: new Map([[1, [report]]]) }, instant(atMs));
  apply(state, decision.changes);
  return decision;
}

const progress = (percent: number | null, message: string | null = null): Report => ({
  kind: 'progress',
  percent,
  message,
});
const notesOf = (changes: readonly Change[]) =>
  changes.flatMap((change) => (change.kind === 'note' ? [[change.note, change.detail]] : []));
const isWritten = ({ changes }: Decision) => changes.some(isLasting);

describe('progress', () => {
  test('is kept with the attempt, and is an event', () => {
    const state = running();
    const { changes } = take(state, progress(40, 'half done'), 5_000);
    assert.deepEqual(jobIn(state).attempts[0]?.progress, { percent: 40, message: 'half done', wallMs: 5_000 });
    assert.deepEqual(notesOf(changes), [['progress', { percent: 40, message: 'half done' }]]);
  });

  test('is written down, with an event, where the whole percent or the message is another; it is in memory always', () => {
    const steps: { name: string; report: Report; written: boolean }[] = [
      { name: 'the first', report: progress(40), written: true },
      { name: 'a fraction', report: progress(40.4), written: false },
      { name: 'the same', report: progress(40.4), written: false },
      { name: 'the next percent', report: progress(41), written: true },
      { name: 'a message', report: progress(41, 'a'), written: true },
      { name: 'another message', report: progress(41, 'b'), written: true },
      { name: 'a message without a percentage', report: progress(null, 'b'), written: true },
    ];
    const state = running();
    for (const [index, { name, report, written }] of steps.entries()) {
      const decision = take(state, report, index * 1_000);
      assert.equal(isWritten(decision), written, name);
      assert.equal(notesOf(decision.changes).length, written ? 1 : 0, name);
      assert.ok(report.kind === 'progress');
      assert.equal(jobIn(state).attempts[0]?.progress?.percent, report.percent, name);
    }
  });

  test('is written down at most once a second, and the last one when the second is over', () => {
    const state = running();
    const written: unknown[] = [];
    const keep = ({ changes }: Decision, atMs: number) => {
      for (const [, detail] of notesOf(changes)) written.push([atMs, (detail as { percent: number }).percent]);
      assert.equal(
        changes.some((change) => change.kind === 'job' && isLasting(change)),
        notesOf(changes).length > 0,
      );
    };
    for (let atMs = 0; atMs <= 2_500; atMs += 100) keep(take(state, progress(atMs / 100), atMs), atMs);
    assert.equal(nextDeadline(state), 3_000);
    const tick = decide(state, { type: 'tick' }, instant(3_000));
    apply(state, tick.changes);
    keep(tick, 3_000);
    assert.deepEqual(written, [
      [0, 0],
      [1_000, 10],
      [2_000, 20],
      [3_000, 25],
    ]);
    assert.equal(nextDeadline(state), null);
  });

  test('that waits to be written down neither delays the end of the max runtime nor is taken for it', () => {
    const state = running();
    const before = jobIn(state);
    apply(state, [{ kind: 'job', before, after: withPhase(before, { ...justRunning, deadlineMonoMs: 1_500 }) }]);
    take(state, progress(1), 0);
    take(state, progress(2), 100);
    apply(state, decide(state, { type: 'tick' }, instant(1_000)).changes);
    assert.equal(jobIn(state).phase.status, 'running');
    take(state, progress(3), 1_100);
    assert.equal(nextDeadline(state), 1_500);
    apply(state, decide(state, { type: 'tick' }, instant(1_500)).changes);
    assert.deepEqual([jobIn(state).phase.status, jobIn(state).attempts[0]?.cause], ['stopping', 'max-runtime']);
  });

  test('the end of the attempt writes the newest down, fraction and all', () => {
    const state = running();
    take(state, progress(40), 0);
    take(state, progress(40.7), 100);
    const exit = { code: 0, signal: null };
    const usage = { cpuMs: null, peakRssBytes: null, outputBytes: null };
    const { changes } = decide(state, { type: 'leaderExited', jobId: 1, exit, remaining: 0, usage }, instant(200));
    const [change] = changes;
    assert.ok(change?.kind === 'job' && isLasting(change));
    assert.equal(change.after.attempts[0]?.progress?.percent, 40.7);
  });

  test('of a job that does not run is dropped where nobody asks', () => {
    const state = emptyState();
    apply(state, [
      { kind: 'group', before: null, after: groupOf('default') },
      { kind: 'job', before: null, after: jobOf(1) },
    ]);
    assert.deepEqual(take(state, progress(40), 0).changes, []);
    const nobodys = { type: 'reportsRead', reports: new Map([[99, [progress(1)]]]) } as const;
    assert.deepEqual(decide(state, nobodys, instant(0)).changes, []);
  });

  test('can be taken back when the store fails', () => {
    const state = running();
    const before = jobIn(state);
    const { changes } = decide(
      state,
      { type: 'reportsRead', reports: new Map([[1, [progress(40), { kind: 'result', json: '1' } as const]]]) },
      instant(0),
    );
    apply(state, changes)();
    assert.equal(jobIn(state), before);
  });
});

describe('a result', () => {
  const result = (json: string | null): Report => ({ kind: 'result', json });

  test('is written down each time, the last one counts, and null takes it back', () => {
    const state = running();
    assert.ok(isWritten(take(state, result('{"rows":7}'), 0)));
    assert.ok(isWritten(take(state, result('{"rows":8}'), 1)));
    assert.deepEqual(viewOf(jobIn(state), { files: [], bytes: 0 }, null).result, { rows: 8 });
    assert.ok(isWritten(take(state, result(null), 2)));
    assert.equal(viewOf(jobIn(state), { files: [], bytes: 0 }, null).result, null);
  });

  test('a long one is told by its size in the event', () => {
    const state = running();
    assert.deepEqual(notesOf(take(state, result('{"a":1}'), 0).changes), [['result', { value: { a: 1 } }]]);
    const long = JSON.stringify('x'.repeat(5_000));
    assert.deepEqual(notesOf(take(state, result(long), 1_000).changes), [['result', { characters: 5_002 }]]);
  });

  test('a job with many attempts shows those of the newest four', () => {
    let job = withPhase(beginAttempt(jobOf(1), 'scan'), justRunning);
    for (let count = 0; count < 6; count += 1) job = withPhase(beginAttempt(job, 'scan'), justRunning);
    const attempts = job.attempts.map((attempt) => ({ ...attempt, result: String(attempt.number) }));
    const view = viewOf({ ...job, attempts }, { files: [], bytes: 0 }, null);
    assert.deepEqual(
      view.attempts.map((attempt) => attempt.result),
      [null, null, null, 4, 5, 6, 7],
    );
  });
});

describe('lines that cannot be read', () => {
  test('are a warning at most once a minute, with their number, and change nothing that is kept of the job', () => {
    const state = running();
    const { attempts } = jobIn(state);
    const noted = [];
    for (let atMs = 0; atMs <= 120_000; atMs += 10_000)
      noted.push(...notesOf(take(state, { kind: 'unreadable', lines: 2, message: 'No.' }, atMs).changes));
    assert.deepEqual(noted, [
      ['warning', { message: 'No.', lines: 2 }],
      ['warning', { message: 'No.', lines: 12 }],
      ['warning', { message: 'No.', lines: 12 }],
    ]);
    assert.equal(jobIn(state).attempts, attempts);
  });
});

describe('a report by a request', () => {
  const ask = (state: State, attempt: number | null) =>
    decide(state, { type: 'report', request: 9, jobId: 1, attempt, report: progress(40) }, instant(0)).effects[0];

  test('is answered', () => {
    assert.deepEqual(ask(running(), null), { type: 'reply', request: 9, result: {} });
    assert.deepEqual(ask(running(), 1), { type: 'reply', request: 9, result: {} });
  });

  test('by an attempt that is over is refused, and so is one of a job that does not run', () => {
    const effects = [ask(running(), 2), ask(emptyState(), null)];
    for (const effect of effects) assert.ok(effect?.type === 'refuse' && effect.code === 'JOB_NOT_RUNNING');
  });

  for (const status of ['starting', 'running', 'stopping'] as const) {
    test(`is taken while the job is ${status}`, () => {
      const state = running();
      const before = jobIn(state);
      const phases = {
        starting: { status: 'starting', sinceMonoMs: 0, stopRequested: null },
        running: justRunning,
        stopping: { status: 'stopping', escalateAtMonoMs: 9, killed: false, unkillable: false },
      } as const;
      apply(state, [{ kind: 'job', before, after: withPhase(before, phases[status]) }]);
      assert.equal(ask(state, 1)?.type, 'reply');
    });
  }
});
