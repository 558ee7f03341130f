/** What one client may do to the others by asking for much: nothing. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { frameLimits, maxJobIds } from '../../src/protocol/index.ts';
import { CommandLine } from '../support/cli.ts';
import { type DaemonUnderTest, startDaemon } from '../support/daemon.ts';
import { frameOf, RawClient } from '../support/raw-client.ts';
import { waitFor } from '../support/wait-for.ts';

const commandOf = (bytes: number) => ['true', 'x'.repeat(bytes)];

function rssMiB(daemon: DaemonUnderTest): number {
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))?.[1]) / 1024);
}

test('G9: four hundred lists in one piece are all answered, and another client waits for one of them, not for all', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 0 });
  await client.submitBatch(Array.from({ length: 200 }, () => ({ command: ['true'] })));
  const lists = 400;
  const greedy = await new RawClient(daemon.socket).hello();
  t.after(() => greedy.socket.destroy());
  const startedMs = performance.now();
  greedy.write(Array.from({ length: lists }, (_, index) => frameOf(index + 1, 'list')).join(''));
  let answers = 0;
  const all = (async () => {
    while (answers < lists) {
      assert.ok((await greedy.next())?.result, 'an answer');
      answers += 1;
    }
    return performance.now() - startedMs;
  })();
  const calls: number[] = [];
  while (answers < lists) {
    const askedMs = performance.now();
    await client.groups();
    calls.push(performance.now() - askedMs);
  }
  const tookMs = await all;
  const middle = calls.sort((a, b) => a - b)[calls.length >> 1] ?? tookMs;
  t.diagnostic(
    `${Math.round(tookMs)} ms; another client's call: median ${middle.toFixed(1)} ms, worst ${calls.at(-1)?.toFixed(1)} ms`,
  );
  assert.ok(calls.length > 20 && middle < tookMs / 20, `${calls.length} calls, median ${middle} ms of ${tookMs} ms`);
});

test('G9: a client that asks and does not read is waited for, at the cost of a bounded amount of memory', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 0 });
  const big = await client.submitBatch(Array.from({ length: 4 }, () => ({ command: commandOf(100_000) })));
  const slow = await new RawClient(daemon.socket).hello();
  t.after(() => slow.socket.destroy());
  slow.socket.pause();
  const before = rssMiB(daemon);
  // 300 answers of 400 KB: 120 MB, if the daemon made them all.
  slow.write(Array.from({ length: 300 }, (_, index) => frameOf(index + 1, 'list')).join(''));
  for (let n = 0; n < 200; n += 1) await client.groups();
  assert.ok(rssMiB(daemon) - before < 60, `${before} → ${rssMiB(daemon)} MiB`);
  slow.socket.resume();
  for (let n = 0; n < 300; n += 1) assert.ok((await slow.next())?.result, 'none is lost, and it was not cut off');
  assert.equal(big.length, 4);
});

test('G9: one call too many is refused with TOO_MANY_CALLS; short ones go on, and the library asks again', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 0 });
  const { id } = await client.submit({ command: ['true'] });
  const raw = await new RawClient(daemon.socket).hello();
  t.after(() => raw.socket.destroy());
  raw.write(Array.from({ length: 1_001 }, (_, index) => frameOf(index + 1, 'wait', { jobIds: [id] })).join(''));
  const refused = await raw.next();
  assert.deepEqual([refused?.id, refused?.error?.data.code], [1_001, 'TOO_MANY_CALLS']);
  raw.request('short', 'get', { jobId: id });
  assert.equal((await raw.next())?.id, 'short');

  const held = Array.from({ length: 1_005 }, () => client.wait(id));
  await client.groups();
  await client.cancel(id);
  for (const [job] of await Promise.all(held)) assert.equal(job?.status, 'cancelled');
  for (let n = 0; n < 1_000; n += 1) assert.ok((await raw.next())?.result);
});

test('G9: the memory of calls that are held is bounded by the bytes of their requests, too', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 0 });
  const jobs = await client.submitBatch(Array.from({ length: maxJobIds }, () => ({ command: ['true'] })));
  const raw = await new RawClient(daemon.socket).hello();
  t.after(() => raw.socket.destroy());
  const params = { jobIds: jobs.map(({ id }) => id), holdMs: 60_000 };
  raw.write(Array.from({ length: 300 }, (_, index) => frameOf(index + 1, 'wait', params)).join(''));
  assert.equal((await raw.next())?.error?.data.code, 'TOO_MANY_CALLS');
});

test('G9: a list, a wait and a log are answered in pages that fit a frame, however much there is', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 0 });
  const count = 40;
  for (let n = 0; n < count; n += 1) await client.submit({ command: commandOf(100_000) });
  const many = await client.submitBatch(Array.from({ length: maxJobIds - count }, () => ({ command: ['true'] })));
  const ids = [...Array.from({ length: count }, (_, index) => index + 1), ...many.map(({ id }) => id)];
  await client.cancel(ids);
  const raw = await new RawClient(daemon.socket).hello();
  t.after(() => raw.socket.destroy());

  const listed: number[] = [];
  for (let cursor: number | null = 0; cursor !== null; ) {
    raw.request(1, 'list', cursor === 0 ? {} : { cursor });
    const page = (await raw.next())?.result as { jobs: { id: number }[]; nextCursor: number | null };
    listed.push(...page.jobs.map(({ id }) => id));
    cursor = page.nextCursor;
  }
  assert.deepEqual(listed, ids);

  raw.request(2, 'wait', { jobIds: ids });
  const waited = (await raw.next())?.result as { ended: boolean; finished: number[]; jobs: unknown[] };
  assert.deepEqual([waited.ended, waited.finished.length], [true, maxJobIds]);
  assert.ok(waited.jobs.length >= 1 && waited.jobs.length < maxJobIds);
  assert.equal((await client.wait(ids)).length, maxJobIds, 'the library fetches the others');

  await client.setGroup('default', { parallel: 1 });
  const { id } = await client.submit({ shell: 'head -c 3000000 /dev/zero' });
  await client.wait(id);
  let bytes = 0;
  let pieces = 0;
  for await (const piece of client.logs(id)) {
    bytes += piece.length;
    pieces += 1;
  }
  raw.request(3, 'logs', { jobId: id });
  assert.ok((await raw.next())?.result);
  assert.equal(bytes, 3_000_000);
  assert.ok(pieces > 10, `${pieces} pieces`);
  assert.ok(raw.largestBytes <= frameLimits.maxFrameBytes, `${raw.largestBytes} bytes`);
});

test('G9: corral logs into a reader that does not read asks for no more', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['submit', '-c', 'head -c 50000000 /dev/zero']);
  await cli.run(['wait', '1']);
  const logs = cli.spawn(['logs', '1']);
  t.after(() => logs.kill('SIGKILL'));
  const bytesRead = () => Number(/rchar: (\d+)/.exec(fs.readFileSync(`/proc/${logs.pid}/io`, 'utf8'))?.[1]);
  let last = -1;
  let sinceMs = performance.now();
  await waitFor('it has begun to write, is held up by the pipe and reads no more', () => {
    if (bytesRead() !== last) sinceMs = performance.now();
    last = bytesRead();
    return performance.now() - sinceMs > 500 && (logs.stdout?.readableLength ?? 0) > 0;
  });
  // Its own code is most of it. All of the log would be 67 MB.
  assert.ok(last < 30_000_000, `${last} bytes`);
});
