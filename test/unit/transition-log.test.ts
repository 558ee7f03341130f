import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginAttempt, type Change, justRunning, withPhase } from '../../src/daemon/core/index.ts';
import { logTransitions } from '../../src/daemon/loop/index.ts';
import { jobOf } from '../support/records.ts';

test('a line names the attempt by its number, also where the first ones are not kept any more', () => {
  const first = beginAttempt(jobOf(7), 'scan');
  const starting = { ...first, attempts: first.attempts.map((attempt) => ({ ...attempt, number: 130 })) };
  const changes: Change[] = [
    { kind: 'job', before: starting, after: withPhase(starting, justRunning) },
    { kind: 'note', job: starting, note: 'idle', detail: {} },
  ];
  const lines: [string, unknown][] = [];
  const note = (message: string, fields: Record<string, unknown> = {}) => lines.push([message, fields.attempt]);
  logTransitions({ debug: note, info: note, warn: note, error: note }, changes);
  assert.deepEqual(lines, [
    ['job 7 starting → running', 130],
    ['job 7 is idle', 130],
  ]);
});
