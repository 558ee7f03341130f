/** A job under each built-in profile as it is shipped, from the command line to its end. Only times are made short. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobView } from '../../src/client/index.ts';
import { CommandLine, corral } from '../support/cli.ts';
import { isAlive } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

const minuteMs = 60_000;
const dayMs = 1_440 * minuteMs;

async function show(cli: CommandLine, id: number): Promise<JobView> {
  const { code, stdout, stderr } = await cli.run(['show', '--json', String(id)]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

async function shownOnce(cli: CommandLine, id: number, condition: (job: JobView) => boolean): Promise<JobView> {
  let job = await show(cli, id);
  await waitFor(`job ${id} is as wanted`, async () => {
    job = await show(cli, id);
    return condition(job);
  });
  return job;
}

async function over(cli: CommandLine, id: number): Promise<JobView> {
  await cli.run(['wait', String(id)]);
  return show(cli, id);
}

async function submit(cli: CommandLine, ...args: string[]): Promise<number> {
  const { code, stdout, stderr } = await cli.run(['submit', ...args]);
  assert.equal(code, 0, stderr);
  return Number(stdout);
}

/** The values that a profile has of its own, and those that the job has. */
function ownOf({ policies, profile }: JobView): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(policies)
      .filter(([, { from }]) => from === 'job' || (from === `profile ${profile}` && profile !== 'default'))
      .map(([name, { value }]) => [name, value]),
  );
}

/** How long after its end the record goes. */
function keptMs({ finishedAt, expiresAt }: JobView): number {
  return Math.round((Date.parse(expiresAt ?? '') - Date.parse(finishedAt ?? '')) / 1_000) * 1_000;
}

const streamIdle = { 'idle.cpuMillicores': 4, 'idle.checks': 5, 'idle.intervalMs': 10_000, 'idle.signals': ['cpu'] };

