import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { beginAttempt, type Change } from '../../src/daemon/core/index.ts';
import { Watchers } from '../../src/daemon/loop/index.ts';
import { jobOf } from '../support/records.ts';

function started(id: number): Change {
  const before = jobOf(id);
  return { kind: 'job', before, after: beginAttempt(before, 'scan') };
}

const job = jobOf(1);
const noted: Change = { kind: 'note', job, note: 'warning', detail: null };
const prioritised: Change = {
  kind: 'job',
  before: job,
  after: { ...job, definition: { ...job.definition, priority: 5 } },
};
const seen: Change = { kind: 'job', before: job, after: { ...job, client: { seen: { monoMs: 1, wallMs: 1 } } } };

/** Who of those that listen is called at these changes. */
function calledAt(changes: readonly Change[]): string[] {
  const watchers = new Watchers();
  const called: string[] = [];
  watchers.onNextChange(1, () => called.push('change of 1'));
  watchers.onNextEvent(1, () => called.push('event of 1'));
  watchers.onNextEvent(2, () => called.push('event of 2'));
  watchers.onNextEvent(null, () => called.push('event of any'));
  watchers.announce(changes);
  watchers.announce(changes); // Each is called once.
  return called;
}

describe('who is called', () => {
  const cases: { name: string; changes: readonly Change[]; called: string[] }[] = [
    { name: 'at a transition', changes: [started(1)], called: ['change of 1', 'event of 1', 'event of any'] },
    { name: 'at a transition of another job', changes: [started(3)], called: ['event of any'] },
    { name: 'at a note', changes: [noted], called: ['event of 1', 'event of any'] },
    { name: 'at a change that is no event', changes: [prioritised], called: ['change of 1'] },
    { name: 'at what no store keeps', changes: [seen], called: [] },
    {
      name: 'at the events of several jobs',
      changes: [started(2), started(1), noted],
      called: ['change of 1', 'event of 2', 'event of 1', 'event of any'],
    },
  ];
  for (const { name, changes, called } of cases) test(name, () => assert.deepEqual(calledAt(changes), called));

  test('is not whoever gave up, and the others are', () => {
    const watchers = new Watchers();
    const called: string[] = [];
    const giveUp = watchers.onNextEvent(1, () => called.push('first'));
    watchers.onNextEvent(1, () => called.push('second'));
    giveUp();
    watchers.announce([started(1)]);
    assert.deepEqual(called, ['second']);
  });
});
