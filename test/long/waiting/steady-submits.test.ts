import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startDaemon } from '../../support/daemon.ts';

test('600 submits at 10/s for 60 s, into a group that starts 10/s, lose none', async (t) => {
  const { client } = await startDaemon(t);
  await client.addGroup('steady', { parallel: 10, rate: 10 });
  const begunMs = performance.now();
  const answers: Promise<{ id: number; created: boolean }>[] = [];
  for (let index = 0; index < 600; index += 1) {
    await delay(Math.max(0, begunMs + index * 100 - performance.now()));
    answers.push(client.submit({ command: ['sh', '-c', `exit ${index % 2}`], group: 'steady' }));
  }
  const ids = (await Promise.all(answers)).map(({ id }) => id);
  const submittedMs = performance.now() - begunMs;
  assert.equal(new Set(ids).size, 600);
  const jobs = await client.wait(ids, { timeoutMs: 60_000 });
  t.diagnostic(
    `submitted within ${Math.round(submittedMs)} ms, ended ${Math.round(performance.now() - begunMs)} ms in`,
  );
  for (const [index, job] of jobs.entries())
    assert.deepEqual(
      [job.id, job.status, job.exitCode, job.attempt],
      [ids[index], ['completed', 'failed'][index % 2], index % 2, 1],
    );
  const group = (await client.groups()).find(({ name }) => name === 'steady');
  assert.deepEqual([group?.queued, group?.active, group?.starts, group?.ends], [0, 0, 600, 600]);
});
