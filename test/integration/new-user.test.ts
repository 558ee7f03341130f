/** What somebody who meets corral for the first time types, and what they must be told. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CommandLine, corral, outcomeOf } from '../support/cli.ts';

test('a reader of events that has seen enough is no error, and a job that is not there is one', async (t) => {
  const cli = new CommandLine(t);
  // More than a pipe holds, so that the writer meets the closed end.
  const lines = Array.from({ length: 2_000 }, () => '{"command":["true"]}').join('\n');
  await cli.run(['group', 'set', 'default', '--parallel', '0']);
  assert.equal((await cli.run(['submit', '--batch'], { input: lines })).code, 0);
  const cut = cli.spawn(['events', '--all']);
  cut.stdout?.once('data', () => cut.stdout?.destroy());
  let stderr = '';
  cut.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  const code = await new Promise((resolve) => cut.on('close', resolve));
  assert.deepEqual([code, stderr], [0, '']);
  for (const follow of [[], ['-f']]) {
    const unknown = await cli.run(['events', '--job', '9999', ...follow]);
    assert.deepEqual([unknown.code, unknown.stdout], [1, '']);
    assert.match(unknown.stderr, /There is no job 9999\./);
  }
  assert.match((await cli.run(['events', '--job', '7'])).stdout, /job 7 {2}new → queued\n$/);
});

test('an id is not lost with the output that cannot be written', { skip: noFullDevice() }, async (t) => {
  const cli = new CommandLine(t);
  const intoFull = (args: string[], input = '') => {
    const { env, dir: cwd } = cli.daemon;
    const child = spawn('sh', ['-c', 'exec "$@" >/dev/full', 'sh', corral, ...args], { env, cwd });
    child.stdin.end(input);
    return outcomeOf(child);
  };
  const one = await intoFull(['submit', 'true']);
  assert.equal(one.code, 125);
  assert.match(one.stderr, /cannot be written .*But job 1 was submitted\.\n$/);
  const many = await intoFull(['submit', '--json', '--batch'], '{"command":["true"]}\n'.repeat(2));
  assert.match(many.stderr, /But jobs 2\.\.3 were submitted\.\n$/);
  const control = await cli.run(['submit', 'true']);
  assert.deepEqual(control, { code: 0, stdout: '4\n', stderr: '' });
});

test('bulk work on a range says each reason once, and the JSON has every job', async (t) => {
  const cli = new CommandLine(t);
  for (let job = 1; job <= 3; job += 1) await cli.run(['run', 'true']);
  await cli.run(['submit', '--', 'sleep', '60']);
  await cli.run(['rm', '2']);
  const removed = await cli.run(['rm', '1..2000']);
  assert.equal(removed.code, 1);
  assert.deepEqual(removed.stderr.split('\n'), [
    'corral: 1,997 of these do not exist (all that do: corral ls --all): 2, 5..2000',
    'corral: Job 4 is running. End it first: corral cancel 4',
    '',
  ]);
  const json = JSON.parse((await cli.run(['kill', '1..2000', '--json'])).stdout);
  assert.deepEqual([json.failed, json.errors.length], [1_999, 1_999]);
  const waited = await cli.run(['wait', '3..5']);
  assert.equal(waited.code, 1);
  assert.match(waited.stderr, /There is no job [35]\..* The others were not waited for: name them without it\./);
});

test('an empty list says whether there are others', async (t) => {
  const cli = new CommandLine(t);
  assert.match((await cli.run(['ls'])).stderr, /^corral: no jobs\. Start one: /);
  await cli.run(['run', 'true']);
  for (const filter of [
    ['--status', 'running'],
    ['-l', '0'],
  ])
    assert.equal((await cli.run(['ls', ...filter])).stderr, 'corral: no such jobs (all: corral ls --all)\n');
  assert.equal((await cli.run(['ls', '-l', '-1'])).code, 2);
});

test('a setting that waits for the next start is not called in force, until it is as it was', async (t) => {
  const cli = new CommandLine(t);
  const file = `${cli.daemon.dir}/config.toml`;
  cli.daemon.env.CORRAL_CONFIG = file;
  delete cli.daemon.env.CORRAL_LAUNCHER;
  fs.writeFileSync(file, '');
  await cli.run(['daemon', 'start']);
  fs.writeFileSync(file, '[daemon]\nlauncher = "execa"\n');
  // Also the second time: it still waits.
  for (let time = 0; time < 2; time += 1) {
    const { code, stderr } = await cli.run(['daemon', 'reload']);
    assert.equal(code, 0);
    assert.match(stderr, /daemon\.launcher changed, .* goes on as before until a restart\n/);
    assert.match(stderr, /config\.toml is in force but for that\n/);
  }
  assert.match((await cli.run(['daemon', 'status'])).stdout, /daemon\.launcher changed/);
  const { config } = JSON.parse((await cli.run(['daemon', 'status', '--json'])).stdout);
  assert.deepEqual(config.atNextStart, ['daemon.launcher']);
  fs.writeFileSync(file, '[daemon]\nlauncher = "posix_spawn"\n');
  assert.equal((await cli.run(['daemon', 'reload'])).stderr, `corral: ${file} is in force\n`);
  fs.writeFileSync(file, 'nonsense');
  assert.equal((await cli.run(['daemon', 'reload'])).code, 78);
  assert.match((await cli.run(['daemon', 'status'])).stdout, /^config error .*config\.toml:1: this is not TOML/m);
});

test('the block that restores a store, as printed, keeps what was there, also the second time', async (t) => {
  const cli = new CommandLine(t);
  const { stateDir, dir } = cli.daemon;
  await cli.run(['run', '-n', 'kept', 'true']);
  assert.equal((await cli.run(['daemon', 'backup', `${dir}/backup.db`])).code, 0);
  await cli.run(['daemon', 'stop']);
  const docs = fs.readFileSync(fileURLToPath(new URL('../../docs/operations.md', import.meta.url)), 'utf8');
  const block = /To restore:\n\n```sh\nsystemctl stop corral\n(.*?)systemctl start corral\n```/s.exec(docs)?.[1] ?? '';
  const script = block.replaceAll('/var/lib/corral', stateDir).replaceAll('/backup/corral.db', `${dir}/backup.db`);
  assert.ok(script.includes(stateDir) && !script.includes('/var/lib'), script);
  const kept: string[] = [];
  for (const content of ['first', 'second']) {
    fs.writeFileSync(`${stateDir}/corral.db`, content);
    fs.writeFileSync(`${stateDir}/corral.db-wal`, content);
    execFileSync('sh', ['-ec', script]);
    assert.ok(!fs.existsSync(`${stateDir}/corral.db-wal`), 'an old -wal would be read into the backup');
    kept.push(content);
    const found = fs
      .readdirSync(stateDir)
      .filter((name) => name.startsWith('before.'))
      .map((name) => fs.readFileSync(`${stateDir}/${name}/corral.db-wal`, 'utf8'));
    assert.deepEqual(found.sort(), kept);
  }
  const jobs = JSON.parse((await cli.run(['ls', '--json'])).stdout);
  assert.deepEqual(
    jobs.map(({ name }: { name: string }) => name),
    ['kept'],
  );
});

function noFullDevice(): string | false {
  return fs.existsSync('/dev/full') ? false : 'there is no /dev/full here';
}
