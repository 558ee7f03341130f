import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  apply,
  beginAttempt,
  decide,
  emptyState,
  type Job,
  justRunning,
  resetReport,
  type State,
  type StuckCriteria,
  stalledJobs,
  stuckJobs,
  withPhase,
} from '../../src/daemon/core/index.ts';
import { groupOf, instant, jobOf } from '../support/records.ts';

const minute = 60_000;
const any: StuckCriteria = { olderThanMs: null, noProgressForMs: null, group: null };

/** Job 1 started at 0 and reports at 55 min, 2 at 0 and never reports, 3 at 45 min; 4 is queued, 5 is paused, 6 in another group. */
function state(): State {
  const made = emptyState();
  const runs = (id: number, startedMonoMs: number, group = 'default') =>
    withPhase(beginAttempt(jobOf(id, { group }), 'scan'), { ...justRunning, startedMonoMs });
  const jobs: Job[] = [
    runs(1, 0),
    runs(2, 0),
    runs(3, 45 * minute),
    jobOf(4),
    { ...runs(5, 0), queue: { ...jobOf(5).queue, held: { by: 'job' as const } } },
    runs(6, 10 * minute, 'other'),
  ];
  apply(made, [
    ...['default', 'other'].map((name) => ({ kind: 'group', before: null, after: groupOf(name) }) as const),
    ...jobs.map((after) => ({ kind: 'job', before: null, after }) as const),
  ]);
  return made;
}

function report(to: State, jobId: number, percent: number, atMs: number): void {
  const reports = new Map([[jobId, [{ kind: 'progress', percent, message: null } as const]]]);
  apply(to, decide(to, { type: 'reportsRead', reports }, instant(atMs)).changes);
}

describe('stuckJobs', () => {
  const tables: { name: string; criteria: Partial<StuckCriteria>; jobIds: number[] }[] = [
    { name: 'older than', criteria: { olderThanMs: 30 * minute }, jobIds: [1, 2, 6] },
    { name: 'no progress for', criteria: { noProgressForMs: 12 * minute }, jobIds: [2, 6, 3] },
    { name: 'both must hold', criteria: { olderThanMs: 30 * minute, noProgressForMs: 12 * minute }, jobIds: [2, 6] },
    { name: 'only a group', criteria: { olderThanMs: 30 * minute, group: 'other' }, jobIds: [6] },
    { name: 'the longest-running first', criteria: {}, jobIds: [1, 2, 6, 3] },
    { name: 'none', criteria: { olderThanMs: 90 * minute }, jobIds: [] },
  ];
  for (const { name, criteria, jobIds } of tables) {
    test(name, () => {
      const made = state();
      report(made, 1, 10, 55 * minute);
      const found = stuckJobs(made, { ...any, ...criteria }, instant(60 * minute));
      assert.deepEqual(
        found.map(({ jobId }) => jobId),
        jobIds,
      );
    });
  }

  test('a job that says the same again and again does not get on', () => {
    const made = state();
    for (let atMs = 0; atMs < 60 * minute; atMs += minute) report(made, 1, 10, atMs);
    assert.equal(stuckJobs(made, any, instant(60 * minute))[0]?.noProgressMs, 60 * minute);
    report(made, 1, 10.1, 60 * minute);
    assert.equal(stuckJobs(made, any, instant(61 * minute))[0]?.noProgressMs, minute);
  });

  test('the wall clock may jump', () => {
    const [longest] = stuckJobs(state(), any, instant(60 * minute, 9e12));
    assert.equal(longest?.runningMs, 60 * minute);
  });
});

test('health looks at jobs that reported once and then stopped to, and at no others', () => {
  const made = state();
  report(made, 1, 10, 20 * minute);
  report(made, 3, 10, 50 * minute);
  assert.deepEqual(stalledJobs(made, 30 * minute, instant(60 * minute)), [1]);
  assert.deepEqual(stalledJobs(made, 30 * minute, instant(90 * minute)), [1, 3]);
  assert.deepEqual(stalledJobs(made, null, instant(90 * minute)), []);
});

describe('resetStuck', () => {
  test('stops them with cause reset, with their own grace but not a longer one than 45 s', () => {
    const made = state();
    const patient = withPhase(beginAttempt(jobOf(7, { killGraceMs: 600_000 }), 'scan'), justRunning);
    apply(made, [{ kind: 'job', before: null, after: patient }]);
    const criteria = { ...any, olderThanMs: 30 * minute };
    const { changes, effects } = decide(made, { type: 'resetStuck', request: 1, criteria }, instant(60 * minute));
    const stopping = changes.flatMap((change) => (change.kind === 'job' ? [change.after] : []));
    assert.deepEqual(
      stopping.map(({ id, phase, attempts }) => [id, phase.status, attempts.at(-1)?.cause, attempts.at(-1)?.message]),
      [1, 2, 7, 6].map((id) => [id, 'stopping', 'reset', 'It was reset as stuck: running for 30m.']),
    );
    const last = stopping.find(({ id }) => id === 7)?.phase;
    assert.equal(last?.status === 'stopping' && last.escalateAtMonoMs, 60 * minute + 45_000);
    assert.deepEqual(effects.at(-1), {
      type: 'reply',
      request: 1,
      result: { jobIds: [1, 2, 6, 7], longestGraceMs: 45_000 },
    });
  });

  const criteria = { olderThanMs: 30 * minute, noProgressForMs: null, group: null };
  const begun = { jobIds: [3, 7], longestGraceMs: 0 };
  test('the answer has four fields, and names who has not ended', () => {
    assert.deepEqual(resetReport(criteria, begun, [3, 7]), {
      success: true,
      reset_count: 2,
      job_ids: [3, 7],
      message: 'Ended, with all processes: jobs 3, 7.',
    });
    const partly = resetReport(criteria, begun, [3]);
    assert.equal(partly.success, false);
    assert.deepEqual([partly.reset_count, partly.job_ids], [1, [3]]);
    assert.match(partly.message, /^Ended, .*: job 3\. Not ended in time: job 7; .* corral show 7$/);
    const none = resetReport(criteria, { jobIds: [], longestGraceMs: 0 }, []);
    assert.deepEqual(none, {
      success: true,
      reset_count: 0,
      job_ids: [],
      message: 'No job is stuck (running for 30m).',
    });
  });
});
