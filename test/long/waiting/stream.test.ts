import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startDaemon, tiers } from '../../support/daemon.ts';

describe('profile stream', { concurrency: 2 }, () => {
  for (const { tier, skip } of tiers) {
    test(`stream, with its true numbers: nobody comes, and it ends 50 s after its start; tier ${tier}`, {
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
      const ranMs = Date.parse(job.finishedAt ?? '') - Date.parse(job.startedAt ?? '');
      assert.ok(ranMs >= 45_000 && ranMs <= 65_000, `it ran for ${ranMs} ms`);
      assert.match(job.message ?? '', /^5 checks, 10s apart, at or below 4 millicores: (\d\.\d, ){4}\d\.\d$/);
      t.diagnostic(`ended after ${ranMs} ms: ${job.message}`);
      assert.equal((await client.get(busy.id)).status, 'running');
    });
  }
});
