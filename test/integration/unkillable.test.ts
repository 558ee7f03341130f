/** What SIGKILL does not end is named, and holds its slot until it is gone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ColdStorage, whyNoColdStorage } from '../support/cold-storage.ts';
import { startDaemon, tiers } from '../support/daemon.ts';
import { isAlive } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

for (const { tier, skip } of tiers) {
  test(`a job that SIGKILL does not end stays in stopping, is named by health and holds its slot until it is gone; tier ${tier}`, {
    skip: skip || whyNoColdStorage,
  }, async (t) => {
    const storage = new ColdStorage(t);
    const { client } = await startDaemon(t, { tier, parallel: 1 });
    const { id } = await client.submit({ command: ['sleep', '600'], killGraceMs: 100 });
    const next = await client.submit({ command: ['true'] });
    await waitFor('it runs', async () => (await client.get(id)).pid !== null);
    const { pid } = await client.get(id);
    assert.ok(pid !== null);
    await storage.freeze(pid);
    await client.cancel(id);
    await waitFor('it is called unkillable', async () => (await client.get(id)).unkillable, 20_000);
    assert.equal((await client.get(id)).status, 'stopping');
    assert.ok(isAlive(pid), 'control: it lives on');
    const { reasons, checks } = await client.health();
    assert.ok(reasons.some(({ code }) => code === 'UNKILLABLE_JOBS'));
    assert.deepEqual(checks.unkillableJobs, [id]);
    assert.equal((await client.get(next.id)).status, 'queued', 'the slot stays held');
    await storage.letGo();
    const [ended, after] = await client.wait([id, next.id]);
    assert.deepEqual([ended?.status, ended?.cause, ended?.unkillable], ['cancelled', 'cancel', false]);
    assert.equal(after?.status, 'completed');
    assert.deepEqual((await client.health()).checks.unkillableJobs, []);
  });
}
