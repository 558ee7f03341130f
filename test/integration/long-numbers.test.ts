import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { type Client, type CorralError, connect } from '../../src/client/index.ts';
import { SqliteStore } from '../../src/daemon/store/index.ts';
import { CommandLine, corral, type Outcome, outcomeOf } from '../support/cli.ts';
import { DaemonUnderTest, startDaemon, tiers } from '../support/daemon.ts';
import { waitFor } from '../support/wait-for.ts';

const beyondTimers = 2 ** 31 + 1_000;
const hundredYearsMs = 100 * 365 * 86_400_000;

async function outputOf(client: Client, jobId: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of client.logs(jobId)) pieces.push(piece);
  return Buffer.concat(pieces);
}

const isCode = (code: string, says: RegExp) => (error: unknown) => {
  assert.equal((error as CorralError).code, code);
  assert.match((error as CorralError).message, says);
  return true;
};

test('durations beyond 2^31 ms are neither over at once nor lost over a restart', async (t) => {
  const { daemon, client } = await startDaemon(t);
  // A timer of Node that is set to more fires after 1 ms: each job lives for longer than that.
  const shell = 'sleep 0.2; exit 7';
  const ids: number[] = [];
  for (const maxRuntimeMs of [beyondTimers, 2 ** 32, hundredYearsMs])
    ids.push((await client.submit({ shell, maxRuntimeMs, killGraceMs: maxRuntimeMs })).id);
  const jobs = await client.wait(ids, { timeoutMs: 2 ** 40 });
  assert.deepEqual(
    jobs.map(({ cause, exitCode }) => [cause, exitCode]),
    Array(3).fill(['exit', 7]),
  );
  const control = await client.submit({ shell, maxRuntimeMs: 1 });
  assert.equal((await client.wait(control.id))[0]?.cause, 'max-runtime');

  const { id } = await client.submit({
    shell: 'trap "" TERM; echo up; while :; do sleep 0.05; done',
    killGraceMs: 2 ** 33,
  });
  await waitFor('it is up', async () => (await client.get(id)).outputBytes > 0);
  await client.cancel(id);
  const other = await client.submit({ shell });
  await client.wait(other.id);
  assert.equal((await client.get(id)).status, 'stopping', 'its grace is not over');
  await client.cancel(id, { mode: 'kill' });
  await client.wait(id);

  await daemon.kill();
  await daemon.start();
  assert.equal((await client.get(ids[2] ?? 0)).limits.maxRuntimeMs, hundredYearsMs);
});

test('a client that would wait for longer than a timer can does not give up at once', async (t) => {
  const { daemon } = await startDaemon(t);
  await using client = await connect({ socket: daemon.socket, env: daemon.env, timeoutMs: 2 ** 40 });
  assert.equal((await client.status()).pid, daemon.pid);
});

/** Puts the daemon's next id where it is wanted, as if that many jobs had come and gone. */
function setNextId(daemon: DaemonUnderTest, nextId: number): void {
  fs.mkdirSync(daemon.stateDir, { mode: 0o700 });
  new SqliteStore(`${daemon.stateDir}/corral.db`).close();
  const db = new DatabaseSync(`${daemon.stateDir}/corral.db`);
  db.prepare("INSERT INTO sqlite_sequence (name, seq) VALUES ('jobs', ?)").run(nextId - 1);
  db.close();
}

for (const nextId of [2 ** 31 - 1, 2 ** 32 - 1]) {
  test(`ids around ${nextId} are ids like others`, async (t) => {
    const daemon = new DaemonUnderTest(t);
    setNextId(daemon, nextId);
    await daemon.start();
    const client = await daemon.client();
    const shell = 'echo $CORRAL_JOB_ID';
    const ids = (await client.submitBatch([{ shell }, { shell }, { shell }])).map(({ id }) => id);
    assert.deepEqual(ids, [nextId, nextId + 1, nextId + 2]);
    await client.wait(ids);
    for (const id of ids) assert.equal(String(await outputOf(client, id)), `${id}\n`);
    const page = await client.list({ limit: 2 });
    assert.deepEqual([page.jobs.map(({ id }) => id), page.nextCursor], [ids.slice(0, 2), nextId + 1]);
    assert.equal((await client.list({ cursor: nextId + 1 })).jobs[0]?.id, nextId + 2);
    assert.equal((await client.remove(ids)).done, 3);
    await daemon.kill();
    await daemon.start();
    assert.equal((await client.submit({ shell })).id, nextId + 3);
  });
}

