/** A job that is run again for ever keeps its newest attempts, on real processes. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, CorralError, type JobView } from '../../src/client/index.ts';
import { keptAttempts } from '../../src/protocol/index.ts';
import { CommandLine } from '../support/cli.ts';
import { type DaemonUnderTest, startDaemon } from '../support/daemon.ts';
import { waitFor } from '../support/wait-for.ts';

/** As fast as it goes. */
const env = { CORRAL_RETRY_MAX_PER_SECOND: '1000000', CORRAL_RETRY_BURST: '1000000' };
const retry = { limit: null, delayMs: 1, maxDelayMs: 2, breakerFailures: null };

const upTo = (last: number, first: number) => Array.from({ length: last + 1 - first }, (_, index) => first + index);

function filesOf({ stateDir }: DaemonUnderTest): number[] {
  const names = fs.readdirSync(`${stateDir}/output/0`);
  return names.map((name) => Number(/^1\.(\d+)\.log$/.exec(name)?.[1])).sort((a, b) => a - b);
}

const bytesOf = ({ stateDir }: DaemonUnderTest) =>
  filesOf({ stateDir } as DaemonUnderTest).reduce(
    (sum, n) => sum + fs.statSync(`${stateDir}/output/0/1.${n}.log`).size,
    0,
  );

const numbersOf = ({ attempts }: JobView) => attempts.map(({ attempt }) => attempt);

async function waitUntil(client: Client, condition: (job: JobView) => boolean): Promise<JobView> {
  let job = await client.get(1);
  const isSo = async () => {
    job = await client.get(1);
    return condition(job);
  };
  await waitFor('the job is as wanted', isSo, 60_000); // A machine that is busy with other tests.
  return job;
}

test('G7: a job that fails for ever keeps its newest attempts, records and output; numbers go on, also over a restart', async (t) => {
  const cli = new CommandLine(t, env);
  const { daemon } = cli;
  await daemon.start();
  const client = await daemon.client();
  const begun = keptAttempts + 30;
  const gate = `${daemon.dir}/gate`;
  await client.submit({
    shell: `echo try $CORRAL_ATTEMPT; [ $CORRAL_ATTEMPT -ge ${begun} ] || exit 1; until [ -e ${gate} ]; do sleep 0.05; done`,
    retry,
    onSupervisorLost: 'retry',
    hooks: [{ on: ['completed'], command: ['sh', '-c', `echo $CORRAL_ATTEMPT >${daemon.dir}/told`] }],
  });
  await waitUntil(client, ({ attempt, status }) => attempt === begun && status === 'running');
  const show = async () => JSON.parse((await cli.run(['show', '--json', '1'])).stdout) as JobView;
  const shown = await show();
  assert.deepEqual([shown.attempt, shown.retries, numbersOf(shown)], [begun, begun - 1, upTo(begun, 31)]);
  assert.deepEqual(filesOf(daemon), upTo(begun, 31));
  assert.ok(shown.outputFiles[0]?.endsWith(`/1.${begun}.log`));
  assert.equal((await cli.run(['logs', '--attempt', '31', '1'])).stdout, 'try 31\n');
  assert.equal((await cli.run(['logs', '1'])).stdout, `try ${begun}\n`);
  assert.deepEqual(await cli.run(['logs', '--attempt', '30', '1']), {
    code: 1,
    stdout: '',
    stderr: `corral: Attempt 30 of job 1 is not kept any more; 31 to ${begun} are. See: corral logs --attempt 31 1\n`,
  });

  await daemon.kill();
  // As if it had died between the commit and the removal.
  fs.writeFileSync(`${daemon.stateDir}/output/0/1.30.log`, 'try 30\n');
  await daemon.start();
  const after = await waitUntil(client, ({ attempt, status }) => attempt === begun + 1 && status === 'running');
  assert.deepEqual([after.retries, numbersOf(after)], [begun - 1, upTo(begun + 1, 32)]);
  assert.deepEqual(filesOf(daemon), upTo(begun + 1, 32));

  fs.writeFileSync(gate, '');
  assert.equal((await cli.run(['wait', '1'])).code, 0);
  assert.equal((await client.health()).checks.outputBytes, bytesOf(daemon), 'what went does not count any more');
  const attached = await cli.run(['attach', '-n', 'all', '1']);
  assert.deepEqual(attached, {
    code: 0,
    stdout: upTo(begun + 1, 32)
      .map((number) => `try ${number}\n`)
      .join(''),
    stderr: `corral: attempts 1 to 31 are not kept any more, nor is what was printed there: a job keeps its newest ${keptAttempts}, as far as their output fits its limit\n`,
  });
  assert.deepEqual(numbersOf(await show()), upTo(begun + 1, 32));
  const told = () => (fs.existsSync(`${daemon.dir}/told`) ? fs.readFileSync(`${daemon.dir}/told`, 'utf8') : '');
  await waitFor('a hook to be told of the end', () => told() === `${begun + 1}\n`);
  await client.remove(1);
  assert.deepEqual([filesOf(daemon), (await client.health()).checks.outputBytes], [[], 0]);
});

