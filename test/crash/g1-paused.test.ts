import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { guardianPid, startDaemon, tiers } from '../support/daemon.ts';
import { endAll, pidsWith, sleepToken } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { waitFor } from '../support/wait-for.ts';

const jobs = 20;
const processes = jobs * 3;

async function pausedJobs(client: Awaited<ReturnType<typeof startDaemon>>['client'], token: string): Promise<void> {
  const shell = `sleep ${token} & setsid sleep ${token} & exec sleep ${token}`;
  await client.submitBatch(Array.from({ length: jobs }, () => ({ shell })));
  await waitFor('all processes run', () => pidsWith(`sleep\0${token}`).length === processes, 30_000);
  const ids = await client.select({ statuses: ['running'] });
  assert.equal((await client.pause(ids)).done, jobs);
}

for (const { tier, skip } of tiers) {
  test(`G1: SIGKILL of the daemon ends ${jobs} paused jobs within 1 s (tier ${tier})`, { skip }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier, parallel: jobs });
    const token = sleepToken();
    t.after(() => endAll(pidsWith(token)));
    await pausedJobs(client, token);
    process.kill(daemon.pid, 'SIGKILL');
    const tookMs = await waitFor('none is left', () => pidsWith(token).length === 0);
    t.diagnostic(`${processes} frozen processes gone ${Math.round(tookMs)} ms after SIGKILL`);
    assert.ok(tookMs <= promisedMs(1_000), `it took ${tookMs} ms`);
  });

  test(`G1: with the guardian killed too, paused jobs are gone once a new daemon answers (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier, parallel: jobs });
    const token = sleepToken();
    t.after(() => endAll(pidsWith(token)));
    await pausedJobs(client, token);
    const guardian = await guardianPid(client);
    process.kill(daemon.pid, 'SIGSTOP'); // So that it cannot start another guardian.
    process.kill(guardian, 'SIGKILL');
    await daemon.kill();
    await delay(200);
    assert.equal(pidsWith(token).length, processes, 'control: without daemon and guardian they stay');
    await daemon.start();
    assert.deepEqual(pidsWith(token), []);
  });
}
