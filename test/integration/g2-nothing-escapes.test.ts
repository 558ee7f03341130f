import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { corral } from '../support/cli.ts';
import { startDaemon, tiers } from '../support/daemon.ts';
import { endAll, isAlive, pidsWith, sleepToken } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

const programFile = (name: string) => fileURLToPath(new URL(`../programs/${name}`, import.meta.url));

/** Programs that go on until they are ended, with the number of processes to wait for. */
const resisting = [
  { name: 'setsid-child', processes: 2 },
  { name: 'wiped-daemon', processes: 2 },
  { name: 'ignores-sigterm', processes: 2 },
  { name: 'stopped-tree', processes: 3 },
  { name: 'fork-chain', processes: 2 },
  { name: 'new-terminal', processes: 2 },
];

const killGraceMs = 300;

for (const { tier, skip } of tiers) {
  for (const how of ['cancel', 'max-runtime'] as const) {
    test(`G2: ${how} ends every process of ${resisting.map(({ name }) => name).join(', ')} (tier ${tier})`, {
      skip,
    }, async (t) => {
      const { client } = await startDaemon(t, { tier, parallel: resisting.length });
      const cases = resisting.map((program) => ({ ...program, token: sleepToken() }));
      const maxRuntimeMs = how === 'max-runtime' ? 1_500 : null;
      const submitted = await client.submitBatch(
        cases.map(({ name, token }) => ({ command: [programFile(name), token], killGraceMs, maxRuntimeMs })),
      );
      const ids = submitted.map(({ id }) => id);
      for (const { name, token, processes } of cases)
        await waitFor(`${name} is up`, () => pidsWith(token).length >= processes);

      if (how === 'cancel') await client.cancel(ids);
      for (const job of await client.wait(ids, { timeoutMs: 20_000 })) {
        assert.equal(job.cause, how);
        assert.equal(job.status, how === 'cancel' ? 'cancelled' : 'failed');
        assert.equal(job.unkillable, false);
      }
      for (const { name, token } of cases) assert.deepEqual(pidsWith(token), [], `${name} left processes behind`);
    });
  }

  test(`G2: a chain of 300 forks is ended in the middle (tier ${tier})`, { skip }, async (t) => {
    const { client } = await startDaemon(t, { tier, parallel: 4 });
    const token = sleepToken();
    const { id } = await client.submit({ command: [programFile('fork-chain'), token, '300'], killGraceMs: null });
    await waitFor('the chain is on its way', () => pidsWith(token).length >= 2);
    await client.cancel(id, { mode: 'kill' });
    await client.wait(id, { timeoutMs: 20_000 });
    assert.deepEqual(pidsWith(token), []);
    await delay(200);
    assert.deepEqual(pidsWith(token), [], 'no link of the chain came after the end');
  });

  test(`G2: a leader that exits 0 while nohup children run: they are ended, and counted as strays (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { client } = await startDaemon(t, { tier });
    const token = sleepToken();
    const { id } = await client.submit({ command: [programFile('leader-exits-first'), token], killGraceMs });
    const [job] = await client.wait(id, { timeoutMs: 20_000 });
    assert.deepEqual(pidsWith(token), []);
    assert.deepEqual([job?.status, job?.cause, job?.exitCode, job?.strays], ['completed', 'exit', 0, 2]);
  });

  test(`G2: the leader's exit is not seen late because a grandchild holds its output (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { client } = await startDaemon(t, { tier });
    const token = sleepToken();
    const { id } = await client.submit({ command: [programFile('holds-stdout'), token], killGraceMs: 1_500 });
    const seenAfterMs = await waitFor('the exit is seen', async () => (await client.get(id)).exitCode === 7);
    const during = await client.get(id);
    assert.equal(during.status, 'stopping', 'the job is not over while the grandchild lives');
    assert.equal(pidsWith(token).length, 1);
    assert.ok(seenAfterMs < 1_000, `seen after ${seenAfterMs} ms`);
    const [job] = await client.wait(id, { timeoutMs: 20_000 });
    assert.deepEqual([job?.status, job?.cause, job?.exitCode, job?.strays], ['failed', 'exit', 7, 1]);
    assert.deepEqual(pidsWith(token), []);
  });
}

for (const { tier, skip } of tiers) {
  test(`G2: a process that sheds every mark ${tier === 'cgroup' ? 'is ended with its job' : 'is the hole of the tier: it lives until the daemon stops'} (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier });
    const token = sleepToken();
    t.after(() => endAll(pidsWith(token)));
    const { id } = await client.submit({ command: [programFile('sheds-every-mark'), token], killGraceMs });
    await waitFor('both are up', () => pidsWith(token).length === 2);
    await client.cancel(id);
    await client.wait(id, { timeoutMs: 20_000 });
    assert.equal(pidsWith(token).length, tier === 'cgroup' ? 0 : 1);
    await daemon.signal('SIGTERM');
    assert.deepEqual(pidsWith(token), [], 'nothing outlives the daemon');
  });
}

for (const { tier, skip } of tiers) {
  test(`G2: a daemon that a job started ends with the job, and so do the jobs of that daemon (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier });
    const token = sleepToken();
    t.after(() => endAll(pidsWith(token)));
    const { id } = await client.submit({
      shell: `env -u CORRAL_SOCKET ${corral} submit -- sh -c 'setsid sleep ${token} & exec sleep ${token}'; exec sleep ${token}`,
      env: { ...daemon.env, CORRAL_STATE_DIR: `${daemon.dir}/inner`, CORRAL_RUNTIME_DIR: `${daemon.dir}/inner-run` },
      killGraceMs,
    });
    await waitFor('the jobs of both daemons run', () => pidsWith(`sleep\0${token}`).length === 3);
    const inner = Number(fs.readFileSync(`${daemon.dir}/inner/daemon.lock`, 'utf8'));
    assert.ok(isAlive(inner));
    await client.cancel(id);
    await client.wait(id, { timeoutMs: 20_000 });
    assert.equal(isAlive(inner), false);
    await waitFor('nothing is left', () => pidsWith(token).length === 0, 2_000);
  });
}

test('G2 control: each of these programs outlives a supervisor that ends only the process that it started', async (t) => {
  const cases = [...resisting.map(({ name }) => name), 'leader-exits-first', 'holds-stdout'].map((name) => ({
    name,
    token: sleepToken(),
  }));
  t.after(() => endAll(cases.flatMap(({ token }) => pidsWith(token))));
  for (const { name, token } of cases) {
    const child = spawn(programFile(name), [token, '5'], { detached: true, stdio: 'ignore' });
    const exit = once(child, 'exit');
    await waitFor(`${name} is up`, () => pidsWith(token).some((pid) => pid !== child.pid));
    await delay(100);
    child.kill('SIGTERM');
    if (name !== 'leader-exits-first' && name !== 'holds-stdout') child.kill('SIGKILL');
    await exit;
  }
  const survivors = cases.filter(({ token }) => pidsWith(token).length > 0).map(({ name }) => name);
  // The kernel hangs up a terminal whose master is gone, which is the one way out that needs no supervisor.
  assert.deepEqual(
    survivors,
    cases.map(({ name }) => name).filter((name) => name !== 'new-terminal'),
  );
});
