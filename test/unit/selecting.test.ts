import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type JobSketch, matches, matchesName } from '../../src/daemon/core/index.ts';
import type { JobFilter } from '../../src/protocol/index.ts';

const nowWallMs = 1_700_000_000_000;
const minuteMs = 60_000;

const waiting: JobSketch = {
  id: 7,
  status: 'queued',
  group: 'default',
  name: 'build-linux',
  scope: 's1',
  submittedWallMs: nowWallMs - 10 * minuteMs,
  finishedWallMs: null,
};
const ended: JobSketch = { ...waiting, status: 'failed', finishedWallMs: nowWallMs - minuteMs };

const cases: { filter: JobFilter; job?: JobSketch; is: boolean }[] = [
  { filter: {}, is: true },
  { filter: { statuses: ['queued', 'running'] }, is: true },
  { filter: { statuses: ['running'] }, is: false },
  { filter: { group: 'default' }, is: true },
  { filter: { group: 'other' }, is: false },
  { filter: { name: 'build-linux' }, is: true },
  { filter: { name: 'build' }, is: false },
  { filter: { name: 'build-*' }, is: true },
  { filter: { name: '*' }, job: { ...waiting, name: null }, is: false },
  { filter: { scope: 's1' }, is: true },
  { filter: { scope: 's2' }, is: false },
  { filter: { scope: 's1' }, job: { ...waiting, scope: null }, is: false },
  { filter: { olderThanMs: 9 * minuteMs }, is: true },
  { filter: { olderThanMs: 10 * minuteMs }, is: false },
  { filter: { olderThanMs: minuteMs - 1 }, job: ended, is: true },
  { filter: { olderThanMs: 2 * minuteMs }, job: ended, is: false },
  { filter: { group: 'default', name: '*linux', statuses: ['queued'], olderThanMs: minuteMs, scope: 's1' }, is: true },
  { filter: { group: 'default', name: '*linux', statuses: ['queued'], olderThanMs: minuteMs, scope: 's2' }, is: false },
];

describe('all that a filter says must hold', () => {
  for (const { filter, job = waiting, is } of cases)
    test(`${JSON.stringify(filter)} ${is ? 'means' : 'does not mean'} a job that is ${job.status}`, () =>
      assert.equal(matches(filter, job, nowWallMs), is));
});

describe('a name', () => {
  test('matches as a regular expression would have it, with * for any text', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', '\\', '\n'), maxLength: 8 });
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*', '.', '\\', '\n'), maxLength: 8 });
    fc.assert(
      fc.property(pattern, text, (glob, name) => {
        const source = glob
          .split('*')
          .map((piece) => piece.replaceAll(/[.\\]/g, '\\$&'))
          .join('.*');
        assert.equal(matchesName(glob, name), new RegExp(`^${source}$`, 's').test(name));
      }),
      { numRuns: 2_000 },
    );
  });

  test('is compared quickly with a pattern that makes others try again and again', () => {
    const begunMs = performance.now();
    assert.equal(matchesName(`${'a*'.repeat(100)}b`, 'a'.repeat(200)), false);
    assert.ok(performance.now() - begunMs < 100);
  });
});
