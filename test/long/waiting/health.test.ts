/** What takes its time to show: a launch that hangs for half a minute, and that a minute later nothing is said of a slow disk. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { DaemonUnderTest } from '../../support/daemon.ts';
import { compileHarm, whyNoHarm } from '../../support/harm.ts';
import { waitFor } from '../../support/wait-for.ts';

test('a launch that hangs is named after 30 s and goes on when it can; a slow commit is forgotten', {
  skip: whyNoHarm,
}, async (t) => {
  const daemon = new DaemonUnderTest(t);
  const harm = compileHarm(daemon.dir);
  Object.assign(daemon.env, harm);
  const client = await (await daemon.start()).client();
  const codes = async () => (await client.health()).reasons.map(({ code }) => code);
  fs.writeFileSync(harm.HARM_SLOW, '');
  fs.writeFileSync(harm.HARM_HANG, '');
  const startedMs = performance.now();
  const { id } = await client.submit({ command: ['true'] });
  assert.ok((await codes()).includes('STORE_SLOW'));
  assert.equal((await client.get(id)).status, 'starting');
  await waitFor('it is named', async () => (await codes()).includes('LAUNCH_STALLED'), 60_000);
  assert.ok(performance.now() - startedMs > 30_000);
  assert.deepEqual((await client.health()).checks.stalledLaunches, [id]);
  fs.rmSync(harm.HARM_HANG);
  assert.equal((await client.wait(id))[0]?.status, 'completed');
  assert.ok(!(await codes()).includes('LAUNCH_STALLED'));
  await waitFor('it is forgotten', async () => !(await codes()).includes('STORE_SLOW'), 90_000);
});
