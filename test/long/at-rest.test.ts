import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startDaemon } from '../support/daemon.ts';

const deadlines = 10_000;
const restMs = 20_000;

/** CPU time of a process, in ms: utime and stime, in ticks of 10 ms. proc_pid_stat(5) */
function cpuMs(pid: number): number {
  const text = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

test('10,000 deadlines cost no more CPU at rest than none', async (t) => {
  const { client, daemon } = await startDaemon(t);
  const used = async () => {
    await delay(5_000); // What was just done is over.
    const before = cpuMs(daemon.pid);
    await delay(restMs);
    return cpuMs(daemon.pid) - before;
  };
  const without = await used();
  const jobs = Array.from({ length: deadlines }, (_, index) => ({
    command: ['true'],
    delayMs: 3_600_000 + index,
    startDeadlineMs: 3_600_000,
  }));
  await client.submitBatch(jobs);
  assert.equal((await client.status()).jobs.queued, deadlines);
  const withThem = await used();
  t.diagnostic(`${without} ms of CPU in ${restMs} ms without, ${withThem} ms with ${deadlines} deadlines`);
  assert.ok(withThem - without <= restMs * 0.005, `${withThem - without} ms more`);
});
