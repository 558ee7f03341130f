import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Wait, Waits } from '../../src/daemon/core/index.ts';

/** Which of the waits have settled, each said as its position. */
async function settled(...waits: Wait[]): Promise<number[]> {
  const done = new Set<number>();
  waits.forEach((wait, index) => {
    void wait.settled.then(() => done.add(index));
  });
  await nextTurn();
  return [...done];
}

const cases: {
  name: string;
  jobIds: number[];
  mode: 'all' | 'any';
  ended: number[];
  settles: boolean;
}[] = [
  { name: 'all waits for the last job', jobIds: [1, 2], mode: 'all', ended: [2], settles: false },
  { name: 'all is settled by the last job', jobIds: [1, 2], mode: 'all', ended: [2, 1], settles: true },
  { name: 'all is not settled by one job that ends twice', jobIds: [1, 2], mode: 'all', ended: [1, 1], settles: false },
  { name: 'any is settled by the first job', jobIds: [1, 2], mode: 'any', ended: [2], settles: true },
  { name: 'jobs that nobody waits for settle nothing', jobIds: [1], mode: 'any', ended: [2, 3], settles: false },
];

for (const { name, jobIds, mode, ended, settles } of cases) {
  test(name, async () => {
    const waits = new Waits();
    const wait = waits.add(jobIds, mode, 100);
    for (const jobId of ended) waits.jobEnded(jobId);
    assert.deepEqual(await settled(wait), settles ? [0] : []);
  });
}

test('the end of a job settles every wait for it', async () => {
  const waits = new Waits();
  const all = [waits.add([1], 'all', 100), waits.add([1, 2], 'any', 100), waits.add([1, 2], 'all', 100)];
  waits.jobEnded(1);
  assert.deepEqual(await settled(...all), [0, 1]);
});

test('a wait ends with its deadline, not before', async () => {
  const waits = new Waits();
  const early = waits.add([1], 'all', 100);
  const late = waits.add([1], 'all', 200);
  waits.expire(99);
  assert.deepEqual(await settled(early, late), []);
  waits.expire(100);
  assert.deepEqual(await settled(early, late), [0]);
});

test('the next deadline is the earliest of the waits that still stand', () => {
  const waits = new Waits();
  assert.equal(waits.nextDeadline(), null);
  waits.add([1], 'all', 300);
  const first = waits.add([2], 'all', 100);
  waits.add([3], 'all', 200);
  assert.equal(waits.nextDeadline(), 100);
  first.giveUp();
  assert.equal(waits.nextDeadline(), 200);
  waits.jobEnded(3);
  assert.equal(waits.nextDeadline(), 300);
  waits.expire(300);
  assert.equal(waits.nextDeadline(), null);
});

test('a wait that is given up settles, and leaves others for the same job alone', async () => {
  const waits = new Waits();
  const gone = waits.add([1], 'all', 100);
  const stays = waits.add([1], 'all', 100);
  gone.giveUp();
  gone.giveUp();
  assert.deepEqual(await settled(gone, stays), [0]);
  waits.jobEnded(1);
  assert.deepEqual(await settled(stays), [0]);
});

test('a settled wait for any job is not counted for the others', async () => {
  const waits = new Waits();
  const any = waits.add([1, 2], 'any', 100);
  waits.jobEnded(1);
  waits.jobEnded(2);
  waits.expire(100);
  any.giveUp();
  assert.deepEqual(await settled(any), [0]);
});

test('a job that is waited for again after it ended, as a retried one is, settles the new wait', async () => {
  const waits = new Waits();
  waits.add([1], 'all', 100);
  waits.jobEnded(1);
  const again = waits.add([1], 'all', 100);
  assert.deepEqual(await settled(again), []);
  waits.jobEnded(1);
  assert.deepEqual(await settled(again), [0]);
});
