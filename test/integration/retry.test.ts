/** Failed attempts are run again, on real processes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client, JobView } from '../../src/client/index.ts';
import { CommandLine, outcomeOf } from '../support/cli.ts';
import { DaemonUnderTest, startDaemon } from '../support/daemon.ts';
import { compileHarm, whyNoHarm } from '../support/harm.ts';
import { promisedMs } from '../support/promised.ts';
import { retryStorm } from '../support/retry-storm.ts';
import { waitFor } from '../support/wait-for.ts';

async function waitUntil(client: Client, jobId: number, condition: (job: JobView) => boolean): Promise<JobView> {
  let job = await client.get(jobId);
  await waitFor(`job ${jobId} is as wanted`, async () => {
    job = await client.get(jobId);
    return condition(job);
  });
  return job;
}

test('a job is run again until it succeeds; run, wait, attach and logs -f stay with it over all attempts', async (t) => {
  const cli = new CommandLine(t);
  const gate = `${cli.daemon.dir}/gate`;
  const job = {
    shell: `echo try $CORRAL_ATTEMPT; until [ -e ${gate} ]; do sleep 0.05; done; exit $((CORRAL_ATTEMPT < 3))`,
    retry: { limit: 5, delayMs: 200, jitter: 0 },
  };
  await cli.run(['submit', '--batch'], { input: `${JSON.stringify(job)}\n` });
  const readers = [
    ['logs', '-f', '1'],
    ['attach', '1'],
  ].map((args) => cli.spawn(args));
  const outcomes = readers.map(outcomeOf);
  await Promise.all(readers.map((reader) => reader.stdout && once(reader.stdout, 'data')));
  fs.writeFileSync(gate, '');
  const waited = await cli.run(['wait', '1']);
  const [following = waited, attached = waited] = await Promise.all(outcomes);
  assert.equal(following.stdout, 'try 1\ntry 2\ntry 3\n');
  assert.deepEqual([attached.stdout, attached.stderr, attached.code], ['try 1\ntry 2\ntry 3\n', '', 0]);
  assert.equal(waited.code, 0);
  assert.equal((await cli.run(['attach', '-n', 'all', '1'])).stdout, 'try 1\ntry 2\ntry 3\n');
  assert.equal((await cli.run(['logs', '1'])).stdout, 'try 3\n');
  assert.equal((await cli.run(['logs', '-f', '--attempt', '2', '1'])).stdout, 'try 2\n');
  const shown = JSON.parse((await cli.run(['show', '--json', '1'])).stdout) as JobView;
  assert.deepEqual([shown.status, shown.retries, shown.attempts.length], ['completed', 2, 3]);
  assert.deepEqual(
    shown.attempts.map(({ exitCode }) => exitCode),
    [1, 1, 0],
  );
  const pauses = shown.attempts.slice(1).map(({ startedAt }, index) => {
    return Date.parse(startedAt ?? '') - Date.parse(shown.attempts[index]?.finishedAt ?? '');
  });
  assert.ok((pauses[0] ?? 0) >= 195 && (pauses[1] ?? 0) >= 395, `pauses of ${pauses} ms`);
});

test('retries used up: the job fails with its last exit code; ls shows what it waits for meanwhile', async (t) => {
  const cli = new CommandLine(t);
  const job = (delayMs: number) => ({
    shell: 'exit $((CORRAL_ATTEMPT + 10))',
    retry: { limit: 1, delayMs, maxDelayMs: delayMs, jitter: 0 },
  });
  await cli.run(['submit', '--batch'], {
    input: [job(100), job(600_000)].map((one) => JSON.stringify(one)).join('\n'),
  });
  assert.equal((await cli.run(['wait', '1'])).code, 12);
  let table = '';
  await waitFor('it waits for its retry', async () => {
    table = (await cli.run(['ls'])).stdout;
    return table.includes('retry');
  });
  assert.match(table, /^1 +failed +exit 12 /m);
  assert.match(table, /^2 +queued +retry 1\/1 in (9m \d+s|10m) /m);
});

test('a cancel while it waits for its retry ends the job, and its slot was free all the while', async (t) => {
  const { client } = await startDaemon(t, { parallel: 1 });
  const { id } = await client.submit({ command: ['false'], retry: { limit: null, delayMs: 60_000 } });
  await waitUntil(client, id, ({ retries }) => retries === 1);
  const other = await client.submit({ command: ['true'] });
  await client.wait(other.id);
  const waiting = await client.get(id);
  assert.equal(waiting.status, 'queued');
  assert.ok(Date.parse(waiting.notBefore ?? '') > Date.now() + 20_000);
  await client.cancel(id);
  const [ended] = await client.wait(id);
  assert.deepEqual([ended?.status, ended?.cause, ended?.attempts.length], ['cancelled', 'cancel', 1]);
});

test('counter and pause survive SIGKILL of the daemon, and no attempt is run twice', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const out = `${daemon.dir}/out`;
  const delayMs = 1_000;
  const { id } = await client.submit({
    shell: `echo $CORRAL_ATTEMPT >>${out}; exit 1`,
    retry: { limit: 2, delayMs, maxDelayMs: delayMs, jitter: 0 },
  });
  for (const retries of [1, 2]) {
    const before = await waitUntil(client, id, (job) => job.retries === retries && job.status === 'queued');
    await daemon.kill();
    await daemon.start();
    const after = await client.get(id);
    assert.ok(after.retries >= retries);
    // Where the restart took longer than the pause, the job is further on already.
    if (after.retries === retries && after.status === 'queued') assert.equal(after.notBefore, before.notBefore);
  }
  const [ended] = await client.wait(id);
  assert.deepEqual([ended?.status, ended?.retries, ended?.attempts.length], ['failed', 2, 3]);
  assert.deepEqual(fs.readFileSync(out, 'utf8').split('\n'), ['1', '2', '3', '']);
  for (const [index, { startedAt }] of ended?.attempts.slice(1).entries() ?? []) {
    const pauseMs = Date.parse(startedAt ?? '') - Date.parse(ended?.attempts[index]?.finishedAt ?? '');
    assert.ok(pauseMs >= delayMs - 5, `a pause of ${pauseMs} ms`);
  }
});

test('the breaker gives up a job that fails too often, and says so; run passes that on', async (t) => {
  const cli = new CommandLine(t);
  const job = { shell: 'exit 9', retry: { limit: null, delayMs: 10, maxDelayMs: 10, breakerFailures: 4 } };
  await cli.run(['submit', '--batch'], { input: `${JSON.stringify(job)}\n` });
  const attached = await cli.run(['attach', '1']);
  assert.equal(attached.code, 9);
  assert.equal(attached.stderr, 'corral: job 1: gave up: 4 failures within 1m; last: exit 9\n');
  const shown = JSON.parse((await cli.run(['show', '--json', '1'])).stdout) as JobView;
  assert.deepEqual([shown.attempts.length, shown.message], [4, 'gave up: 4 failures within 1m; last: exit 9']);
});

test('a storm of retries is spread out, and every job comes to its end', (t) =>
  retryStorm(t, { jobs: 200, perSecond: 100, burst: 20 }));

/** How late a job may be ended. A machine that has more to do than it can is given time. */
const lateMs = promisedMs(1_000);

