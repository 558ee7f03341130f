import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Backend } from '../../src/daemon/ipc/backend.ts';
import { events } from '../../src/daemon/ipc/methods/events.ts';
import { type EventView, frameLimits, maxEventsPage, reportLimits } from '../../src/protocol/index.ts';

/** As long as a report can be, each character as long as JSON makes one. */
const message = '\u0001'.repeat(reportLimits.messageLength);

const record = Array.from(
  { length: 1_500 },
  (_, index): EventView => ({
    seq: index + 1,
    kind: 'progress',
    detail: { percent: 1, message },
    at: new Date(0).toISOString(),
    jobId: 1,
    attempt: 1,
    from: 'running',
    to: 'running',
    cause: null,
  }),
);

const backend = {
  store: {
    listEvents: ({ after, limit }) => record.filter(({ seq }) => seq > after).slice(0, limit),
    lastEvent: () => record.length,
  },
} as Pick<Backend, 'store'> as Backend;

test('each page of long events fits a frame, and page by page they are all there', async () => {
  const seen: number[] = [];
  for (;;) {
    const page = await events({ after: seen.at(-1) ?? 0 }, { backend, signal: new AbortController().signal });
    if (page.events.length === 0) break;
    assert.ok(Buffer.byteLength(JSON.stringify(page)) < frameLimits.maxFrameBytes);
    seen.push(...page.events.map(({ seq }) => seq));
  }
  assert.deepEqual(
    seen,
    record.map(({ seq }) => seq),
  );
});

test('control: as many as a page may have would not fit', () => {
  assert.ok(Buffer.byteLength(JSON.stringify(record.slice(0, maxEventsPage))) > frameLimits.maxFrameBytes);
});
