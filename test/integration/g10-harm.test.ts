/** What the daemon does about harm to what it stands on: a clear error that names the file and the next step, and nothing overwritten. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { CorralError } from '../../src/client/index.ts';
import { CommandLine } from '../support/cli.ts';
import { DaemonUnderTest, startDaemon, whyNoSmallDisk } from '../support/daemon.ts';
import { compileHarm, whyNoHarm } from '../support/harm.ts';
import { waitFor } from '../support/wait-for.ts';

const isRoot = process.getuid?.() === 0;

const fails = (code: string) => (error: unknown) => error instanceof CorralError && error.code === code;

describe('G10: a daemon that cannot start says why and what to do', () => {
  test('G10: a damaged store is named, left alone, and looked into by the doctor', async (t) => {
    const cli = new CommandLine(t);
    assert.equal((await cli.run(['run', '--', 'true'])).code, 0);
    assert.equal((await cli.run(['daemon', 'stop'])).code, 0);
    const file = `${cli.daemon.stateDir}/corral.db`;
    const sound = fs.readFileSync(file);
    const harmed = sound.subarray(0, sound.length - 4096);
    fs.writeFileSync(file, harmed);
    const start = await cli.run(['daemon', 'start']);
    assert.equal(start.code, 125);
    assert.ok(start.stderr.includes(`The store ${file} is damaged`), start.stderr);
    assert.match(
      start.stderr,
      /Nothing was changed\. Put a backup in its place; or set it aside and begin anew: d=\$\(mktemp -d .* && mv /,
    );
    assert.deepEqual(fs.readFileSync(file), harmed);
    const doctor = await cli.run(['doctor', '--deep', '--json']);
    assert.equal(doctor.code, 2);
    const { findings } = JSON.parse(doctor.stdout);
    assert.ok(
      findings.some(
        (finding: { level: string; topic: string }) => finding.level === 'problem' && finding.topic === 'store',
      ),
    );
    // What the message says works.
    const command = /begin anew: (.*)$/m.exec(start.stderr)?.[1] ?? '';
    execFileSync('sh', ['-c', command]);
    const [damaged] = fs.readdirSync(cli.daemon.stateDir).filter((name) => name.startsWith('damaged.'));
    const anew = await cli.run(['run', '--', 'echo', 'anew']);
    assert.equal(anew.stdout, 'anew\n');
    assert.deepEqual(fs.readFileSync(`${cli.daemon.stateDir}/${damaged}/corral.db`), harmed);
    // The output of the jobs that are known no more is not written on.
    const aside = fs.readdirSync(cli.daemon.stateDir).find((name) => name.startsWith('output.'));
    assert.equal(fs.readFileSync(`${cli.daemon.stateDir}/${aside}/0/1.1.log`, 'utf8'), '');
    await waitFor('it is logged', () => /no store that knows them; it was set aside/.test(cli.daemon.log()));
    assert.equal((await cli.run(['doctor', '--deep'])).code, 0);
  });

  test('G10: a store of a newer corral is refused and left alone', async (t) => {
    const daemon = await new DaemonUnderTest(t).start();
    await daemon.signal('SIGTERM');
    const file = `${daemon.stateDir}/corral.db`;
    execFileSync(process.execPath, [
      '--disable-warning=ExperimentalWarning',
      '-e',
      `new (require('node:sqlite').DatabaseSync)(process.argv[1]).exec('PRAGMA user_version = 999')`,
      file,
    ]);
    const newer = fs.readFileSync(file);
    await assert.rejects(daemon.start(), /STORE_FAILED.*has schema 999.*Nothing was changed\. Run the newer corral/);
    assert.deepEqual(fs.readFileSync(file), newer);
  });

  test('G10: a folder that cannot be written is named', { skip: whyNoSmallDisk }, async (t) => {
    const daemon = await new DaemonUnderTest(t, { diskSize: '8m' }).start();
    await daemon.signal('SIGTERM');
    execFileSync('mount', ['-o', 'remount,ro', daemon.stateDir]);
    await assert.rejects(daemon.start(), (error: Error) => {
      assert.ok(error.message.includes(daemon.stateDir), error.message);
      assert.match(
        error.message,
        /NOT_PERMITTED.*(EROFS).*Check that its folder is yours, can be written, and has room/,
      );
      return true;
    });
    execFileSync('mount', ['-o', 'remount,rw', daemon.stateDir]);
    await daemon.start();
  });

  test('G10: a folder without permission is named', { skip: isRoot && 'root may do everything' }, async (t) => {
    const daemon = await new DaemonUnderTest(t).start();
    await daemon.signal('SIGTERM');
    fs.chmodSync(daemon.stateDir, 0o500);
    await assert.rejects(
      daemon.start(),
      /STORE_FAILED.*corral\.db cannot be opened .*Check that its folder is yours, can be written, and has room/,
    );
    fs.chmodSync(daemon.stateDir, 0o700);
    await daemon.start();
  });

  test('G10: permissions that are too wide are mended and said, or refused', async (t) => {
    const daemon = await new DaemonUnderTest(t).start();
    await daemon.signal('SIGTERM');
    fs.chmodSync(daemon.stateDir, 0o755);
    fs.chmodSync(`${daemon.stateDir}/corral.db`, 0o644);
    await daemon.start();
    const mode = (path: string) => (fs.statSync(path).mode & 0o777).toString(8);
    assert.equal(mode(daemon.stateDir), '700');
    assert.equal(mode(`${daemon.stateDir}/corral.db`), '600');
    await waitFor('it is logged', () =>
      /state could be looked into by others \(mode 755\); it is 700 now/.test(daemon.log()),
    );
    await waitFor('it is logged', () =>
      /corral\.db could be looked into by others \(mode 644\); it is 600 now/.test(daemon.log()),
    );
    await daemon.signal('SIGTERM');
    fs.chmodSync(daemon.stateDir, 0o777);
    await assert.rejects(daemon.start(), /NOT_PERMITTED.*can be written by others \(mode 777\).*chmod 700/);
    fs.chmodSync(daemon.stateDir, 0o700);
  });

  test('G10: files of somebody else are named', { skip: !isRoot && 'only root can give files away' }, async (t) => {
    const daemon = await new DaemonUnderTest(t).start();
    await daemon.signal('SIGTERM');
    fs.chownSync(`${daemon.stateDir}/corral.db`, 65534, 65534);
    await assert.rejects(daemon.start(), /NOT_PERMITTED.*corral\.db belongs to uid 65534, not to you.*chown 0 /);
    fs.chownSync(`${daemon.stateDir}/corral.db`, 0, 0);
    await daemon.start();
  });

  test('G10: a file in the place of the state directory, and a folder of somebody else’s things, are refused', async (t) => {
    const daemon = new DaemonUnderTest(t);
    fs.writeFileSync(daemon.stateDir, 'notes');
    await assert.rejects(daemon.start(), /NOT_PERMITTED.*state is not a folder/);
    fs.rmSync(daemon.stateDir);
    fs.mkdirSync(daemon.stateDir, { mode: 0o755 });
    fs.writeFileSync(`${daemon.stateDir}/notes.txt`, 'mine');
    await assert.rejects(
      daemon.start(),
      /NOT_PERMITTED.*holds files that are not corral's.*Choose a folder for corral alone/,
    );
    assert.equal(fs.statSync(daemon.stateDir).mode & 0o777, 0o755);
  });

  const environments: { name: string; env: Record<string, string>; says: RegExp }[] = [
    {
      name: 'a socket path that is too long',
      env: { CORRAL_RUNTIME_DIR: `/tmp/${'x'.repeat(100)}` },
      says: /INVALID_PARAMS.*bytes, and the kernel takes at most 107\. Set CORRAL_RUNTIME_DIR/,
    },
    {
      name: 'a configuration that is no TOML',
      env: {},
      says: /CONFIG_INVALID.*config\.toml:2: this is not TOML/,
    },
  ];
  for (const { name, env, says } of environments) {
    test(`G10: ${name}`, async (t) => {
      const daemon = new DaemonUnderTest(t, { env });
      fs.mkdirSync(`${daemon.dir}/conf`);
      fs.writeFileSync(`${daemon.dir}/conf/config.toml`, '[disk]\nmin-free = \n');
      daemon.env.CORRAL_CONFIG = `${daemon.dir}/conf/config.toml`;
      await assert.rejects(daemon.start(), says);
    });
  }

  test('G10: a missing HOME is named, and a missing XDG_RUNTIME_DIR is no harm', {
    skip: isRoot && 'root needs neither',
  }, async (t) => {
    const daemon = new DaemonUnderTest(t);
    delete daemon.env.CORRAL_STATE_DIR;
    delete daemon.env.HOME;
    await assert.rejects(
      daemon.start(),
      /INVALID_PARAMS.*HOME is not set.*Set HOME, XDG_STATE_HOME or CORRAL_STATE_DIR/,
    );
  });
});

describe('G10: harm while the daemon runs', () => {
  test('G10: a store that is moved away stops admission until it is back; no job is lost', async (t) => {
    const { daemon, client } = await startDaemon(t);
    const gate = `${daemon.dir}/gate`;
    const job = await client.submit({ shell: `until [ -e ${gate} ]; do sleep 0.05; done; exit 4` });
    await waitFor('it runs', async () => (await client.get(job.id)).status === 'running');
    fs.renameSync(daemon.stateDir, `${daemon.stateDir}.away`);
    assert.deepEqual(
      (await client.health()).reasons.map(({ code }) => code),
      ['STORE_FAILING'],
    );
    await assert.rejects(
      client.submit({ command: ['true'] }),
      /removed or replaced while the daemon runs; put it back/,
    );
    fs.writeFileSync(gate, '');
    await waitFor('its end waits', async () => (await client.health()).checks.unwrittenChanges > 0);
    fs.renameSync(`${daemon.stateDir}.away`, daemon.stateDir);
    assert.equal((await client.wait(job.id, { timeoutMs: 10_000 }))[0]?.exitCode, 4);
    await waitFor('all is well', async () => (await client.health()).status === 'ok');
  });

  test('G5: what another job put where the output of the next one goes does not hang its launch', async (t) => {
    const { daemon, client } = await startDaemon(t);
    const folder = `${daemon.stateDir}/output/0`;
    const first = await client.submit({
      shell: `mkfifo ${folder}/2.1.log; mkdir ${folder}/3.1.log; ln -s /dev/full ${folder}/4.1.log`,
    });
    await client.wait(first.id);
    for (const word of ['fifo', 'folder', 'link']) {
      const { id } = await client.submit({ command: ['echo', word] });
      const [job] = await client.wait(id, { timeoutMs: 10_000 });
      assert.equal(job?.status, 'completed', word);
      assert.equal(fs.readFileSync(job?.outputFiles[0] ?? '', 'utf8'), `${word}\n`);
    }
  });

  test('a daemon whose stderr nobody reads any more goes on', async (t) => {
    const cli = new CommandLine(t);
    const child = cli.spawn(['daemon', 'run']);
    const ended = once(child, 'exit');
    await waitFor('it answers', async () => (await cli.run(['daemon', 'status'])).code === 0);
    child.stderr?.destroy();
    for (let job = 0; job < 3; job += 1) assert.equal((await cli.run(['run', '--', 'true'])).code, 0);
    child.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
  });
});

describe('G10: a disk that fails while the daemon runs', { skip: whyNoHarm }, () => {
  test('G10: a failing fsync stops admission, ends no job, and all goes on when it works again', async (t) => {
    const daemon = new DaemonUnderTest(t);
    const harm = compileHarm(daemon.dir);
    Object.assign(daemon.env, harm);
    await daemon.start();
    const client = await daemon.client();
    await client.setGroup('default', { parallel: 1 });
    const gate = `${daemon.dir}/gate`;
    const job = await client.submit({ shell: `until [ -e ${gate} ]; do sleep 0.05; done; exit 4` });
    await waitFor('it runs', async () => (await client.get(job.id)).status === 'running');
    const waiting = await client.submit({ command: ['true'] });
    fs.writeFileSync(harm.HARM_FSYNC, '');
    await assert.rejects(client.submit({ command: ['true'] }), fails('STORE_FAILED'));
    assert.deepEqual(
      (await client.health()).reasons.map(({ code }) => code),
      ['STORE_FAILING'],
    );
    fs.writeFileSync(gate, '');
    await waitFor('its end waits', async () => (await client.health()).checks.unwrittenChanges > 0);
    assert.equal((await client.get(job.id)).status, 'running');
    // A cancel that a crash could undo is not acknowledged, however often it is asked for.
    for (const _ of [1, 2, 3]) await assert.rejects(client.cancel(waiting.id), fails('STORE_FAILED'));
    fs.rmSync(harm.HARM_FSYNC);
    const [ended] = await client.wait(job.id, { timeoutMs: 10_000 });
    assert.deepEqual([ended?.cause, ended?.exitCode], ['exit', 4]);
    const { id } = await client.submit({ command: ['true'] });
    await client.wait(id);
    assert.equal((await client.health()).status, 'ok');
    await daemon.kill();
    await daemon.start();
    const after = await daemon.client();
    assert.deepEqual((await after.get(job.id)).exitCode, 4);
    assert.equal((await after.get(id)).status, 'completed');
  });

  test('G10: a clock in 1970 delays nothing, and the doctor says so', async (t) => {
    const cli = new CommandLine(t);
    const { daemon } = cli;
    const seconds = Math.floor(Date.now() / 1_000) - 3_600;
    const harm = { ...compileHarm(daemon.dir), HARM_CLOCK: String(seconds) };
    Object.assign(daemon.env, harm);
    await daemon.start();
    const client = await daemon.client();
    const limited = await client.submit({ command: ['sleep', '60'], maxRuntimeMs: 300, killGraceMs: 100 });
    const [ended] = await client.wait(limited.id, { timeoutMs: 10_000 });
    assert.equal(ended?.cause, 'max-runtime');
    assert.match(ended?.finishedAt ?? '', /^1970-01-01T01:/);
    await daemon.kill();
    // The clock is set right: nothing is older or newer for it.
    daemon.env.HARM_CLOCK = '0';
    await daemon.start();
    const now = await daemon.client();
    assert.equal((await now.get(limited.id)).cause, 'max-runtime');
    const { id } = await now.submit({ command: ['true'] });
    assert.equal(id, limited.id + 1);
    const { stdout } = await cli.run(['doctor', '--json'], { env: harm });
    assert.match(stdout, /The clock says 1970-/);
  });
});