describe('the wall clock of the daemon jumps', { skip: whyNoHarm, concurrency: true }, () => {
  for (const days of [1, -1]) {
    test(`G11: by ${days} day: nothing is reaped or started early, nothing hangs`, async (t) => {
      const daemon = new DaemonUnderTest(t);
      const clock = `${daemon.dir}/clock`;
      Object.assign(daemon.env, compileHarm(daemon.dir), { HARM_CLOCK_FILE: clock });
      await daemon.start();
      const client = await daemon.client();
      await client.setGroup('default', { parallel: 10 });
      const lastsMs = 4_000;
      const began = performance.now();
      const running = await client.submit({ command: ['sleep', '60'], maxRuntimeMs: lastsMs, killGraceMs: 100 });
      const delayed = await client.submit({ command: ['true'], delayMs: lastsMs });
      const retrying = await client.submit({
        shell: 'exit $((CORRAL_ATTEMPT < 2))',
        retry: { limit: 1, delayMs: lastsMs, jitter: 0 },
      });
      const leased = await client.submit({ command: ['sleep', '60'], leaseMs: 60_000, idle: { intervalMs: 60_000 } });
      // One check is enough to end it: what it used, taken over the time by which the clock has jumped, would be nothing. A second is
      // long enough for a busy machine to let it have its 4 ms.
      const busy = await client.submit({
        shell: 'while :; do :; done',
        idle: { checks: 1, intervalMs: 1_000, signals: ['cpu'] },
      });
      const patient = await client.submit({ command: ['true'], delayMs: 60_000, startDeadlineMs: 90_000 });
      const kept = await client.submit({ command: ['true'], ttlMs: 60_000 });
      await client.wait(kept.id);
      await waitUntil(client, retrying.id, ({ retries }) => retries === 1);
      await waitUntil(client, running.id, ({ status }) => status === 'running');
      await waitUntil(client, leased.id, ({ status }) => status === 'running');
      const sleepingBegan = performance.now();
      const sleepsMs = 3_000;
      const sleeping = await client.submit({
        command: ['sleep', '60'],
        idle: { checks: 10, intervalMs: sleepsMs / 10, signals: ['cpu'] },
      });
      const quietChecks = async () => (await client.usage({ jobIds: [sleeping.id] }))[0]?.idle?.quietChecks ?? 0;
      await waitFor('it has been quiet for a while', async () => (await quietChecks()) >= 6);
      // The library takes this away from the time.
      fs.writeFileSync(clock, String(-days * 86_400));
      const jumped = await client.submit({ command: ['true'] });
      const [witness] = await client.wait(jumped.id);
      const shiftMs = Date.parse(witness?.startedAt ?? '') - Date.now();
      assert.ok(Math.abs(shiftMs - days * 86_400_000) < 60_000, 'control: the clock has jumped');

      const statuses = async () =>
        Promise.all(
          [running, delayed, retrying, leased, patient, busy].map(async ({ id }) => (await client.get(id)).status),
        );
      while (performance.now() - began < lastsMs - 300) {
        const seen = await statuses();
        if (performance.now() - began > lastsMs - 100) break; // A loaded machine took too long to answer.
        assert.deepEqual(seen, ['running', 'queued', 'queued', 'running', 'queued', 'running']);
        await delay(100);
      }
      const [slept] = await client.wait(sleeping.id, { timeoutMs: 20_000 });
      const sleptMs = performance.now() - sleepingBegan;
      t.diagnostic(`what was to sleep for ${sleepsMs} ms slept for ${Math.round(sleptMs)} ms`);
      assert.equal(slept?.cause, 'idle');
      assert.match(slept?.message ?? '', /^10 checks, 300ms apart, /);
      assert.ok(sleptMs >= sleepsMs, 'not early');
      assert.ok(sleptMs < sleepsMs + lateMs, 'the jump is no activity');
      const ended = await client.wait([running.id, delayed.id, retrying.id], { timeoutMs: 20_000 });
      const tookMs = performance.now() - began;
      assert.deepEqual(
        ended.map(({ status, cause }) => [status, cause]),
        [
          ['failed', 'max-runtime'],
          ['completed', 'exit'],
          ['completed', 'exit'],
        ],
      );
      t.diagnostic(`what was to take ${lastsMs} ms took ${Math.round(tookMs)} ms in all`);
      assert.ok(tookMs < lastsMs + 10_000, 'nothing waits for the clock');
      assert.deepEqual((await statuses()).slice(3), ['running', 'queued', 'running']);
      assert.equal((await client.get(kept.id)).status, 'completed', 'kept');
    });
  }
});
