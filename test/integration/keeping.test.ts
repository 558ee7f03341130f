import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { type Client, CorralError } from '../../src/client/index.ts';
import { DaemonUnderTest } from '../support/daemon.ts';
import { waitFor } from '../support/wait-for.ts';

const isGone = async (client: Client, jobId: number) => {
  try {
    await client.get(jobId);
    return false;
  } catch (error) {
    if (error instanceof CorralError && error.code === 'JOB_NOT_FOUND') return true;
    throw error;
  }
};

const filesOf = (daemon: DaemonUnderTest) =>
  fs.existsSync(`${daemon.stateDir}/output`)
    ? fs
        .readdirSync(`${daemon.stateDir}/output`, { recursive: true, withFileTypes: true })
        .filter((one) => one.isFile())
    : [];

const eventsOf = async (client: Client, jobId: number) => {
  let count = 0;
  for await (const _ of client.events({ jobId })) count += 1;
  return count;
};

test('G7: record, events and output of a job are gone when its time to live is over, and not before', async (t) => {
  const daemon = await new DaemonUnderTest(t).start();
  const client = await daemon.client();
  const { id } = await client.submit({ shell: 'echo hello', ttlMs: 1_500 });
  const { id: kept } = await client.submit({ shell: 'echo kept', ttlMs: null });
  const [job] = await client.wait([id, kept]);
  const stayMs = Date.parse(job?.expiresAt ?? '') - Date.parse(job?.finishedAt ?? '');
  assert.ok(Math.abs(stayMs - 1_500) < 50, `${stayMs} ms`);
  assert.equal((await client.get(kept)).expiresAt, null);
  assert.ok((await eventsOf(client, id)) > 0);
  await waitFor('the job to be gone', () => isGone(client, id));
  assert.ok(Date.now() >= Date.parse(job?.expiresAt ?? ''), 'before its time');
  assert.equal(await eventsOf(client, id), 0);
  assert.deepEqual(
    filesOf(daemon).map(({ name }) => name),
    [`${kept}.1.log`],
  );
});

test('what ended while no daemon ran, or whose time came then, is deleted by the next one', async (t) => {
  const daemon = await new DaemonUnderTest(t).start();
  const client = await daemon.client();
  await client.setGroup('default', { parallel: 4 });
  const { id: ended } = await client.submit({ shell: 'echo ended', ttlMs: 300 });
  const { id: running } = await client.submit({ command: ['sleep', '600'], ttlMs: 1_000 });
  await client.wait(ended);
  await waitFor('the job to run', async () => (await client.get(running)).status === 'running');
  await daemon.kill();
  await daemon.start();
  const again = await daemon.client();
  await waitFor('the job to be gone', () => isGone(again, ended));
  await waitFor('the job to be gone', () => isGone(again, running));
  assert.deepEqual(filesOf(daemon), []);
});

test('a thousand jobs whose time is over together hold nothing up', async (t) => {
  const daemon = await new DaemonUnderTest(t).start();
  const client = await daemon.client();
  await client.setGroup('default', { parallel: 50 });
  const jobs = await client.submitBatch(
    Array.from({ length: 1_000 }, () => ({ command: ['/nonexistent/program'], ttlMs: 4_000 })),
  );
  await client.wait(jobs.map(({ id }) => id));
  let slowestMs = 0;
  await waitFor('all to be gone', async () => {
    const beforeMs = performance.now();
    const { jobs: counts } = await client.status();
    slowestMs = Math.max(slowestMs, performance.now() - beforeMs);
    return counts.failed === 0;
  });
  t.diagnostic(`slowest answer meanwhile ${Math.round(slowestMs)} ms`);
  assert.ok(slowestMs < 500, `${slowestMs} ms`);
});

test('beyond retention.max-jobs the oldest ended jobs go, and no live one', async (t) => {
  const daemon = new DaemonUnderTest(t);
  fs.writeFileSync(`${daemon.dir}/config.toml`, '[retention]\nmax-jobs = 3\n');
  daemon.env.CORRAL_CONFIG = `${daemon.dir}/config.toml`;
  await daemon.start();
  const client = await daemon.client();
  const { id: live } = await client.submit({ command: ['sleep', '600'] });
  const ids: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    const { id } = await client.submit({ command: ['true'] });
    await client.wait(id);
    ids.push(id);
  }
  await waitFor('the oldest to be gone', async () => (await client.list()).jobs.length === 4);
  assert.deepEqual(
    (await client.list()).jobs.map(({ id }) => id),
    [live, ...ids.slice(-3)],
  );
});

test('beyond output.total-limit the oldest ended jobs go, until the rest fits', async (t) => {
  const daemon = await new DaemonUnderTest(t, { env: { CORRAL_OUTPUT_TOTAL_LIMIT: '250KiB' } }).start();
  const client = await daemon.client();
  const ids: number[] = [];
  for (let round = 0; round < 4; round += 1) {
    const { id } = await client.submit({ shell: 'head -c 102400 /dev/zero' });
    await client.wait(id);
    ids.push(id);
  }
  await waitFor('the oldest to be gone', async () => (await client.list()).jobs.length === 2);
  assert.deepEqual(
    (await client.list()).jobs.map(({ id }) => id),
    ids.slice(-2),
  );
  assert.equal(filesOf(daemon).length, 2);
  await client.remove(ids.slice(-2));
  const { id } = await client.submit({ shell: 'head -c 204800 /dev/zero' });
  await client.wait(id);
  assert.equal((await client.get(id)).outputBytes, 204_800, 'what was removed does not count');
});
