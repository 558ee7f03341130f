import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { guardianPid, startDaemon, tiers } from '../support/daemon.ts';
import { endAll, pidsWith, sleepToken } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { waitFor } from '../support/wait-for.ts';

const forkChain = fileURLToPath(new URL('../programs/fork-chain', import.meta.url));
const jobs = 100;
const processesPerJob = 3;

function resistingJobs(token: string) {
  return Array.from({ length: jobs }, () => ({
    command: ['sh', '-c', `sleep ${token} & setsid sleep ${token} & exec sleep ${token}`],
  }));
}

for (const { tier, skip } of tiers) {
  test(`G1: SIGKILL of the daemon ends ${jobs} jobs of ${processesPerJob} processes within 1 s (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier, parallel: jobs });
    const token = sleepToken();
    await client.submitBatch(resistingJobs(token));
    await waitFor('all processes run', () => pidsWith(token).length === jobs * processesPerJob, 30_000);

    const killedAtMs = performance.now();
    process.kill(daemon.pid, 'SIGKILL');
    await waitFor('none is left', () => pidsWith(token).length === 0);
    const tookMs = performance.now() - killedAtMs;

    t.diagnostic(`${jobs * processesPerJob} processes gone ${Math.round(tookMs)} ms after SIGKILL`);
    assert.ok(tookMs <= promisedMs(1_000), `it took ${tookMs} ms`);
  });

  test(`G1: with the guardian killed too, everything is gone once a new daemon answers (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier, parallel: jobs });
    const token = sleepToken();
    t.after(() => endAll(pidsWith(token)));
    await client.submitBatch(resistingJobs(token));
    await waitFor('all processes run', () => pidsWith(token).length === jobs * processesPerJob, 30_000);

    const guardian = await guardianPid(client);
    process.kill(daemon.pid, 'SIGSTOP'); // So that it cannot start another guardian.
    process.kill(guardian, 'SIGKILL');
    await daemon.kill();
    await delay(300);
    assert.equal(pidsWith(token).length, jobs * processesPerJob, 'control: without daemon and guardian they live on');

    await daemon.start();
    assert.equal(pidsWith(token).length, 0);
    const again = await daemon.client();
    const { jobs: ended } = await again.list({ statuses: ['failed'] });
    assert.equal(ended.length, jobs);
    assert.ok(ended.every((job) => job.cause === 'supervisor-lost'));
  });
}

// In tier scan a chain that the daemon's death orphans is chased through /proc, and may reach its end first.
test('G1: SIGKILL of the daemon ends a chain of forks in the middle (tier cgroup)', {
  skip: tiers[0]?.skip ?? false,
}, async (t) => {
  const { daemon, client } = await startDaemon(t, { tier: 'cgroup' });
  const token = sleepToken();
  await client.submit({ command: [forkChain, token, '3000'] });
  await waitFor('the chain is on its way', () => pidsWith(token).length >= 2);
  process.kill(daemon.pid, 'SIGKILL');
  await waitFor('it has ended', () => pidsWith(token).length === 0, promisedMs(1_000));
  await delay(100);
  assert.deepEqual(pidsWith(token), [], 'it does not go on');
});
