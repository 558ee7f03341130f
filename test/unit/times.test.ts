import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asTime, nextTimeOfDay } from '../../src/client/cli/times.ts';

test('a time of day is the next one there will be', () => {
  const now = new Date(2027, 0, 31, 12, 0, 30);
  assert.deepEqual(nextTimeOfDay(18, 30, now), new Date(2027, 0, 31, 18, 30));
  assert.deepEqual(nextTimeOfDay(12, 0, now), new Date(2027, 1, 1, 12, 0));
  assert.deepEqual(nextTimeOfDay(0, 0, now), new Date(2027, 1, 1));
  assert.equal(nextTimeOfDay(24, 0, now), null);
});

test('a date is of this zone unless it names one', () => {
  assert.deepEqual(asTime('2027-01-31T06:00'), new Date(2027, 0, 31, 6));
  assert.deepEqual(asTime('2027-01-31 06:00:05'), new Date(2027, 0, 31, 6, 0, 5));
  assert.equal(asTime('2027-01-31T06:00:00Z').toISOString(), '2027-01-31T06:00:00.000Z');
  assert.equal(asTime('2027-01-31T06:00:00-02:30').toISOString(), '2027-01-31T08:30:00.000Z');
  assert.equal(asTime('2028-02-29T06:00Z').toISOString(), '2028-02-29T06:00:00.000Z');
});

test('what is no time is refused, with the forms that are known', () => {
  for (const text of [
    '',
    'noon',
    '2027-01-31',
    '2027-02-29T06:00',
    '2027-13-01T06:00',
    '2027-01-31T25:00',
    '6:5',
    '-1:00',
  ])
    assert.throws(() => asTime(text), /Write a time like/, text);
});
