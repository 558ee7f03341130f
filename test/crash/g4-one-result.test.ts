import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { JobView } from '../../src/client/index.ts';
import { startDaemon, tiers } from '../support/daemon.ts';

const kills = 5;
const jobsOfEachKind = 60;

for (const { tier, skip } of tiers) {
  test(`G4: no job runs twice unless retry was asked for, and no result changes, over ${kills} kills (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier, parallel: 4 });
    const file = `${daemon.dir}/ran`;
    fs.writeFileSync(file, '');
    const shell = `echo $CORRAL_JOB_ID >>${file}; sleep 0.05`;
    const request = (onSupervisorLost: 'fail' | 'retry') =>
      Array.from({ length: jobsOfEachKind }, () => ({ shell, onSupervisorLost }));
    const submitted = await client.submitBatch(
      [...request('fail'), ...request('retry')].sort(() => Math.random() - 0.5),
    );
    const ids = submitted.map(({ id }) => id);

    const results = new Map<number, JobView>();
    for (let n = 0; n < kills; n += 1) {
      await delay(100 + Math.random() * 150);
      for (const job of (await client.list({ statuses: ['completed', 'failed'] })).jobs) {
        const known = results.get(job.id);
        if (known !== undefined)
          assert.deepEqual(job, known, `the result of job ${job.id} changed after it was recorded`);
        results.set(job.id, job);
      }
      await daemon.kill();
      await daemon.start();
    }
    const jobs = await client.wait(ids, { timeoutMs: 60_000 });

    const runs = new Map<number, number>();
    for (const line of fs.readFileSync(file, 'utf8').trim().split('\n'))
      runs.set(Number(line), (runs.get(Number(line)) ?? 0) + 1);
    const lost = jobs.filter((job) => job.cause === 'supervisor-lost');
    const rerun = jobs.filter((job) => job.attempt > 1);
    t.diagnostic(`${lost.length} lost, ${rerun.length} run again, ${results.size} results seen before a kill`);

    for (const job of jobs) {
      if (job.onSupervisorLost === 'retry') {
        assert.equal(job.status, 'completed');
        assert.ok((runs.get(job.id) ?? 0) >= 1 && (runs.get(job.id) ?? 0) <= job.attempt);
      } else {
        assert.equal(job.attempt, 1);
        assert.ok((runs.get(job.id) ?? 0) <= 1, `job ${job.id} ran ${runs.get(job.id)} times`);
        assert.ok(job.status === 'completed' ? runs.get(job.id) === 1 : job.cause === 'supervisor-lost');
      }
      if (results.has(job.id)) assert.deepEqual(job, results.get(job.id));
    }
    assert.ok(lost.length > 0, 'control: kills did hit running jobs');
    assert.ok(
      [...runs.values()].some((count) => count > 1),
      'control: a job that runs twice is seen in the file',
    );
  });
}
