import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventLine } from '../../src/client/cli/event-line.ts';
import type { EventView } from '../../src/client/index.ts';

const at = '2026-01-01T00:00:00.000Z';
const lines: { event: Partial<EventView>; says: string }[] = [
  { event: { from: null, to: 'queued' }, says: 'new → queued' },
  { event: { from: 'running', to: 'failed', cause: 'idle' }, says: 'running → failed (idle)' },
  { event: { kind: 'progress', detail: { percent: 40, message: 'half' } }, says: 'progress: 40 % half' },
  { event: { kind: 'progress', detail: { percent: null, message: 'a\u001b[2J\nb' } }, says: 'progress: a [2J b' },
  { event: { kind: 'result', detail: { value: { rows: 7 } } }, says: 'result: {"rows":7}' },
  { event: { kind: 'result', detail: { value: null } }, says: 'result: null' },
  { event: { kind: 'result', detail: { characters: 5_002 } }, says: 'result: 5002 characters, see corral show' },
  { event: { kind: 'paused', detail: null }, says: 'paused' },
  { event: { kind: 'resumed', detail: null }, says: 'resumed' },
  { event: { kind: 'edited', detail: { priority: 5, group: 'nightly' } }, says: 'edited: priority 5, group "nightly"' },
  { event: { kind: 'warning', detail: { message: 'No.', lines: 2 } }, says: 'warning: No. (lines 2)' },
  { event: { kind: 'warning', detail: 'a sentence\u0007' }, says: 'warning: a sentence ' },
  { event: { kind: 'idle', detail: ['a', 1] }, says: 'idle: ["a",1]' },
  { event: { kind: 'idle', detail: { message: 'It would be reaped.' } }, says: 'idle: It would be reaped.' },
];

for (const { event, says } of lines) {
  test(JSON.stringify(event), () => {
    const whole: EventView = {
      seq: 12,
      kind: 'transition',
      detail: null,
      at,
      jobId: 7,
      attempt: 1,
      from: 'running',
      to: 'running',
      cause: null,
      ...event,
    };
    assert.equal(eventLine(whole), `    12  ${at}  job 7  ${says}`);
    assert.equal(eventLine({ ...whole, attempt: 2 }), `    12  ${at}  job 7 attempt 2  ${says}`);
  });
}