for (const { tier, skip } of tiers) {
  test(`the largest ids that a number can hold are ids like others, and the next is refused (tier ${tier})`, {
    skip,
  }, async (t) => {
    const cli = new CommandLine(t, { CORRAL_CONTAINMENT: tier });
    const first = Number.MAX_SAFE_INTEGER - 1;
    setNextId(cli.daemon, first);
    const run = await cli.run(['run', '-c', 'echo $CORRAL_JOB_ID; sleep 60 & exit 0']);
    assert.deepEqual([run.stdout, run.code], [`${first}\n`, 0]);
    const client = await cli.daemon.client();
    const job = await client.get(first);
    assert.deepEqual([job.strays, job.outputBytes], [1, String(first).length + 1]);
    assert.equal((await cli.run(['submit', 'sleep', '60'])).stdout, `${first + 1}\n`);
    assert.equal((await cli.run(['cancel', `${first}..${first + 1}`])).code, 0);
    assert.equal((await client.wait(first + 1))[0]?.cause, 'cancel');
    assert.equal((await client.remove(first)).done, 1);
    const folder = `${cli.daemon.stateDir}/output/${Math.floor(first / 1_000)}`;
    assert.deepEqual(fs.readdirSync(folder), [`${first + 1}.1.log`]);

    await assert.rejects(client.submit({ shell: 'true' }), isCode('STORE_FAILED', /no job id is left/));
    assert.deepEqual(
      (await client.list()).jobs.map(({ id }) => id),
      [first + 1],
      'the daemon goes on',
    );
  });
}

test('large commands and environments run; what the kernel refuses is a spawn-error that says what is too large', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const env = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`VARIABLE_${index}`, `value ${index} ü`]));

  const long = 'x'.repeat(100_000);
  const command = await client.submit({ command: ['printf', '%s', long] });
  const many = await client.submit({ command: ['/bin/cat', '/proc/self/environ'], env: env(10_000) });
  const arguments_ = await client.submit({ command: ['echo', ...Array<string>(9_000).fill('argument')] });
  for (const job of await client.wait([command.id, many.id, arguments_.id])) assert.equal(job.status, 'completed');
  assert.equal(String(await outputOf(client, command.id)), long);
  const variables = String(await outputOf(client, many.id)).split('\0');
  assert.ok(variables.includes('VARIABLE_9999=value 9999 ü'));
  assert.equal(variables.filter((variable) => variable.startsWith('VARIABLE_')).length, 10_000);
  assert.equal(String(await outputOf(client, arguments_.id)).length, 9_000 * 9);
  assert.deepEqual((await client.get(command.id)).command[2], long);

  const refused: [about: string, job: Parameters<Client['submit']>[0], says: RegExp][] = [
    [
      'an argument',
      { command: ['true', 'x'.repeat(200_000)] },
      /^\/\S+: argument 1 has 200000 bytes.*131071 \(E2BIG\)/,
    ],
    [
      'a variable',
      { command: ['true'], env: { PATH: '/bin', BIG: 'x'.repeat(200_000) } },
      /the variable BIG has 200004 bytes/,
    ],
    ['a line of shell', { shell: `: ${'x'.repeat(200_000)}` }, /argument 2 has 200002 bytes/],
  ];
  for (const [about, job, says] of refused) {
    const { id } = await client.submit(job);
    const [ended] = await client.wait(id);
    assert.deepEqual([ended?.status, ended?.cause, ended?.exitCode], ['failed', 'spawn-error', 126], about);
    assert.match(ended?.message ?? '', says);
  }

  // With the usual stack limit, what fits a frame fits the kernel. prlimit(1)
  execFileSync('prlimit', [`--pid=${daemon.pid}`, '--stack=524288:']);
  const { id } = await client.submit({ command: ['true'], env: env(10_000) });
  const [ended] = await client.wait(id);
  assert.deepEqual([ended?.cause, ended?.exitCode], ['spawn-error', 126]);
  assert.match(
    ended?.message ?? '',
    /its 1 arguments \(4 bytes\) and 100\d\d variables \(\d{6} bytes\) are together too large.*smaller environment/,
  );
  assert.equal((await client.status()).pid, daemon.pid);
});