test('as many as are kept are all there, until a client has the job run again; who asks for one that went is not led to another', async (t) => {
  const { daemon, client } = await startDaemon(t, { env });
  await client.submit({ shell: `echo try; [ $CORRAL_ATTEMPT -ge ${keptAttempts} ]`, retry });
  await client.wait(1);
  assert.deepEqual([numbersOf(await client.get(1)), filesOf(daemon)], [upTo(keptAttempts, 1), upTo(keptAttempts, 1)]);
  const follow = async (attempt: number) => {
    for await (const piece of client.logs(1, { follow: true, attempt })) assert.equal(piece.toString(), 'try\n');
  };
  await follow(1);
  await client.retry(1);
  await client.wait(1);
  assert.deepEqual(
    [numbersOf(await client.get(1)), filesOf(daemon)],
    [upTo(keptAttempts + 1, 2), upTo(keptAttempts + 1, 2)],
  );
  await assert.rejects(follow(1), (error) => error instanceof CorralError && error.code === 'ATTEMPT_GONE');
  await follow(2);
});

test('a follower that does not keep up is told which attempts it does not see, and goes on with the oldest that is kept', async (t) => {
  const { daemon, client } = await startDaemon(t, { env });
  const gate = `${daemon.dir}/gate`;
  await client.submit({ shell: `echo $CORRAL_ATTEMPT; [ -e ${gate} ]`, retry });
  const gone: [number, number][] = [];
  let read = '';
  const options = { follow: true, firstAttempt: 1, onAttemptsGone: (...range: [number, number]) => gone.push(range) };
  for await (const piece of client.logs(1, options)) {
    if (read === '') await waitUntil(client, ({ attempt }) => attempt > keptAttempts + 20);
    read += piece.toString();
    if (read.split('\n').length === 10) {
      const { attempt } = await client.get(1);
      await waitUntil(client, (job) => job.attempt > attempt + keptAttempts + 20);
      fs.writeFileSync(gate, '');
    }
  }
  const { attempt: last } = await client.get(1);
  const seen = read.trim().split('\n').map(Number);
  assert.ok(
    seen.every((number, index) => index === 0 || number > (seen[index - 1] ?? 0)),
    'in their order, none twice',
  );
  const all = new Set([...seen, ...gone.flatMap(([from, to]) => upTo(to, from))]);
  assert.deepEqual(
    [...all].sort((a, b) => a - b),
    upTo(last, 1),
  );
  assert.ok(gone.length >= 2, `control: it did not keep up, ${JSON.stringify(gone)}`);
});

test('SIGKILL of the daemon, again and again: no output is left of attempts that have no record', async (t) => {
  const { daemon, client } = await startDaemon(t, { env });
  const hold = `${daemon.dir}/hold`;
  await client.submit({
    shell: `echo try; while [ -e ${hold} ]; do sleep 0.02; done; exit 1`,
    retry,
    onSupervisorLost: 'retry',
  });
  let job = await waitUntil(client, ({ attempt }) => attempt > keptAttempts);
  for (let round = 0; round < 5; round += 1) {
    const { attempt } = job;
    await waitUntil(client, (one) => one.attempt > attempt + 10);
    await delay((round * 3) % 5);
    await daemon.kill();
    fs.writeFileSync(hold, '');
    await daemon.start();
    job = await waitUntil(client, ({ status }) => status === 'running');
    const kept = new Set(numbersOf(job));
    assert.equal(kept.size, keptAttempts);
    const files = filesOf(daemon);
    assert.deepEqual(
      files.filter((number) => !kept.has(number)),
      [],
    );
    // One that was written down and never launched has none.
    assert.ok(files.length >= keptAttempts - 2 * (round + 1), `${files.length} files`);
    fs.rmSync(hold);
  }
  await client.cancel(1);
});
