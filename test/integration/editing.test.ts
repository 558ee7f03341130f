import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobView } from '../../src/client/index.ts';
import { CommandLine } from '../support/cli.ts';
import { startDaemon } from '../support/daemon.ts';

test('corral edit changes a job that waits, in everything that it names and nothing else', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['group', 'set', 'default', '--parallel', '0']);
  await cli.run(['submit', '-n', 'old', '-e', 'KEPT=1', '-e', 'GONE=2', '--max-runtime', '1h', '--', 'echo', 'old']);
  const show = async (): Promise<JobView> => JSON.parse((await cli.run(['show', '--json', '1'])).stdout);
  const before = await show();
  const line = 'echo $KEPT-$GONE-$NEW; pwd';
  const edits: string[][] = [
    ['-n', 'new', '-p', '7'],
    ['-e', 'NEW=3', '--unset', 'GONE', '-C', '/tmp'],
    ['--kill-grace', '2s'],
    ['--retry-breaker', '3/5m', '--retry-jitter', '0', '--no-idle-dry-run'],
    ['-c', line],
  ];
  for (const args of edits)
    assert.deepEqual(await cli.run(['edit', '1', ...args]), { code: 0, stdout: '', stderr: '' });
  const after = await show();
  assert.deepEqual(after, {
    ...before,
    name: 'new',
    priority: 7,
    cwd: '/tmp',
    command: ['/bin/sh', '-c', line],
    limits: { ...before.limits, killGraceMs: 2_000 },
    policies: {
      ...before.policies,
      killGraceMs: { value: 2_000, from: 'job' },
      'retry.breakerFailures': { value: 3, from: 'job' },
      'retry.breakerWindowMs': { value: 300_000, from: 'job' },
      'retry.jitter': { value: 0, from: 'job' },
      'idle.dryRun': { value: false, from: 'job' },
    },
  });
  const notes = (await cli.run(['events', '-j', '1', '--json'])).stdout
    .trim()
    .split('\n')
    .map((text) => JSON.parse(text))
    .filter(({ kind }) => kind === 'edited');
  assert.deepEqual(
    notes.map(({ detail }) => detail.changed),
    [
      ['name', 'priority'],
      ['cwd', 'env.NEW', 'env.GONE'],
      ['killGraceMs'],
      ['idle.dryRun', 'retry.jitter', 'retry.breakerFailures', 'retry.breakerWindowMs'],
      ['command'],
    ],
  );
  await cli.run(['group', 'set', 'default', '--parallel', '1']);
  await cli.run(['wait', '1']);
  assert.equal((await cli.run(['logs', '1'])).stdout, '1--3\n/tmp\n');

  const tooLate = await cli.run(['edit', '1', '-p', '1']);
  assert.deepEqual([tooLate.code, tooLate.stdout], [1, '']);
  assert.match(tooLate.stderr, /Job 1 is completed; only a queued job can be changed.*corral retry 1/);
  assert.match((await cli.run(['edit', '1'])).stderr, /Say what to change, such as --priority 9/);
  assert.match((await cli.run(['edit', '9', '-p', '1'])).stderr, /There is no job 9/);
  assert.equal((await cli.run(['edit', '1', '-g', 'x'])).code, 2, 'the group is not edited: that is corral move');
});

test('an edited job and a moved one are as they were left after SIGKILL of the daemon', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 0 });
  const { id } = await client.submit({ command: ['true'], env: { PATH: '/bin', A: '1' }, delayMs: 3_600_000 });
  const edited = await client.edit(id, { priority: 3, env: { set: { A: '2' } }, delayMs: null, retry: { limit: 1 } });
  await daemon.kill();
  await daemon.start();
  const found = await client.get(id);
  assert.deepEqual(found, edited);
  assert.deepEqual([found.priority, found.notBefore, found.policies['retry.limit']?.value], [3, null, 1]);
});

test('corral move takes queued jobs to another group, where they run, and names those that it cannot', async (t) => {
  const { client } = await startDaemon(t, { parallel: 0 });
  const ids = (await client.submitBatch(Array(4).fill({ command: ['true'] }))).map(({ id }) => id);
  await assert.rejects(client.move(ids, 'night'), { code: 'GROUP_NOT_FOUND' });
  await client.addGroup('night', { parallel: 1, maxQueued: 3 });
  const report = await client.move([...ids, 99], 'night');
  assert.deepEqual(
    report.errors.map(({ jobId, code }) => [jobId, code]),
    [
      [ids[3], 'QUEUE_FULL'],
      [99, 'JOB_NOT_FOUND'],
    ],
  );
  const jobs = await client.wait(ids.slice(0, 3));
  assert.deepEqual(
    jobs.map(({ group, status }) => `${group} ${status}`),
    Array(3).fill('night completed'),
  );
  const [last] = jobs.slice(-1);
  assert.deepEqual(
    (await client.move([last?.id ?? 0], 'default')).errors.map(({ code }) => code),
    ['JOB_NOT_QUEUED'],
  );
  const groups = await client.groups();
  assert.deepEqual(groups.map(({ name, queued, active }) => [name, queued, active]).sort(), [
    ['default', 1, 0],
    ['night', 0, 0],
  ]);
});
