import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { CorralError } from '../../src/client/index.ts';
import { type DaemonUnderTest, startDaemon, tiers } from '../support/daemon.ts';

const half = 1_000;

for (const { tier, skip } of tiers) {
  test(`G7: ${2 * half} jobs at 8 slots: none is lost, and fds, zombies, leaves and memory are flat over the second half (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier, parallel: 8 });
    const run = async () => {
      const submitted = await client.submitBatch(Array.from({ length: half }, () => ({ command: ['true'] })));
      const jobs = await client.wait(
        submitted.map(({ id }) => id),
        { timeoutMs: 60_000 },
      );
      assert.equal(jobs.filter((job) => job.status === 'completed').length, half);
      return footprint(daemon);
    };
    const startedMs = performance.now();
    const first = await run();
    const second = await run();
    t.diagnostic(
      `${Math.round((2 * half) / ((performance.now() - startedMs) / 1_000))} jobs/s; after the first half ${JSON.stringify(first)}, after the second ${JSON.stringify(second)}`,
    );
    assert.equal(second.zombies, 0);
    assert.equal(second.leaves, 0);
    assert.ok(Math.abs(second.fds - first.fds) <= 2, 'open descriptors');
    assert.ok(second.rssMiB <= first.rssMiB + 40, 'resident memory');
  });
}

test('G7: a full queue refuses with QUEUE_FULL, and takes more once there is room', async (t) => {
  const { client } = await startDaemon(t, { parallel: 0 });
  await client.setGroup('default', { maxQueued: 2 });
  const { id } = await client.submit({ command: ['true'] });
  await client.submit({ command: ['true'] });
  const full = (error: unknown) => error instanceof CorralError && error.code === 'QUEUE_FULL';
  await assert.rejects(client.submit({ command: ['true'] }), full);
  await assert.rejects(client.submitBatch([{ command: ['true'] }]), full);
  await client.cancel(id);
  await client.submit({ command: ['true'] });
});

test('G7: limits of a group are kept across a restart', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 0 });
  await client.setGroup('default', { parallel: 7, maxQueued: 5 });
  await daemon.kill();
  await daemon.start();
  const [group] = await client.groups();
  assert.deepEqual([group?.parallel, group?.maxQueued], [7, 5]);
});

function footprint(daemon: DaemonUnderTest) {
  const status = fs.readFileSync(`/proc/${daemon.pid}/status`, 'utf8');
  const children = fs
    .readdirSync(`/proc/${daemon.pid}/task`)
    .flatMap((thread) =>
      fs.readFileSync(`/proc/${daemon.pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean),
    );
  const leaves = daemon.leavesDir();
  return {
    fds: fs.readdirSync(`/proc/${daemon.pid}/fd`).length,
    zombies: children.filter(
      (pid) => fs.existsSync(`/proc/${pid}/stat`) && / Z /.test(fs.readFileSync(`/proc/${pid}/stat`, 'latin1')),
    ).length,
    leaves:
      leaves === null || !fs.existsSync(leaves)
        ? 0
        : fs
            .readdirSync(leaves, { withFileTypes: true, recursive: true })
            .filter((entry) => entry.isDirectory() && /^\d/.test(entry.name)).length,
    rssMiB: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024),
  };
}
