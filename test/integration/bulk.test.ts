/** Work on many jobs at once: those that are named, and those that a filter means. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import type { Client } from '../../src/client/index.ts';
import type { JobView } from '../../src/protocol/index.ts';
import { CommandLine } from '../support/cli.ts';
import { makeFinishedJobs } from '../support/finished-jobs.ts';
import { pidsWith, sleepToken } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

async function connected(cli: CommandLine): Promise<Client> {
  await cli.run(['daemon', 'start']);
  return cli.daemon.client();
}

test('200 jobs are paused, resumed and cancelled by filter; a job of another name is not touched', async (t) => {
  const cli = new CommandLine(t);
  const client = await connected(cli);
  const token = sleepToken();
  await client.setGroup('default', { parallel: 201 });
  await client.submitBatch(
    Array.from({ length: 200 }, (_, index) => ({ command: ['sleep', token], name: `load-${index}` })),
  );
  const other = await client.submit({ command: ['sleep', token], name: 'reload' });
  await waitFor('all run', async () => (await client.select({ statuses: ['running'] })).length === 201, 30_000);

  assert.deepEqual(await cli.run(['pause', '--name', 'load-*']), {
    code: 0,
    stdout: '',
    stderr: 'corral: paused 200 jobs: 1..200\n',
  });
  const paused = async () => {
    const listed: JobView[] = JSON.parse((await cli.run(['ls', '--json'])).stdout);
    return listed.filter((job) => job.paused).map(({ id }) => id);
  };
  assert.deepEqual(
    await paused(),
    Array.from({ length: 200 }, (_, index) => index + 1),
  );
  assert.equal((await cli.run(['ls', '-q', '-n', 'load-19*'])).stdout.split('\n').length - 1, 11);

  assert.equal(
    (await cli.run(['resume', '1..150', '--name', 'load-1*'])).stderr,
    'corral: resumed 61 jobs: 2, 11..20, 101..150\n',
    'ids and filters narrow each other',
  );
  assert.equal((await paused()).length, 200 - 61);

  const beginMs = performance.now();
  const cancelled = await cli.run(['cancel', '--group', 'default', '--name', 'load-*', '--wait', '--json']);
  t.diagnostic(`200 jobs cancelled in ${Math.round(performance.now() - beginMs)} ms`);
  assert.equal(cancelled.code, 0, cancelled.stderr);
  assert.deepEqual(JSON.parse(cancelled.stdout), { requested: 200, done: 200, failed: 0, errors: [] });
  assert.equal(pidsWith(token).length, 1, 'with --wait every process of theirs is gone');
  assert.equal((await client.get(other.id)).status, 'running');
  assert.equal((await cli.run(['kill', '--all', '-s', 'KILL'])).stderr, 'corral: signalled 1 job: 201\n');
});

test('what is meant where a filter names no status depends on the verb; a job that cannot be served is named', async (t) => {
  const cli = new CommandLine(t);
  const client = await connected(cli);
  await client.setGroup('default', { parallel: 2 });
  await client.submitBatch([{ command: ['true'] }, { command: ['false'] }]);
  await client.wait([1, 2], { timeoutMs: 10_000 });
  await client.submitBatch(Array.from({ length: 3 }, () => ({ command: ['sleep', '60'], name: 'long' })));
  await waitFor('two run', async () => (await client.select({ statuses: ['running'] })).length === 2);

  const meant = async (...args: string[]) =>
    (await cli.run([...args, '--dry-run'])).stdout.trim().replaceAll('\n', ' ');
  const dry: [args: string[], ids: string][] = [
    [['cancel', '--all'], '3 4 5'],
    [['pause', '--all'], '3 4 5'],
    [['kill', '--all'], '3 4'],
    [['rm', '--all'], '1 2'],
    [['rm', '--all', '--status', 'failed'], '2'],
    [['rm', '--group', 'default', '--older-than', '1h'], ''],
    [['cancel', '2..4', '--name', 'l*g'], '3 4'],
    [['cancel', '4', '9'], '4'],
    [['resume', '--status', 'queued,running', '--name', 'long'], '3 4 5'],
  ];
  for (const [args, ids] of dry) assert.equal(await meant(...args), ids, args.join(' '));
  assert.deepEqual(JSON.parse((await cli.run(['rm', '--all', '--dry-run', '--json'])).stdout), {
    requested: 2,
    jobIds: [1, 2],
  });
  assert.equal((await client.list()).jobs.length, 5, 'a dry run changes nothing');

  assert.deepEqual(await cli.run(['rm', '1', '3']), {
    code: 1,
    stdout: '',
    stderr: 'corral: Job 3 is running. End it first: corral cancel 3\n',
  });
  assert.deepEqual(await client.select(), [2, 3, 4, 5], 'the others proceeded');
  const refused = await cli.run(['rm', '--group', 'default', '--status', 'failed,running', '--json']);
  assert.equal(refused.code, 1);
  const { requested, done, failed, errors } = JSON.parse(refused.stdout);
  assert.deepEqual([requested, done, failed], [3, 1, 2]);
  assert.deepEqual(
    errors.map(({ jobId, code }: { jobId: number; code: string }) => [jobId, code]),
    [
      [3, 'JOB_RUNNING'],
      [4, 'JOB_RUNNING'],
    ],
  );

  const typed: [args: string[], code: number, stderr: RegExp][] = [
    [
      ['pause'],
      2,
      /^corral: Say which jobs: ids or ranges, filters such as --group NAME, or --all\. Example: corral pause/,
    ],
    [['cancel', '--group', 'nope'], 1, /^corral: There is no group "nope"/],
    [['cancel', '--name', 'nope'], 0, /^corral: no such jobs\n$/],
    [['cancel', '--older-than', 'soon'], 2, /is not a duration/],
    [['rm', '--group', 'default', '--older-than', 'off'], 2, /argument 'off' is invalid. Write a time like/],
    [['heartbeat', '3', '--every', '0'], 2, /argument '0' is invalid. Write a time like/],
    [['stuck', '--group', 'nope'], 1, /^corral: There is no group "nope"/],
    [['stuck', 'reset', '--older-than', '1s', '--group', 'nope'], 1, /^corral: There is no group "nope"/],
    [['cancel', '--status', 'happy'], 2, /There is no status "happy"/],
    [['pause', '2..9'], 1, /^corral: 5 of these do not exist .*: 2, 6\.\.9\n$/],
  ];
  for (const [args, code, stderr] of typed) {
    const outcome = await cli.run(args);
    assert.deepEqual([outcome.code, outcome.stdout], [code, ''], args.join(' '));
    assert.match(outcome.stderr, stderr);
  }
  assert.equal((await cli.run(['cancel', '--all', '--kill', '--wait'])).code, 0);
  assert.equal((await client.list({ statuses: ['cancelled'] })).jobs.length, 3);
});

test('clean deletes what ended longer ago, and nothing that has not ended', async (t) => {
  const cli = new CommandLine(t);
  fs.mkdirSync(cli.daemon.stateDir, { mode: 0o700 });
  makeFinishedJobs(`${cli.daemon.stateDir}/corral.db`, 6); // Long ago. Every third failed, every second is in the group `other`.
  const client = await connected(cli);
  const fresh = await client.submit({ command: ['true'] });
  await client.wait(fresh.id, { timeoutMs: 10_000 });
  const running = await client.submit({ command: ['sleep', '60'] });

  const typed: [args: string[], code: number, stdout: string, stderr: RegExp][] = [
    [[], 2, '', /^corral: Say how long ago they must have ended, or --all\./],
    [['--group', 'other'], 2, '', /^corral: Say how long ago they must have ended, or --all\./],
    [['3'], 2, '', /too many arguments/],
    [
      ['--all', '--status', 'failed,running'],
      2,
      '',
      /^corral: Only jobs that have ended can be deleted, not running ones/,
    ],
    [['--older-than', '1h', '--group', 'nope'], 1, '', /^corral: There is no group "nope"/],
    [['--older-than', '1h', '--group', 'other', '--status', 'failed', '--dry-run'], 0, '6\n', /^$/],
    [['--older-than', '1h', '--group', 'other', '--status', 'failed'], 0, '', /^corral: deleted 1 job: 6\n$/],
    [['--older-than', '1h'], 0, '', /^corral: deleted 5 jobs: 1\.\.5\n$/],
    [['--older-than', '1h'], 0, '', /^corral: no such jobs\n$/],
  ];
  for (const [args, code, stdout, stderr] of typed) {
    const outcome = await cli.run(['clean', ...args]);
    assert.deepEqual([outcome.code, outcome.stdout], [code, stdout], `${args.join(' ')}: ${outcome.stderr}`);
    assert.match(outcome.stderr, stderr);
  }
  assert.deepEqual(await client.select(), [fresh.id, running.id]);
  assert.deepEqual(JSON.parse((await cli.run(['clean', '--all', '--json'])).stdout), {
    requested: 1,
    done: 1,
    failed: 0,
    errors: [],
  });
  assert.deepEqual(await client.select(), [running.id], 'what runs is left alone');
  await cli.run(['cancel', '--all', '--kill', '--wait']);
});

test('thousands of ended jobs are looked through in pieces, and those that are meant are deleted', async (t) => {
  const cli = new CommandLine(t);
  fs.mkdirSync(cli.daemon.stateDir, { mode: 0o700 });
  makeFinishedJobs(`${cli.daemon.stateDir}/corral.db`, 6_000); // Every third failed, every second is in the group `other`.
  const client = await connected(cli);
  assert.equal((await client.select()).length, 6_000);
  assert.deepEqual(await client.select({ name: '*' }), [], 'they have no names');
  const named = Array.from({ length: 5_500 }, (_, index) => index + 100);
  assert.deepEqual(
    await client.select({ jobIds: named, statuses: ['failed'], group: 'other' }),
    named.filter((id) => id % 6 === 0),
  );
  assert.equal((await client.select({ olderThanMs: 60_000, statuses: ['completed'] })).length, 4_000);

  const removed = await cli.run(['rm', '--group', 'other', '--status', 'failed', '--older-than', '1d']);
  assert.match(removed.stderr, /^corral: deleted 1,000 jobs: 6, 12, /);
  assert.equal((await cli.run(['ls', '--name', 'nothing', '--all', '-q'])).stdout, '');
  assert.deepEqual(await client.select({ group: 'other', statuses: ['failed'] }), []);
  assert.match((await cli.run(['rm', '--all'])).stderr, /^corral: deleted 5,000 jobs: /);
  assert.deepEqual((await client.status()).jobs.completed, 0);
});
