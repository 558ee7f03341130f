import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobView } from '../../src/client/index.ts';
import { CommandLine } from '../support/cli.ts';
import { startDaemon } from '../support/daemon.ts';

/** How long a job waited until it started. */
function waitedMs({ submittedAt, startedAt }: JobView): number {
  return Date.parse(startedAt ?? '') - Date.parse(submittedAt);
}

test('a delay holds, and a restart of the daemon by SIGKILL neither shortens nor lengthens it', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 9 });
  const delayed = await client.submit({ command: ['true'], delayMs: 2_000 });
  const far = await client.submit({ command: ['true'], delayMs: 60 * 86_400_000 });
  const at = await client.submit({ command: ['true'], startAt: new Date(Date.now() + 2_000).toISOString() });
  const before = await client.get(far.id);
  await daemon.kill();
  await daemon.start();
  assert.equal((await client.get(far.id)).notBefore, before.notBefore);
  const jobs = await client.wait([delayed.id, at.id], { timeoutMs: 20_000 });
  for (const job of jobs) {
    assert.equal(job.status, 'completed');
    // The two clocks of the daemon are not read in the same instant.
    assert.ok(waitedMs(job) >= 1_990 && waitedMs(job) < 15_000, `job ${job.id} waited ${waitedMs(job)} ms`);
  }
  assert.equal((await client.get(far.id)).status, 'queued', 'a delay of 60 days is beyond what a timer takes');
});

test('a job that has not started by its deadline fails; the time of its delay does not count', async (t) => {
  const { client } = await startDaemon(t, { parallel: 0 });
  const { id } = await client.submit({ command: ['true'], startDeadlineMs: 200 });
  const delayed = await client.submit({ command: ['true'], delayMs: 400, startDeadlineMs: 200 });
  const [job, later] = await client.wait([id, delayed.id], { timeoutMs: 20_000 });
  for (const one of [job, later])
    assert.deepEqual([one?.status, one?.cause, one?.attempt], ['failed', 'start-deadline', 0]);
  assert.ok(Date.parse(later?.finishedAt ?? '') - Date.parse(later?.submittedAt ?? '') >= 590);
});

test('run, submit and edit take --delay, --at and --start-deadline', async (t) => {
  const cli = new CommandLine(t);
  const run = await cli.run(['run', '--delay', '300ms', '--start-deadline', '1m', '-c', 'echo later']);
  assert.deepEqual([run.code, run.stdout], [0, 'later\n']);
  const show = async (id: string): Promise<JobView> => JSON.parse((await cli.run(['show', '--json', id])).stdout);
  assert.ok(waitedMs(await show('1')) >= 290);

  const zone = { env: { TZ: 'Asia/Tokyo' } };
  assert.equal((await cli.run(['submit', '--at', '2127-01-31T06:00', '--', 'true'], zone)).code, 0);
  assert.equal((await show('2')).notBefore, '2127-01-30T21:00:00.000Z', "of the caller's zone");
  assert.equal((await cli.run(['submit', '--at', '2127-01-31T06:00+01:00', '--', 'true'], zone)).code, 0);
  assert.equal((await show('3')).notBefore, '2127-01-31T05:00:00.000Z');
  assert.equal((await cli.run(['edit', '3', '--delay', 'off'])).code, 0);
  assert.equal((await cli.run(['wait', '3'])).code, 0);

  const late = await cli.run(['run', '--delay', '50ms', '--start-deadline', '50ms', '--after', '2', '--', 'true']);
  assert.equal(late.code, 125);
  assert.match(late.stderr, /job 4 was not started within its start deadline of 50ms/);

  const wrong: [args: string[], stderr: RegExp][] = [
    [['--delay', '1h', '--at', '18:30'], /Name one of --delay and --at/],
    [['--at', '25:00'], /Write a time like 18:30/],
    [['--at', '2127-02-30T06:00'], /Write a time like/],
    [['--at', 'tomorrow'], /Write a time like/],
    [['--delay', '5'], /is not a duration/],
  ];
  for (const [args, stderr] of wrong) {
    const outcome = await cli.run(['submit', ...args, '--', 'true']);
    assert.equal(outcome.code, 2, args.join(' '));
    assert.match(outcome.stderr, stderr);
  }
});
