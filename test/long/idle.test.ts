import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { everySignal, measureSampling, summaryOf } from '../../bench/sampling.ts';
import { startDaemon, tiers } from '../support/daemon.ts';
import { waitFor } from '../support/wait-for.ts';

for (const { tier, skip } of tiers) {
  test(`of 1,000 idle and 10 busy jobs, exactly the 1,000 are ended; tier ${tier}`, { skip }, async (t) => {
    const { client } = await startDaemon(t, { tier, parallel: 2_000 });
    const idle = { cpuMillicores: 4, checks: 3, intervalMs: 5_000, signals: ['cpu' as const] };
    // Each a tenth of a core: all of one would leave the daemon nothing, and show what the machine does then.
    const works = 'while :; do timeout 0.1 sh -c "while :; do :; done"; sleep 0.9; done';
    const busy = await client.submitBatch(Array.from({ length: 10 }, () => ({ shell: works, idle })));
    const quiet = await client.submitBatch(Array.from({ length: 1_000 }, () => ({ command: ['sleep', '600'], idle })));
    const ended = await client.wait(
      quiet.map(({ id }) => id),
      { timeoutMs: 120_000 },
    );
    assert.equal(ended.length, 1_000);
    assert.deepEqual([...new Set(ended.map(({ cause }) => cause))], ['idle']);
    for (const { id } of busy) assert.equal((await client.get(id)).status, 'running');
    const { samplerLagMs, loopLagMs } = (await client.health()).checks;
    t.diagnostic(`sampler ${samplerLagMs} ms late, longest lag of the loop ${loopLagMs} ms`);
    assert.ok(samplerLagMs < 5_000, `the sampler was ${samplerLagMs} ms late`);
  });

  test(`a look at 1,000 jobs of 3 processes costs what it may, and never keeps the loop for more than 10 ms; tier ${tier}`, {
    skip,
  }, async (t) => {
    const stream = summaryOf(await measureSampling(tier, 1_000));
    const all = summaryOf(await measureSampling(tier, 1_000, everySignal));
    t.diagnostic(`stream: ${JSON.stringify(stream)}; default: ${JSON.stringify(all)}`);
    assert.ok(stream.cpuMs <= (tier === 'cgroup' ? 20 : 150), `${stream.cpuMs} ms of CPU for profile stream`);
    for (const { longestMs } of [stream, all]) assert.ok(longestMs <= 10, `the loop was kept for ${longestMs} ms`);
  });
}

test('time in which nobody looked proves nothing: a daemon that was stopped starts the count again, and says that it was late', async (t) => {
  const { client, daemon } = await startDaemon(t);
  const idle = { cpuMillicores: 50, checks: 4, intervalMs: 1_000, signals: ['cpu' as const] };
  const { id } = await client.submit({ command: ['sleep', '600'], idle });
  const quietChecks = async () => (await client.usage({ jobIds: [id] }))[0]?.idle?.quietChecks ?? 0;
  await waitFor('two checks were quiet', async () => (await quietChecks()) >= 2);
  process.kill(daemon.pid, 'SIGSTOP');
  await delay(6_000);
  const wokenMs = performance.now();
  process.kill(daemon.pid, 'SIGCONT');
  await waitFor('it has looked again', async () => (await client.health()).checks.samplerLagMs > 0);
  assert.ok((await client.health()).reasons.some(({ code }) => code === 'SAMPLER_LATE'));
  const [job] = await client.wait(id, { timeoutMs: 30_000 });
  assert.equal(job?.cause, 'idle');
  const laterMs = performance.now() - wokenMs;
  assert.ok(laterMs > 3_400, `it was ended ${laterMs} ms after nobody had looked for 6 s, on fewer than 4 checks`);
});
