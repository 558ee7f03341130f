/** A lease counts while nobody is attached, and only then. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '../../src/client/index.ts';
import { CommandLine, outcomeOf } from '../support/cli.ts';
import { type DaemonUnderTest, startDaemon } from '../support/daemon.ts';
import { pidsWith, sleepToken } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

/** Attached jobs are looked at after this much: several of their leases. */
const leaseMs = 400;
const longMs = 3 * leaseMs;

/** How long a job ran, and why it ended. */
async function endOf(client: Client, jobId: number) {
  const [job] = await client.wait(jobId);
  assert.ok(job?.startedAt && job.finishedAt);
  const { status, cause, message } = job;
  return { status, cause, message, ranMs: Date.parse(job.finishedAt) - Date.parse(job.startedAt) };
}

/** Resolves when the job has ended, without attaching to it. */
async function seenToEnd(client: Client, jobId: number): Promise<void> {
  for await (const { to } of client.events({ jobId, follow: true })) if (/ed$/.test(to) && to !== 'queued') return;
}

describe('a running job with a lease', () => {
  test('that nobody attends to ends, and says why', async (t) => {
    const { client } = await startDaemon(t, { parallel: 2 });
    const token = sleepToken();
    await client.submit({ command: ['sleep', token], leaseMs });
    const control = await client.submit({ command: ['sleep', token] });
    await seenToEnd(client, 1);
    const { ranMs, ...end } = await endOf(client, 1);
    assert.deepEqual(end, {
      status: 'cancelled',
      cause: 'lease',
      message: 'No client ever attached to it or sent a heartbeat, and its lease is 400ms.',
    });
    assert.ok(ranMs >= leaseMs - 50, `${ranMs} ms`);
    assert.equal((await client.get(control.id)).status, 'running', 'control: without a lease');
    assert.equal(pidsWith(token).length, 1);
  });

  for (const how of ['wait', 'logs'] as const) {
    test(`lives while a client holds ${how}, and its lease begins anew when that client has gone`, async (t) => {
      const { daemon, client } = await startDaemon(t);
      const attached = await daemon.client();
      await client.submit({ command: ['sleep', sleepToken()], leaseMs });
      const held = how === 'wait' ? attached.wait(1) : follow(attached);
      held.catch(() => undefined); // It is closed below.
      await delay(longMs);
      assert.equal((await client.get(1)).status, 'running');
      const leftAt = Date.now();
      attached.close();
      await seenToEnd(client, 1);
      const job = await client.get(1);
      assert.equal(job.cause, 'lease');
      assert.match(job.message ?? '', /^The last client was seen at 20\d\d-.*Z, and its lease is 400ms\.$/);
      assert.ok(Date.parse(job.finishedAt ?? '') - leftAt >= leaseMs - 50);
    });
  }

  test('lives as long as heartbeats come', async (t) => {
    const { client } = await startDaemon(t);
    await client.submit({ command: ['sleep', sleepToken()], leaseMs: 1_000 });
    for (let beat = 0; beat < 15; beat += 1) {
      assert.equal((await client.heartbeat(1)).done, 1);
      await delay(100);
    }
    assert.equal((await client.get(1)).status, 'running');
    await seenToEnd(client, 1);
    assert.equal((await client.get(1)).cause, 'lease');
  });
});

/** Client `early` holds a call on jobs 1 and 2 from before job 1 ended to after it was run again. Its second life has a lease. */
async function runAgainUnderACall(t: TestContext) {
  const { daemon, client } = await startDaemon(t, { parallel: 2 });
  const gate = `${daemon.dir}/gate`;
  const sleep = `exec sleep ${sleepToken()}`;
  await client.submit({ shell: `[ -e ${gate} ] && ${sleep}; until [ -e ${gate} ]; do sleep 0.02; done`, leaseMs });
  await client.submit({ shell: sleep });
  const early = await attachedClient(daemon, [1, 2]);
  fs.writeFileSync(gate, '');
  await seenToEnd(client, 1);
  assert.equal((await client.get(1)).status, 'completed');
  assert.equal((await client.retry(1)).done, 1);
  await waitFor('it runs again', async () => (await client.get(1)).status === 'running');
  return { daemon, client, early };
}

/** A client that holds `wait`. The daemon knows of the call. */
async function attachedClient(daemon: DaemonUnderTest, jobIds: readonly number[]): Promise<Client> {
  const client = await daemon.client();
  client.wait(jobIds).catch(() => undefined); // It is closed below.
  await client.status(); // Calls of one connection are taken in order.
  return client;
}

describe('the lease of a job that was run again', () => {
  test('does not run while a call is held on it and others that was begun before', async (t) => {
    const { client, early } = await runAgainUnderACall(t);
    await delay(longMs);
    assert.equal((await client.get(1)).status, 'running');
    early.close();
    await waitFor('its lease is over', async () => (await client.get(1)).cause === 'lease');
  });

  test('does not run while a client is attached, when a call that was begun before ends', async (t) => {
    const { daemon, client, early } = await runAgainUnderACall(t);
    const late = await attachedClient(daemon, [1]);
    early.close();
    await delay(longMs);
    assert.equal((await client.get(1)).status, 'running');
    late.close();
    await waitFor('its lease is over', async () => (await client.get(1)).cause === 'lease');
  });
});

async function follow(client: Client): Promise<void> {
  for await (const _ of client.logs(1, { follow: true }));
}

test('a queued job has no lease running, also over a restart of the daemon', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 0 });
  await client.submit({ command: ['true'], leaseMs: 100 });
  await daemon.kill();
  await delay(300);
  await daemon.start();
  await delay(200);
  assert.equal((await client.get(1)).status, 'queued');
  await client.setGroup('default', { parallel: 1 });
  assert.equal((await endOf(client, 1)).status, 'completed');
});

test('corral heartbeat --every goes on until its jobs have ended; without it, it is one', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['submit', '-c', 'until [ -e gate ]; do sleep 0.05; done']);
  assert.deepEqual(await cli.run(['heartbeat', '1']), { code: 0, stdout: '', stderr: '' });
  const beating = cli.spawn(['heartbeat', '1', '--every', '50ms']);
  const outcome = outcomeOf(beating);
  const isOver = once(beating, 'exit').then(() => 'over');
  assert.equal(await Promise.race([isOver, delay(1_500, 'beating')]), 'beating');
  await cli.run(['submit', '-c', ': >gate']);
  assert.deepEqual(await outcome, { code: 0, stdout: '', stderr: '' });
  const late = await cli.run(['heartbeat', '1', '99']);
  assert.equal(late.code, 1);
  assert.match(late.stderr, /^corral: Job 1 has ended \(completed\), .*\ncorral: There is no job 99/);
});
