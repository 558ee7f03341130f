import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CommandLine, corral } from '../../support/cli.ts';
import { startDaemon } from '../../support/daemon.ts';
import { sleepToken } from '../../support/processes.ts';

const ignoresSigterm = fileURLToPath(new URL('../../programs/ignores-sigterm', import.meta.url));

test('a scope whose client does not come back within 10 s of a restart ends: its queued jobs never run', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 0 });
  const other = await daemon.client();
  const scope = other.scope();
  await scope.submit({ command: ['true'] });
  await daemon.kill();
  other.close();
  await daemon.start();
  const startedMs = performance.now();
  const [job] = await client.wait(1);
  const tookMs = performance.now() - startedMs;
  assert.deepEqual([job?.status, job?.cause, job?.attempt], ['cancelled', 'scope', 0]);
  assert.ok(tookMs > 8_000 && tookMs < 15_000, `${tookMs} ms`);
  assert.equal((await client.scopeReport(scope.id)).end, 'client-lost');
});

test('corral scope exits with 125 where a job has not ended within a minute, and names it', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['daemon', 'start']);
  const script = `${corral} submit --kill-grace 10m -- ${ignoresSigterm} ${sleepToken()}; sleep 0.5`;
  const { code, stderr } = await cli.run(['scope', '--', 'sh', '-c', script]);
  assert.equal(code, 125);
  assert.match(stderr, /^corral: scope: 1 job, 0 ended by themselves, 0 cleaned, 1 failed, 2 processes left\n/);
  assert.match(
    stderr,
    /\ncorral: Job 1 is still stopping: its grace is not over\. To end it at once: corral cancel --kill 1\n$/,
  );
});
