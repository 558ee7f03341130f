import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client, EventView, JobView } from '../../src/client/index.ts';
import { CommandLine } from '../support/cli.ts';
import { startDaemon, tiers } from '../support/daemon.ts';

const rounds = 100;

/**
 * A line of shell that holds a lock from its start to the death of its last process, and says so where another one has it: the
 * kernel gives it up when nobody holds the descriptor any more. flock(2)
 */
const alone = (dir: string) => `exec 9>>${dir}/lock; flock -n 9 || echo twice >>${dir}/twice; sleep 0.02 & sleep 0.03`;

for (const { tier, skip } of tiers) {
  test(`retry against cancel against kill, ${rounds} times at once on one job: one attempt at a time, and an end (tier ${tier})`, {
    skip,
    timeout: 60_000,
  }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier, parallel: 4 });
    const others = [await daemon.client(), await daemon.client()] as const;
    const { id } = await client.submit({ shell: alone(daemon.dir), killGraceMs: 20 });
    const calls: Promise<unknown>[] = [];
    for (let round = 0; round < rounds; round += 1) {
      if (round % 4 === 0) {
        // However busy the machine is: from time to time there is an attempt to fall upon.
        await client.wait(id, { timeoutMs: 20_000 });
        await client.retry(id);
      }
      calls.push(client.retry(id), others[0].cancel(id), others[1].signal(id, 'SIGKILL'));
      calls.push(others[round % 2 === 0 ? 0 : 1].cancel(id, { mode: 'kill' }), client.retry(id));
      await delay((round * 7) % 30);
    }
    await Promise.all(calls);
    await client.cancel(id);
    await client.wait(id, { timeoutMs: 20_000 });
    const { done } = await client.retry(id);
    assert.equal(done, 1);
    const [job] = await client.wait(id, { timeoutMs: 20_000 });

    assert.equal(job?.status, 'completed', 'the last life is left alone');
    assert.ok(!fs.existsSync(`${daemon.dir}/twice`), 'no attempt met another one');
    t.diagnostic(`${job?.attempts.length} attempts`);
    assert.ok(
      (job?.attempts.length ?? 0) >= rounds / 4,
      `control: there were many attempts, not ${job?.attempts.length}`,
    );
    checkAttempts(job as JobView);
    await checkEvents(client, id);
  });
}

test('control: two jobs of the same line meet each other', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 2 });
  const line = `${alone(daemon.dir)}; sleep 0.5`;
  const jobs = await client.submitBatch([{ shell: line }, { shell: line }]);
  await client.wait(jobs.map(({ id }) => id));
  assert.equal(fs.readFileSync(`${daemon.dir}/twice`, 'utf8'), 'twice\n');
});

function checkAttempts({ attempts }: JobView): void {
  for (const [index, { attempt, startedAt, finishedAt, cause }] of attempts.entries()) {
    assert.equal(attempt, index + 1);
    assert.ok(cause !== null && finishedAt !== null, `attempt ${attempt} has ended`);
    const earlier = attempts[index - 1];
    if (earlier !== undefined && startedAt !== null)
      assert.ok(
        Date.parse(startedAt) >= Date.parse(earlier.finishedAt ?? ''),
        `attempt ${attempt} waited for the one before`,
      );
  }
}

/** Each transition begins where the one before it ended, and the job ended as often as it was begun. */
async function checkEvents(client: Client, jobId: number): Promise<void> {
  const events: EventView[] = [];
  for await (const event of client.events({ jobId })) events.push(event);
  let status: string | null = null;
  for (const event of events.filter(({ kind }) => kind === 'transition')) {
    assert.equal(event.from, status);
    status = event.to;
    if (event.to === 'queued') assert.equal(event.cause, null, 'why an earlier life ended is not why it is queued');
  }
  assert.equal(status, 'completed');
}

test('corral retry runs ended jobs again as the same jobs, and says why it does not run others', async (t) => {
  const cli = new CommandLine(t);
  const flag = `${cli.daemon.dir}/flag`;
  assert.equal((await cli.run(['run', '-n', 'flaky', '-c', `echo try $CORRAL_ATTEMPT; test -e ${flag}`])).code, 1);
  await cli.run(['submit', '--', 'sleep', '60']);
  fs.writeFileSync(flag, '');
  const report = await cli.run(['retry', '1..3', '--json']);
  assert.equal(report.code, 1);
  assert.deepEqual(
    JSON.parse(report.stdout).errors.map(({ jobId, code }: { jobId: number; code: string }) => [jobId, code]),
    [
      [2, 'JOB_RUNNING'],
      [3, 'JOB_NOT_FOUND'],
    ],
  );
  assert.equal((await cli.run(['wait', '1'])).code, 0);
  const job: JobView = JSON.parse((await cli.run(['show', '1', '--json'])).stdout);
  assert.deepEqual([job.name, job.status, job.attempt, job.retries], ['flaky', 'completed', 2, 0]);
  assert.deepEqual(
    job.attempts.map(({ exitCode }) => exitCode),
    [1, 0],
  );
  assert.equal((await cli.run(['logs', '1'])).stdout, 'try 2\n');
  assert.match((await cli.run(['retry', '2'])).stderr, /Job 2 is running\. Only a job that has ended can be run again/);

  await cli.run(['cancel', '2', '--wait']);
  const noRoom = await cli.run(['group', 'set', 'default', '--max-queued', '0']);
  assert.equal(noRoom.code, 0);
  assert.match((await cli.run(['retry', '1', '2'])).stderr, /2 of these find no room in the queue of the group/);
});

test('a job that is run again stays so across SIGKILL of the daemon, with its earlier attempts', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 1 });
  const { id } = await client.submit({ command: ['false'] });
  await client.wait(id);
  await client.setGroup('default', { parallel: 0 });
  assert.equal((await client.retry(id)).done, 1);
  await daemon.kill();
  await daemon.start();
  const queued = await client.get(id);
  assert.deepEqual([queued.status, queued.cause, queued.finishedAt, queued.attempt], ['queued', null, null, 1]);
  await client.setGroup('default', { parallel: 1 });
  const [job] = await client.wait(id);
  assert.deepEqual([job?.status, job?.attempts.length], ['failed', 2]);
  assert.equal((await client.remove(id)).done, 1);
});
