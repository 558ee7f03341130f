import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type Attempt,
  apply,
  beginAttempt,
  decide,
  emptyState,
  type Job,
  justQueued,
  keptBesideNext,
  type State,
  withPhase,
} from '../../src/daemon/core/index.ts';
import { groupOf, instant, jobOf } from '../support/records.ts';

/** A job that waits for its next attempt, after attempts with so much output. The first of them has the number `first`. */
function withOutput(id: number, bytes: readonly (number | null)[], outputLimitBytes: number | null = 100): Job {
  const job = jobOf(id, {});
  const definition = { ...job.definition, policies: { ...job.definition.policies, outputLimitBytes } };
  const [template = assert.fail()] = beginAttempt(job, 'scan').attempts;
  const attempts = bytes.map(
    (outputBytes, index): Attempt => ({ ...template, number: index + 1, usage: { ...template.usage, outputBytes } }),
  );
  return withPhase({ ...job, definition, attempts }, justQueued);
}

const numbersOf = (attempts: readonly Attempt[]) => attempts.map(({ number }) => number);

describe('kept beside the next attempt', () => {
  const cases: { name: string; bytes: number[]; limit?: number | null; kept: number[] }[] = [
    { name: 'none of none', bytes: [], kept: [] },
    { name: 'all that fit the limit together', bytes: [40, 30, 30], kept: [1, 2, 3] },
    { name: 'the newest, where all would be beyond it', bytes: [40, 30, 30, 30], kept: [2, 3, 4] },
    { name: 'the newest alone, where it takes more than the limit', bytes: [10, 150], kept: [2] },
    { name: 'none before one that does not fit, even if it would', bytes: [1, 90, 50], kept: [3] },
    { name: 'all, where there is no limit', bytes: [1_000, 1_000], limit: null, kept: [1, 2] },
  ];
  for (const { name, bytes, limit, kept } of cases)
    test(name, () => assert.deepEqual(numbersOf(keptBesideNext(withOutput(1, bytes, limit))), kept));
});

describe('where all output together is beyond its limit', () => {
  function forget(bytes: number, ...jobs: Job[]) {
    const state: State = emptyState();
    apply(state, [{ kind: 'group', before: null, after: groupOf('default') }]);
    apply(
      state,
      jobs.map((after) => ({ kind: 'job', before: null, after })),
    );
    const { changes, effects } = decide(state, { type: 'forgetEarlier', request: 7, bytes }, instant(1));
    apply(state, changes);
    const removed = effects.flatMap((one) => (one.type === 'removeOutput' ? [[one.job.id, one.attempts]] : []));
    const reply = effects.find((one) => one.type === 'reply');
    return { removed, freed: reply?.type === 'reply' ? reply.result : null, left: [...state.live.values()] };
  }

  test('earlier attempts go, oldest first, of the job of which they take most, until it is enough', () => {
    const { removed, freed, left } = forget(50, withOutput(1, [30, 30, 90]), withOutput(2, [40, 40, 1]));
    assert.deepEqual(removed, [[2, [1, 2]]]);
    assert.deepEqual(freed, { freedBytes: 80 });
    assert.deepEqual(
      left.map(({ attempts }) => numbersOf(attempts)),
      [[1, 2, 3], [3]],
    );
  });

  test('of the next job as well, where that is not enough', () => {
    const { removed, freed } = forget(100, withOutput(1, [30, 30, 90]), withOutput(2, [40, 40, 1]));
    assert.deepEqual(removed, [
      [2, [1, 2]],
      [1, [1]],
    ]);
    assert.deepEqual(freed, { freedBytes: 110 });
  });

  test('the newest attempt of a job is never touched, and jobs without earlier output are left alone', () => {
    const { removed, freed } = forget(1_000, withOutput(1, [90]), withOutput(2, [0, 0, 90]), withOutput(3, []));
    assert.deepEqual([removed, freed], [[], { freedBytes: 0 }]);
  });

  test('what an attempt took that is still under way is not reckoned with', () => {
    const { removed } = forget(10, withOutput(1, [50, null]));
    assert.deepEqual(removed, [[1, [1]]]);
  });
});
