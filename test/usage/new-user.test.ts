/** What somebody who meets corral for the first time types, and what they must be told. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CorralError, connect } from '../../src/client/index.ts';
import { diagnose } from '../../src/client/side-programs.ts';
import type { Diagnosis } from '../../src/protocol/index.ts';
import { CommandLine, corral, outcomeOf } from '../support/cli.ts';
import { startDaemon } from '../support/daemon.ts';

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

test('a daemon that hangs is told from one that is not there, with its pid and what to do', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const env = { ...daemon.env, CORRAL_SOCKET: '' };
  process.kill(daemon.pid, 'SIGSTOP');
  const says = (what: string) => (error: unknown) => {
    assert.ok(error instanceof CorralError);
    assert.equal(error.code, 'CALL_TIMEOUT');
    assert.ok(error.message.startsWith(`The daemon gave no answer to "${what}" within 300 ms. `), error.message);
    assert.ok(error.message.includes(`(pid ${daemon.pid}) takes connections`), error.message);
    assert.ok(error.message.endsWith(`kill -9 ${daemon.pid}`), error.message);
    return true;
  };
  const connecting = connect({ env, autoStart: false, timeoutMs: 300, reconnectMs: 0 });
  await assert.rejects(connecting, (error) => says('hello')(error) && /daemon\.log, or under/.test(String(error)));
  const health = outcomeOf(spawn(corral, ['health', '--json'], { env }));
  const { code, stdout } = await health;
  assert.deepEqual([code, JSON.parse(stdout).reasons[0].code], [2, 'DAEMON_SILENT']);
  process.kill(daemon.pid, 'SIGCONT');
  await client.status();
  const patient = await daemon.client({ timeoutMs: 300 });
  process.kill(daemon.pid, 'SIGSTOP');
  await assert.rejects(patient.status(), says('daemon.status'));
});

test('the doctor never advises to change a folder that is not plainly its own', async (t) => {
  const cli = new CommandLine(t);
  const { stateDir } = cli.daemon;
  const pathFindings = async () =>
    (JSON.parse((await cli.run(['doctor', '--json'])).stdout) as Diagnosis).findings.filter(
      ({ topic }) => topic === 'paths',
    );
  fs.mkdirSync(stateDir, { mode: 0o755 });
  const message = `${stateDir} can be looked into by others (mode 755).`;
  assert.deepEqual(await pathFindings(), [
    { level: 'warning', topic: 'paths', message, todo: `chmod 700 ${stateDir}` },
  ]);
  fs.writeFileSync(`${stateDir}/passwd`, '');
  const choose = 'Choose a folder for corral alone: CORRAL_STATE_DIR';
  assert.deepEqual(await pathFindings(), [{ level: 'warning', topic: 'paths', message, todo: choose }]);
  if (process.getuid?.() === 0) {
    fs.chownSync(stateDir, 65534, 65534);
    assert.equal((await pathFindings())[0]?.todo, choose);
    fs.chownSync(stateDir, 0, 0);
  } else {
    fs.chmodSync(stateDir, 0o555);
    const both = await pathFindings();
    assert.deepEqual(
      both.map(({ level }) => level),
      ['problem', 'warning'],
    );
    fs.chmodSync(stateDir, 0o755);
  }
});

test('the doctor says each finding once, what to do about each problem, and that tier scan was not asked for', async (t) => {
  const cli = new CommandLine(t);
  const relative = JSON.parse((await cli.run(['doctor', '--json'], { env: { CORRAL_STATE_DIR: 'here' } })).stdout);
  const problems = (relative as Diagnosis).findings.filter(({ level }) => level === 'problem');
  assert.equal(problems.length, 1);
  assert.match(problems[0]?.message ?? '', /CORRAL_STATE_DIR is "here", which is not an absolute path/);
  assert.ok(problems[0]?.todo);
  const ofTier = async (...more: string[]) =>
    (await diagnose(['--tier-known', ...more])).findings.filter(({ message }) => message.includes('tier scan:'));
  assert.deepEqual(await ofTier(), []);
  const [finding] = await ofTier('--scan-because=no cgroup can be made');
  assert.equal(finding?.message, 'The daemon runs in tier scan: no cgroup can be made.');
  assert.ok(finding.todo);
});

function noFullDevice(): string | false {
  return fs.existsSync('/dev/full') ? false : 'there is no /dev/full here';
}