test('a job that fits no frame is refused by name before it is sent', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const big = 'x'.repeat(1_100_000);
  await assert.rejects(
    client.submit({ command: ['true'], env: { SMALL: 'x', BIG: big } }),
    isCode(
      'INVALID_PARAMS',
      /^The job does not fit .*environment has 11000\d\d bytes in 2 variables.*largest, BIG, has 1100002\. .*env -u BIG/,
    ),
  );
  await assert.rejects(
    client.submit({ command: ['true', 'x', big] }),
    isCode('INVALID_PARAMS', /in 3 arguments, and the largest, argument 2, has 1100002/),
  );
  await assert.rejects(client.submit({ command: ['true'], cwd: `/${big}` }), isCode('INVALID_PARAMS', /its cwd has/));
  await assert.rejects(
    client.submitBatch([{ command: ['true'] }], { env: { BIG: big } }),
    isCode('INVALID_PARAMS', /in common does not fit.*largest, BIG/),
  );
  await assert.rejects(
    client.submitBatch([{ command: ['true'] }, { command: ['true', 'x'.repeat(600_000)] }], {
      env: { BIG: 'x'.repeat(600_000) },
    }),
    isCode('INVALID_PARAMS', /^Job 2 of the batch does not fit .* beside the 6000\d\d/),
  );
  assert.deepEqual((await client.list()).jobs, [], 'nothing was submitted');

  // What just fits is taken, and can be read again.
  const { id } = await client.submit({ command: ['true'], env: { JUST: 'x'.repeat(1_047_000) } });
  await client.wait(id);
  assert.equal((await client.get(id)).cause, 'spawn-error');
  const wide = await client.submit({ command: ['true', 'x'.repeat(1_000_000)], env: {} });
  await client.wait(wide.id);
  assert.equal((await client.get(wide.id)).command[1]?.length, 1_000_000);
  assert.equal((await client.status()).pid, daemon.pid);
});

test('a folder that is not there', async (t) => {
  const cli = new CommandLine(t);
  const client = await (async () => {
    await cli.run(['daemon', 'start']);
    return cli.daemon.client();
  })();
  const gone = `${cli.daemon.dir}/gone`;

  await t.test('before the start', async () => {
    const { id } = await client.submit({ command: ['true'], cwd: gone });
    const [job] = await client.wait(id);
    assert.deepEqual([job?.cause, job?.exitCode], ['spawn-error', 126]);
    assert.equal(job?.message, `cannot start in ${gone}: there is no such folder (any more)`);
  });

  await t.test('deleted while the job is queued', async () => {
    fs.mkdirSync(gone);
    await client.setGroup('default', { parallel: 0 });
    const { id } = await client.submit({ command: ['true'], cwd: gone });
    fs.rmdirSync(gone);
    await client.setGroup('default', { parallel: 2 });
    assert.match((await client.wait(id))[0]?.message ?? '', /no such folder \(any more\)/);
  });

  await t.test('deleted while the job runs: the job goes on', async () => {
    fs.mkdirSync(gone);
    const { id } = await client.submit({
      shell: 'echo up; while [ -d . ] && [ -e "$PWD" ]; do sleep 0.02; done',
      cwd: gone,
    });
    await waitFor('it is up', async () => (await client.get(id)).outputBytes > 0);
    fs.rmdirSync(gone);
    assert.equal((await client.wait(id))[0]?.exitCode, 0);
  });

  await t.test(
    "the caller's own: an error that says so; a job with a folder of its own is none the worse",
    async () => {
      const run = (...args: string[]) => inDeletedFolder(cli, args);
      const bare = await run('run', 'true');
      assert.equal(bare.code, 2, bare.stderr);
      assert.match(bare.stderr, /^corral: The current folder does not exist any more, .*cd.*-C/m);
      assert.doesNotMatch(bare.stderr, /\bat \S+:\d+|defect/);
      assert.equal((await run('run', '-C', 'sub', 'true')).code, 2);
      const elsewhere = await run('run', '-C', '/', 'pwd');
      assert.deepEqual([elsewhere.code, elsewhere.stdout], [0, '/\n'], elsewhere.stderr);
      assert.equal((await run('ls')).code, 0);
    },
  );

  await t.test('a relative one is below the current folder', async () => {
    fs.mkdirSync(`${cli.daemon.dir}/sub`);
    const { stdout } = await cli.run(['run', '-C', 'sub', 'pwd']);
    assert.equal(stdout, `${fs.realpathSync(cli.daemon.dir)}/sub\n`);
  });

  await t.test(
    'one that may not be entered',
    {
      skip: process.getuid?.() === 0 ? 'root may enter every folder' : false,
    },
    async () => {
      fs.mkdirSync(`${cli.daemon.dir}/closed`, { mode: 0o600 });
      const outcome = await cli.run(['run', '-C', 'closed', 'true']);
      assert.equal(outcome.code, 126);
      assert.match(outcome.stderr, /closed: permission denied/);
    },
  );
});

function inDeletedFolder(cli: CommandLine, args: readonly string[]): Promise<Outcome> {
  const script = 'd=$(mktemp -d) && cd "$d" && rmdir "$d" && exec "$@"';
  return outcomeOf(spawn('/bin/sh', ['-c', script, 'sh', corral, ...args], { env: cli.daemon.env }));
}
