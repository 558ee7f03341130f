import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import { type TestContext, test } from 'node:test';
import { CpuStat } from '../../src/daemon/process/cpu-stat.ts';

/** A folder that looks like a leaf. */
function leaf(t: TestContext, usageUsec: number): string {
  const dir = fs.mkdtempSync(`${os.tmpdir()}/corral-test-`);
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  write(dir, usageUsec);
  return dir;
}

function write(dir: string, usageUsec: number): void {
  fs.writeFileSync(`${dir}/cpu.stat`, `usage_usec ${usageUsec}\nuser_usec 1\nsystem_usec 2\n`);
}

test('what is read again is kept open, up to as many as may be, and read without beyond that', (t) => {
  const all = { open: 0, most: 2 };
  const dirs = [1, 2, 3].map((usec) => leaf(t, usec));
  const stats = dirs.map((dir) => new CpuStat(dir, all));
  const read = () => stats.map((stat) => stat.usageUsec());
  assert.deepEqual(read(), [1, 2, 3]);
  assert.equal(all.open, 0, 'a job that is read once, at its end, costs no descriptor');
  for (const dir of dirs) write(dir, 70);
  assert.deepEqual(read(), [70, 70, 70]);
  assert.equal(all.open, 2);
  for (const dir of dirs) write(dir, 80);
  assert.deepEqual(read(), [80, 80, 80]);
  for (const stat of stats) stat.close();
  assert.equal(all.open, 0);
  for (const stat of stats) stat.close();
  assert.equal(all.open, 0, 'to close twice is no harm');
});

test('a leaf that has gone, or says nothing of CPU time, is not known', (t) => {
  const dir = leaf(t, 1);
  const stat = new CpuStat(dir, { open: 0, most: 1 });
  fs.writeFileSync(`${dir}/cpu.stat`, 'nr_periods 0\n');
  assert.equal(stat.usageUsec(), null);
  fs.rmSync(`${dir}/cpu.stat`);
  assert.equal(stat.usageUsec(), null);
  assert.equal(stat.usageUsec(), null);
});