test('a job of each profile', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['daemon', 'start']);
  await cli.run(['group', 'set', 'default', '--parallel', '10']);

  await t.test('default runs to its end, once, and is kept for a day', async () => {
    const job = await over(cli, await submit(cli, '--', 'false'));
    assert.deepEqual([job.profile, job.status, job.cause, job.attempts.length], ['default', 'failed', 'exit', 1]);
    assert.deepEqual([keptMs(job), ownOf(job)], [dayMs, {}]);
    assert.deepEqual(job.policies['idle.checks'], { value: 30, from: 'profile default' });
  });

  await t.test('stream ends after five quiet checks, and is kept for two minutes', async () => {
    const id = await submit(cli, '--profile', 'stream', '--idle-interval', '200ms', '--', 'sleep', '600');
    const job = await over(cli, id);
    assert.deepEqual([job.status, job.cause, job.attempts.length], ['failed', 'idle', 1]);
    assert.match(job.message ?? '', /^5 checks, 200ms apart, at or below 4 millicores: /);
    assert.equal(keptMs(job), 2 * minuteMs);
    assert.deepEqual(ownOf(job), {
      ...streamIdle,
      'idle.intervalMs': 200,
      leaseMs: 3 * minuteMs,
      ttlMs: 2 * minuteMs,
    });
  });

  await t.test('batch fails twice, each time after a pause that doubles, and succeeds the third time', async (t) => {
    const delay = ['--profile', 'batch', '--retry-delay', '400ms'];
    const job = await over(cli, await submit(cli, ...delay, '-c', 'exit $((CORRAL_ATTEMPT < 3))'));
    assert.deepEqual([job.status, job.retries, job.attempt], ['completed', 2, 3]);
    assert.deepEqual(
      job.attempts.map(({ exitCode }) => exitCode),
      [1, 1, 0],
    );
    for (const [index, delayMs] of [400, 800].entries()) {
      const [before, after] = job.attempts.slice(index);
      const pauseMs = Date.parse(after?.startedAt ?? '') - Date.parse(before?.finishedAt ?? '');
      t.diagnostic(`a pause of ${pauseMs} ms`);
      assert.ok(pauseMs >= delayMs / 2 - 5, `${pauseMs} ms in place of ${delayMs}, of which chance may take half`);
    }
    assert.deepEqual(ownOf(job), { maxRuntimeMs: 30 * minuteMs, 'retry.limit': 2, 'retry.delayMs': 400 });
    assert.deepEqual(job.policies['retry.jitter'], { value: 0.5, from: 'profile default' });
    assert.equal(keptMs(job), dayMs);

    const failed = await over(cli, await submit(cli, ...delay, '-c', 'exit $((CORRAL_ATTEMPT + 4))'));
    assert.deepEqual([failed.status, failed.exitCode, failed.attempts.length], ['failed', 7, 3], 'control: no fourth');
  });

  await t.test('test ends with its scope, at once; one outside of it lives on', async () => {
    const outsideId = await submit(cli, '--profile', 'test', '--', 'sleep', '600');
    const script = `
      id=$(${corral} submit --profile test -- sleep 600)
      until ${corral} ls --status running -q | grep -qx "$id"; do sleep 0.05; done
      echo "$id"`;
    const { stdout, stderr } = await cli.run(['scope', '--', 'sh', '-c', script]);
    assert.equal(stderr, 'corral: scope: 1 job, 0 ended by themselves, 1 cleaned, 0 failed, 0 processes left\n');
    const [outside, inside] = [await show(cli, outsideId), await show(cli, Number(stdout))];
    assert.deepEqual([inside.status, inside.cause, inside.attempt], ['cancelled', 'scope', 1]);
    assert.equal(keptMs(inside), 2 * minuteMs);
    assert.deepEqual(ownOf(inside), { ...streamIdle, maxRuntimeMs: 10 * minuteMs, ttlMs: 2 * minuteMs });
    assert.deepEqual(inside.policies.leaseMs, { value: null, from: 'profile default' });
    assert.deepEqual([outside.scope, outside.status], [null, 'running'], 'control');
    await cli.run(['cancel', String(outsideId)]);
  });

  await t.test('service comes back each time that its process is killed', async () => {
    const id = await submit(cli, '--profile', 'service', '--retry-delay', '100ms', '--', 'sleep', '600');
    const pids: number[] = [];
    for (const attempt of [1, 2, 3, 4]) {
      const job = await shownOnce(cli, id, (one) => one.status === 'running' && one.attempt === attempt);
      assert.ok(job.pid !== null && isAlive(job.pid));
      pids.push(job.pid);
      if (attempt < 4) process.kill(job.pid, 'SIGKILL');
    }
    assert.equal(new Set(pids).size, 4);
    const job = await show(cli, id);
    assert.deepEqual([job.status, job.retries], ['running', 3]);
    assert.deepEqual(
      job.attempts.map(({ cause, signal }) => [cause, signal]),
      [...Array(3).fill(['signal', 'SIGKILL']), [null, null]],
    );
    assert.deepEqual(ownOf(job), {
      idle: null,
      'retry.limit': null,
      'retry.delayMs': 100,
      'retry.maxDelayMs': minuteMs,
      'retry.breakerFailures': 16,
      'retry.breakerWindowMs': 20 * minuteMs,
    });
    await cli.run(['cancel', String(id)]);
    const ended = await over(cli, id);
    assert.deepEqual([ended.status, ended.cause, ended.attempt], ['cancelled', 'cancel', 4], 'a cancel ends it');
  });

  await t.test('service that fails at once each time is given up, and it is said', async () => {
    const pauses = ['--retry-delay', '20ms', '--retry-max-delay', '20ms'];
    const { code, stderr } = await cli.run(['run', '-n', 'broken', '--profile', 'service', ...pauses, '-c', 'exit 9']);
    const message = 'gave up: 16 failures within 20m; last: exit 9';
    const job = await show(cli, Number((await cli.run(['ls', '--all', '--name', 'broken', '-q'])).stdout));
    assert.deepEqual([code, stderr], [9, `corral: job ${job.id}: ${message}\n`]);
    assert.deepEqual([job.status, job.attempts.length, job.message], ['failed', 16, message]);
  });
});
