/** Jobs that do not get on: listed, named by health, and ended for real. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CommandLine } from '../support/cli.ts';
import { startDaemon, tiers } from '../support/daemon.ts';
import { pidsWith, sleepToken } from '../support/processes.ts';
import { RawClient } from '../support/raw-client.ts';
import { waitFor } from '../support/wait-for.ts';

/** One child ignores SIGTERM, one has a session of its own. */
const resisting = (token: string) =>
  `echo "$CORRAL_JOB_ID progress 10 reading" > "$CORRAL_REPORT"; sh -c "trap '' TERM; sleep ${token}; sleep ${token}" & setsid sleep ${token} & wait`;

for (const { tier, skip } of tiers) {
  test(`${tier}: when a reset answers, the processes of the jobs are gone`, { skip }, async (t) => {
    const { client } = await startDaemon(t, { tier });
    const token = sleepToken();
    const { id } = await client.submit({ shell: resisting(token), killGraceMs: 100 });
    await waitFor('all are there', () => pidsWith(token).length >= 3);
    const report = await client.resetStuck({ olderThanMs: 1 });
    assert.deepEqual(pidsWith(token), []);
    assert.deepEqual([report.success, report.job_ids], [true, [id]]);
  });
}

test('a job stuck at 10 % is listed, named by health, and reset', async (t) => {
  const cli = new CommandLine(t, { CORRAL_HEALTH_STUCK_AFTER: '300ms' });
  await cli.run(['group', 'set', 'default', '--parallel', '4']);
  const token = sleepToken();
  await cli.run(['submit', '--kill-grace', '100ms', '--name', 'stuck', '-c', resisting(token)]);
  await cli.run(['submit', '--kill-grace', '100ms', '-c', `exec sleep ${token}`]);
  const gettingOn = 'while :; do i=$((i+1)); echo "$CORRAL_JOB_ID progress - $i" > "$CORRAL_REPORT"; sleep 0.05; done';
  await cli.run(['submit', '-c', gettingOn]);
  const list = async (...flags: string[]) => {
    const jobs = JSON.parse((await cli.run(['stuck', '--json', ...flags])).stdout);
    return (jobs as { id: number }[]).map(({ id }) => id);
  };
  assert.deepEqual(await list(), []);
  await waitFor('two are stuck', async () => (await list('--no-progress-for', '2s')).length === 2);
  assert.deepEqual(await list('--older-than', '1s'), [1, 2, 3]);
  assert.deepEqual(await list('--older-than', '1s', '--no-progress-for', '2s'), [1, 2]);
  await cli.run(['group', 'add', 'elsewhere']);
  assert.deepEqual(await list('--older-than', '1s', '-g', 'elsewhere'), []);
  const text = (await cli.run(['stuck', '--no-progress-for', '2s'])).stdout;
  assert.match(
    text,
    /^ID +RUNNING +NO PROGRESS +PROGRESS +GROUP +NAME +COMMAND\n1 +\S+ +\S+ +10 % reading +default +stuck /,
  );
  const health = await cli.run(['health']);
  assert.equal(health.code, 1);
  assert.match(health.stdout, /STUCK_JOBS: No progress any more from job 1\.\n/);

  const reset = await cli.run(['stuck', 'reset', '--no-progress-for', '2s', '--json']);
  assert.deepEqual(pidsWith(token), []);
  assert.equal(reset.code, 0, reset.stderr);
  assert.deepEqual(JSON.parse(reset.stdout), {
    success: true,
    reset_count: 2,
    job_ids: [1, 2],
    message: 'Ended, with all processes: jobs 1, 2.',
  });
  const job = JSON.parse((await cli.run(['show', '1', '--json'])).stdout);
  assert.deepEqual([job.status, job.cause, job.progress.percent], ['cancelled', 'reset', 10]);
  assert.equal((await cli.run(['health'])).code, 0);
  assert.equal(JSON.parse((await cli.run(['show', '3', '--json'])).stdout).status, 'running');
  const again = await cli.run(['stuck', 'reset', '--older-than', '30m']);
  assert.deepEqual([again.code, again.stdout], [0, 'No job is stuck (running for 30m).\n']);
  const bare = await cli.run(['stuck', 'reset']);
  assert.equal(bare.code, 2);
  assert.match(bare.stderr, /--older-than 30m/);
});

test('one that has not ended in time is named, with success false; it goes on being ended', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const { id } = await client.submit({ shell: "trap '' TERM; while :; do sleep 1; done", killGraceMs: 2_000 });
  await waitFor('it runs', async () => (await client.get(id)).status === 'running');
  const raw = await new RawClient(daemon.socket).hello();
  raw.request(1, 'stuck.reset', { noProgressForMs: 1, holdMs: 200 });
  const answer = await raw.next();
  raw.socket.destroy();
  assert.deepEqual(answer?.result, {
    success: false,
    reset_count: 0,
    job_ids: [],
    message: `Not ended in time: job ${id}; some process of it is still there. See: corral show ${id}`,
  });
  const [job] = await client.wait(id);
  assert.deepEqual([job?.status, job?.cause], ['cancelled', 'reset']);
});

test('a reset must say which jobs', async (t) => {
  const { client } = await startDaemon(t);
  await assert.rejects(client.resetStuck({}), {
    code: 'INVALID_PARAMS',
    message: /olderThanMs, noProgressForMs or both/,
  });
});
