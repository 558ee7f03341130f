import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginAttempt, type CheckedJob, type IdleCheck, type IdleSample } from '../../src/daemon/core/index.ts';
import { type Hold, Sampler } from '../../src/daemon/process/index.ts';
import type { IdlePolicy } from '../../src/protocol/index.ts';
import { jobOf } from '../support/records.ts';

const rule: IdlePolicy = { cpuMillicores: 4, checks: 5, intervalMs: 10_000, signals: ['cpu', 'io'], dryRun: false };

function check(jobId: number, last: IdleSample | null = null): IdleCheck {
  return { job: beginAttempt(jobOf(jobId), 'scan'), dueMonoMs: 0, rule, last };
}

/** What a look asks of a hold; whatever it asks beyond that fails. */
function held(says: Pick<Hold, 'countsAllCpu'> & Partial<Hold>): Hold {
  return says as Hold;
}

/** A sampler with these jobs, and what comes of a pass. */
function sampling(holds: ReadonlyMap<number, Hold>) {
  const failed: number[] = [];
  let samples: CheckedJob[] = [];
  let awaited = 0;
  let done: () => void = () => {};
  const sampler = new Sampler({
    readMonoMs: () => performance.now(),
    holdOf: (jobId) => holds.get(jobId) ?? null,
    outputFilesOf: () => [],
    onSampled: (some) => {
      samples.push(...some);
      if (samples.length >= awaited) done();
    },
    onFailure: ({ id }) => failed.push(id),
  });
  const pass = async (checks: readonly IdleCheck[]) => {
    samples = [];
    awaited = checks.length;
    const all = new Promise<void>((resolve) => {
      done = resolve;
    });
    sampler.take(checks);
    await all;
    return samples;
  };
  return { pass, failed };
}

test('a look that fails as nobody foresaw is not known; it is told, and all others go on, also the next time', async () => {
  const broken = new Error('EWHATEVER');
  const cpuUsec = (jobId: number) => {
    if (jobId === 1 || jobId === 120) throw broken;
    return 7;
  };
  const ids = Array.from({ length: 200 }, (_, index) => index + 1);
  const holds = ids.map(
    (id) => [id, held({ countsAllCpu: false, cpuUsec: () => cpuUsec(id), pids: () => [] })] as const,
  );
  const { pass, failed } = sampling(new Map(holds));
  for (const round of [1, 2]) {
    const samples = await pass(ids.map((id) => check(id)));
    assert.deepEqual(
      samples.map(({ jobId }) => jobId),
      ids,
    );
    for (const { jobId, counts } of samples)
      assert.deepEqual(counts, jobId === 1 || jobId === 120 ? {} : { cpu: 7, io: 0, talk: new Map() });
    assert.deepEqual(failed, [1, 120, 1, 120].slice(0, 2 * round));
  }
});

test('where all CPU time is counted, a job that has used none is not asked for more', async () => {
  const counts = { cpu: 7, io: 5, talk: new Map() };
  const last: IdleSample = { atMonoMs: 0, counts };
  const silent = held({ countsAllCpu: true, cpuUsec: () => 7 });
  const moved = held({ countsAllCpu: true, cpuUsec: () => 8, pids: () => [] });
  const unsure = held({ countsAllCpu: false, cpuUsec: () => 7, pids: () => [] });
  const { pass, failed } = sampling(new Map([silent, moved, unsure].map((hold, index) => [index + 1, hold])));
  const samples = await pass([1, 2, 3].map((jobId) => check(jobId, last)));
  assert.deepEqual(
    samples.map((sample) => sample.counts),
    [counts, { cpu: 8, io: 0, talk: new Map() }, { cpu: 7, io: 0, talk: new Map() }],
  );
  assert.deepEqual(failed, []);
  await pass([check(1, { atMonoMs: 0, counts: { cpu: 7 } })]);
  assert.deepEqual(failed, [1], 'control: where there is nothing to go by, it is asked');
});
