/** What `health` measures, and each thing that goes wrong in a way that only time shows. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import type { Client } from '../../src/client/index.ts';
import { CommandLine } from '../support/cli.ts';
import { DaemonUnderTest, startDaemon } from '../support/daemon.ts';
import { compileHarm, whyNoHarm } from '../support/harm.ts';
import { waitFor } from '../support/wait-for.ts';

const reasonsOf = async (client: Client) => (await client.health()).reasons.map(({ code }) => code as string);
/** A loaded machine holds a daemon up, and its store. That is no news here. */
const exceptLoad = async (client: Client) =>
  (await reasonsOf(client)).filter((code) => code !== 'LOOP_LAG' && code !== 'STORE_SLOW');

describe('health', { concurrency: 4 }, () => {
  test('has the figures of the queue and of the pace', async (t) => {
    const cli = new CommandLine(t);
    const client = await (await cli.daemon.start()).client();
    await client.setGroup('default', { parallel: 1 });
    await client.addGroup('night', { parallel: 5 });
    const gate = `${cli.daemon.dir}/gate`;
    const [first, second] = await client.submitBatch(
      [1, 2, 3].map(() => ({ shell: `until [ -e ${gate} ]; do sleep 0.05; done` })),
    );
    await waitFor('one runs', async () => (await client.get(first?.id ?? 0)).status === 'running');
    const { checks } = JSON.parse((await cli.run(['health', '--json'])).stdout);
    assert.deepEqual([checks.queued, checks.active, checks.slots], [2, 1, 6]);
    assert.deepEqual(checks.groups, [
      { name: 'default', queued: 2, active: 1, slots: 1 },
      { name: 'night', queued: 0, active: 0, slots: 5 },
    ]);
    assert.deepEqual([checks.longestRunning.jobId, checks.oldestQueued.jobId], [first?.id, second?.id]);
    assert.ok(checks.longestRunning.sinceMs >= 0 && checks.longestRunning.sinceMs < 60_000);
    assert.deepEqual([checks.startsPerMinute, checks.endsPerMinute], [1, 0]);
    assert.ok(checks.storeLatencyMs.max > 0 || checks.storeLatencyMs.last === 0);
    assert.deepEqual([checks.stalledQueues, checks.stalledLaunches], [[], []]);
    const { stdout } = await cli.run(['health']);
    assert.match(
      stdout,
      /^jobs {5}2 queued, 1 active, 6 slots\npace {5}1 started and 0 ended within the last minute\n/m,
    );
    assert.match(stdout, /^oldest {3}queued job 2, for .*; running job 1, for /m);
    assert.match(stdout, /^disk {5}.* free \(at least .*\); output of jobs 0 B of /m);
    fs.writeFileSync(gate, '');
    await client.wait([1, 2, 3]);
    const after = (await client.health()).checks;
    assert.deepEqual([after.queued, after.active, after.oldestQueued, after.longestRunning], [0, 0, null, null]);
    assert.deepEqual([after.startsPerMinute, after.endsPerMinute], [3, 3]);
  });

  test('says STORE_SLOW where a commit takes more than a second', { skip: whyNoHarm }, async (t) => {
    const daemon = new DaemonUnderTest(t);
    const harm = compileHarm(daemon.dir);
    Object.assign(daemon.env, harm);
    const client = await (await daemon.start()).client();
    await client.submit({ command: ['true'] });
    const before = await client.health();
    fs.writeFileSync(harm.HARM_SLOW, '');
    const { id } = await client.submit({ command: ['true'] });
    const { reasons, checks } = await client.health();
    const slow = reasons.find(({ code }) => code === 'STORE_SLOW');
    assert.match(slow?.message ?? '', /^A commit took .* within the last minute\.$/);
    assert.ok(checks.storeLatencyMs.max > 1_000, `${checks.storeLatencyMs.max}`);
    assert.ok(before.checks.storeLatencyMs.max < checks.storeLatencyMs.max);
    assert.equal((await client.wait(id))[0]?.status, 'completed');
  });

  test('says DISK_SILENT while the disk of the state directory does not answer', { skip: whyNoHarm }, async (t) => {
    const daemon = new DaemonUnderTest(t);
    const harm = compileHarm(daemon.dir);
    Object.assign(daemon.env, harm);
    const client = await (await daemon.start()).client();
    assert.deepEqual(await exceptLoad(client), []);
    fs.writeFileSync(harm.HARM_HANG, '');
    await waitFor('it is said', async () => (await exceptLoad(client)).includes('DISK_SILENT'), 20_000);
    fs.rmSync(harm.HARM_HANG);
    await waitFor('it is over', async () => (await exceptLoad(client)).length === 0);
  });

  test('says OUTPUT_FULL where the output of all jobs stays beyond its limit, until it does not', async (t) => {
    const { client } = await startDaemon(t, { env: { CORRAL_OUTPUT_TOTAL_LIMIT: '64KiB' } });
    assert.deepEqual(await exceptLoad(client), []);
    const { id } = await client.submit({
      shell: "trap '' TERM; head -c 1000000 /dev/zero; while :; do sleep 1; done",
      onOutputLimit: 'kill',
      killGraceMs: 60_000,
    });
    await waitFor('it is beyond', async () => (await client.health()).checks.outputBytes > 64 * 1024);
    assert.deepEqual(await exceptLoad(client), [], 'it may be that this passes');
    await waitFor('it is said', async () => (await exceptLoad(client)).length > 0, 20_000);
    const [reason] = (await client.health()).reasons.filter(({ code }) => code === 'OUTPUT_FULL');
    assert.match(reason?.message ?? '', /^The output of all jobs takes 97\d KiB, and may take 64 KiB\.$/);
    await client.cancel(id, { mode: 'kill' });
    await waitFor('it is over', async () => (await exceptLoad(client)).length === 0);
  });
});
