import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { JobView } from '../../../src/client/index.ts';
import { startDaemon, tiers } from '../../support/daemon.ts';
import { whyNoPython } from '../../support/python.ts';
import { waitFor } from '../../support/wait-for.ts';

const hiddenWork = fileURLToPath(new URL('../../programs/hidden-work', import.meta.url));

function ranMs({ startedAt, finishedAt }: JobView): number {
  return Date.parse(finishedAt ?? '') - Date.parse(startedAt ?? '');
}

describe('with true numbers', { concurrency: 5 }, () => {
  for (const { tier, skip } of tiers) {
    test(`stream: nobody comes, and it ends 50 s after its start; tier ${tier}`, {
      skip,
    }, async (t) => {
      const { client } = await startDaemon(t, { tier, parallel: 9 });
      // 1 s of CPU in 30 s is above 4 millicores, again and again.
      const busy = await client.submit({
        shell: 'while :; do sleep 29; timeout 1 sh -c "while :; do :; done"; done',
        profile: 'stream',
        leaseMs: null,
      });
      const { id } = await client.submit({ command: ['sleep', '600'], profile: 'stream', leaseMs: null });
      const [job] = await client.wait(id, { timeoutMs: 90_000 });
      assert.ok(job);
      assert.deepEqual([job.status, job.cause], ['failed', 'idle']);
      assert.ok(ranMs(job) >= 45_000 && ranMs(job) <= 65_000, `it ran for ${ranMs(job)} ms`);
      assert.match(job.message ?? '', /^5 checks, 10s apart, at or below 4 millicores: (\d\.\d, ){4}\d\.\d$/);
      t.diagnostic(`ended after ${ranMs(job)} ms: ${job.message}`);
      assert.equal((await client.get(busy.id)).status, 'running');
    });

    test(`20 ms of CPU in 10 s, in short-lived orphans of other sessions, are more than 1 millicore; tier ${tier}`, {
      skip: skip || whyNoPython,
    }, async (t) => {
      const { client } = await startDaemon(t, { tier, parallel: 9 });
      const idle = { cpuMillicores: 1, checks: 5, intervalMs: 10_000, signals: ['cpu' as const] };
      const hidden = await client.submit({ command: [hiddenWork, '20', '10'], idle });
      // Control: the same rule ends one that does nothing, later.
      const { id } = await client.submit({ command: ['sleep', '600'], idle: { ...idle, checks: 7 } });
      const [control] = await client.wait(id, { timeoutMs: 120_000 });
      assert.equal(control?.cause, 'idle');
      if (tier === 'cgroup') {
        const [usage] = await client.usage({ jobIds: [hidden.id] });
        t.diagnostic(`${usage?.cpuMs} ms of CPU in ${ranMs(control)} ms`);
        assert.equal((await client.get(hidden.id)).status, 'running');
        assert.equal(usage?.idle?.quietChecks, 0, 'no check was quiet');
      } else {
        // Control: what the kernel counts for a leaf, a look at /proc does not see.
        const [job] = await client.wait(hidden.id, { timeoutMs: 120_000 });
        assert.equal(job?.cause, 'idle');
        t.diagnostic(`ended after ${ranMs(job)} ms: ${job.message}`);
      }
    });
  }

  test('stream: its lease of 3 min is over when no client has come for so long', async (t) => {
    const { client } = await startDaemon(t);
    const { id } = await client.submit({ command: ['sleep', '600'], profile: 'stream', idle: null });
    // Whoever waits is a client, too: so this looks now and then.
    await delay(175_000);
    assert.equal((await client.get(id)).status, 'running');
    await waitFor('the end of the lease', async () => (await client.get(id)).finishedAt !== null, 20_000);
    const job = await client.get(id);
    assert.deepEqual([job.status, job.cause], ['cancelled', 'lease']);
    assert.ok(ranMs(job) >= 179_000 && ranMs(job) <= 185_000, `it ran for ${ranMs(job)} ms`);
    t.diagnostic(`ended after ${ranMs(job)} ms`);
  });
});
