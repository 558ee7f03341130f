/** `health`, `doctor`, `events` and `daemon reload`, as an operator uses them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import readline from 'node:readline';
import { describe, test } from 'node:test';
import type { EventView } from '../../src/client/index.ts';
import { CommandLine } from '../support/cli.ts';
import { guardianPid, startDaemon } from '../support/daemon.ts';
import { waitFor } from '../support/wait-for.ts';

describe('health', () => {
  test('says ok with 0, and that nobody answers with 2; it never starts a daemon', async (t) => {
    const cli = new CommandLine(t);
    const none = await cli.run(['health', '--json']);
    assert.equal(none.code, 2);
    assert.deepEqual(JSON.parse(none.stdout).reasons[0].code, 'DAEMON_UNREACHABLE');
    assert.equal((await cli.run(['daemon', 'status'])).code, 3);
    await cli.run(['daemon', 'start']);
    const well = await cli.run(['health']);
    assert.equal(well.code, 0, well.stdout);
    assert.match(
      well.stdout,
      /^ok\njobs {5}0 queued, 0 active, \d+ slots\npace .*\noldest {3}none\nstore .*\ndisk .* free .*\ndaemon .* guardian \d+\n$/,
    );
    const { status, checks } = JSON.parse((await cli.run(['health', '--json'])).stdout);
    assert.equal(status, 'ok');
    assert.ok(checks.guardianPid > 0 && checks.diskFreeBytes > 0 && checks.loopLagMs < 60_000);
  });

  test('says degraded with 1 where something should be looked at: a hung daemon that is back', async (t) => {
    const cli = new CommandLine(t);
    await cli.run(['daemon', 'start']);
    const { pid } = JSON.parse((await cli.run(['daemon', 'status', '--json'])).stdout);
    process.kill(pid, 'SIGSTOP');
    // Two beats of its pulse, with nothing to wait for: a stopped process gives no sign.
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    process.kill(pid, 'SIGCONT');
    const { code, stdout } = await cli.run(['health']);
    assert.equal(code, 1, stdout);
    assert.match(
      stdout,
      /^degraded\ndegraded LOOP_LAG: The daemon did not react for .* within the last minute\.\n {2}Look for/,
    );
  });

  test('a guardian that is ended is named until there is another', async (t) => {
    const { client } = await startDaemon(t);
    const guardian = await guardianPid(client);
    process.kill(guardian, 'SIGKILL');
    await waitFor('another guards', async () => {
      const { guardianPid: next } = await client.status();
      return next !== null && next !== guardian;
    });
    assert.equal((await client.health()).status, 'ok');
  });
});

describe('events', () => {
  test('the record goes on across restarts of the daemon, from where a reader was', async (t) => {
    const { daemon, client } = await startDaemon(t);
    const first = await client.submit({ command: ['true'] });
    await client.wait(first.id);
    const before: EventView[] = [];
    for await (const event of client.events()) before.push(event);
    assert.deepEqual(
      before.map(({ jobId, from, to, cause }) => [jobId, from, to, cause]),
      [
        [first.id, null, 'queued', null],
        [first.id, 'queued', 'starting', null],
        [first.id, 'starting', 'running', null],
        [first.id, 'running', 'completed', 'exit'],
      ],
    );
    const seen: EventView[] = [];
    const reader = (async () => {
      for await (const event of client.events({ after: before.at(-1)?.seq ?? 0, follow: true })) {
        seen.push(event);
        if (seen.length === 8) return;
      }
    })();
    const second = await client.submit({ shell: 'exit 3' });
    await client.wait(second.id);
    await waitFor('the reader has them', () => seen.length === 4);
    await daemon.kill();
    await daemon.start();
    const third = await client.submit({ command: ['true'] });
    await client.wait(third.id);
    await reader;
    assert.deepEqual(
      seen.map(({ jobId, to }) => [jobId, to]),
      [second, third].flatMap(({ id }) =>
        ['queued', 'starting', 'running', id === second.id ? 'failed' : 'completed'].map((to) => [id, to]),
      ),
    );
    const numbers = [...before, ...seen].map(({ seq }) => seq);
    assert.deepEqual(
      numbers,
      [...new Set(numbers)].sort((a, b) => a - b),
      'numbers only grow',
    );
  });

  test('of one job, of many pages, and of removed jobs', async (t) => {
    const { client } = await startDaemon(t, { parallel: 8 });
    const submitted = await client.submitBatch(Array.from({ length: 300 }, () => ({ command: ['true'] })));
    await client.wait(submitted.map(({ id }) => id));
    const all: EventView[] = [];
    for await (const event of client.events()) all.push(event);
    assert.equal(all.length, 1_200);
    const one: EventView[] = [];
    for await (const event of client.events({ jobId: 7 })) one.push(event);
    assert.deepEqual(
      one,
      all.filter(({ jobId }) => jobId === 7),
    );
    await client.remove(7);
    const after: EventView[] = [];
    for await (const event of client.events({ last: 1_200 })) after.push(event);
    assert.deepEqual(
      after,
      all.filter(({ jobId }) => jobId !== 7),
    );
  });

  test('corral events prints lines for people and for programs, and follows', async (t) => {
    const cli = new CommandLine(t);
    await cli.run(['run', '--', 'true']);
    const { stdout } = await cli.run(['events']);
    assert.match(stdout, /^ +1 {2}\S+Z {2}job 1 {2}new → queued\n( +\d.*\n){2} +4 .* running → completed \(exit\)\n$/);
    const follower = cli.spawn(['events', '-f', '--json', '--after', '4']);
    const lines = readline.createInterface({ input: follower.stdout as NodeJS.ReadableStream });
    const [line] = await Promise.all([once(lines, 'line'), cli.run(['submit', '--', 'true'])]);
    const event = JSON.parse(String(line[0]));
    assert.deepEqual([event.seq, event.jobId, event.to], [5, 2, 'queued']);
    follower.kill('SIGTERM');
    await once(follower, 'exit');
  });
});

describe('configuration', () => {
  const configured = async (t: Parameters<typeof startDaemon>[0], text: string) => {
    const cli = new CommandLine(t);
    const file = `${cli.daemon.dir}/config.toml`;
    fs.writeFileSync(file, text);
    cli.daemon.env.CORRAL_CONFIG = file;
    assert.equal((await cli.run(['daemon', 'start'])).code, 0);
    return { cli, file };
  };

  test('a change is in force after reload, without touching jobs', async (t) => {
    const { cli, file } = await configured(t, '[jobs]\nkill-grace = "9s"\n');
    const graceOf = async (id: string) => JSON.parse((await cli.run(['show', id, '--json'])).stdout).limits.killGraceMs;
    await cli.run(['submit', '--', 'sleep', '60']);
    assert.equal(await graceOf('1'), 9_000);
    fs.writeFileSync(file, '[jobs]\nkill-grace = "2s"\nmax-runtime = "1h"\n');
    const reload = await cli.run(['daemon', 'reload']);
    assert.deepEqual([reload.code, reload.stderr], [0, `corral: ${file} is in force\n`]);
    await cli.run(['submit', '--', 'sleep', '60']);
    assert.equal(await graceOf('2'), 2_000);
    assert.equal(await graceOf('1'), 9_000);
    assert.equal(JSON.parse((await cli.run(['show', '1', '--json'])).stdout).status, 'running');
  });

  test('G10: a bad one leaves the last good one in force, and is named with file and line', async (t) => {
    const { cli, file } = await configured(t, '[jobs]\nkill-grace = "9s"\n');
    for (const [text, says] of [
      ['[jobs]\nkill-grace = "soon"\n', `${file}:2: jobs.kill-grace: "soon" is not a duration.`],
      ['[jobs]\n\nkill-grave = "1s"\n', `${file}:3: jobs.kill-grave: there is no such key.`],
      ['jobs.kill-grace = 10\n', `${file}:1: jobs.kill-grace: write it in quotes, such as "10s".`],
      ['# none\njobs = 1\n', `${file}:2: jobs: must be an object.`],
      ['disk = { min-free = "much" }\n', `${file}:1: disk.min-free: "much" is not a size.`],
      ['[jobs\n', `${file}:1: this is not TOML`],
      ['[daemon]\nlog-level = "loud"\n', `${file}:2: daemon.log-level: must be one of debug, info, warn, error.`],
    ] as const) {
      fs.writeFileSync(file, text);
      const reload = await cli.run(['daemon', 'reload']);
      assert.equal(reload.code, 78, text);
      assert.ok(reload.stderr.includes(says), reload.stderr);
      const { code, stdout } = await cli.run(['health']);
      assert.equal(code, 1);
      assert.ok(stdout.includes(`CONFIG_INVALID: ${says}`), stdout);
    }
    await cli.run(['submit', '--', 'true']);
    assert.equal(JSON.parse((await cli.run(['show', '1', '--json'])).stdout).limits.killGraceMs, 9_000);
    fs.rmSync(file);
    assert.equal((await cli.run(['daemon', 'reload'])).code, 78, 'a file that was named must be there');
    fs.writeFileSync(file, '');
    assert.equal((await cli.run(['daemon', 'reload'])).code, 0);
    assert.equal((await cli.run(['health'])).code, 0);
  });

  test('SIGHUP reads it again; a variable wins over the file', async (t) => {
    const { daemon, client } = await startDaemon(t, { env: { CORRAL_JOBS_KILL_GRACE: '3s' } });
    const { id } = await client.submit({ command: ['true'] });
    assert.equal((await client.get(id)).limits.killGraceMs, 3_000);
    const { loadedAt } = (await client.status()).config;
    await waitFor('the clock goes on', () => new Date().toISOString() > loadedAt);
    process.kill(daemon.pid, 'SIGHUP');
    await waitFor('it was read', async () => (await client.status()).config.loadedAt !== loadedAt);
  });

  test('a variable that cannot be used is named, and ends the start with 78', async (t) => {
    const cli = new CommandLine(t, { CORRAL_LOG_LEVEL: 'loud' });
    const run = await cli.run(['daemon', 'run']);
    assert.equal(run.code, 78);
    assert.match(
      run.stderr,
      /The environment variable CORRAL_LOG_LEVEL is "loud"\. It must be one of debug, info, warn, error\./,
    );
  });
});

describe('doctor', () => {
  test('works without a daemon, and with one', async (t) => {
    const cli = new CommandLine(t);
    const without = await cli.run(['doctor', '--json']);
    const { facts, findings } = JSON.parse(without.stdout);
    assert.deepEqual(facts.daemon, { state: 'none answers' });
    assert.ok(facts.containment['tier to be had']);
    assert.ok(findings.every((finding: { topic: string }) => finding.topic));
    assert.equal((await cli.run(['daemon', 'status'])).code, 3, 'it starts none');
    await cli.run(['run', '--', 'true']);
    const deep = await cli.run(['doctor', '--deep']);
    assert.notEqual(deep.code, 2, deep.stdout);
    assert.match(deep.stdout, /check +full: sound\n/);
    assert.match(deep.stdout, /guarantee +\S/);
  });

  test('finds output without a record, and says how to remove it', async (t) => {
    const cli = new CommandLine(t);
    await cli.run(['run', '--', 'true']);
    fs.writeFileSync(`${cli.daemon.stateDir}/output/0/999.1.log`, 'nobody knows me');
    const { stdout } = await cli.run(['doctor', '--deep']);
    assert.match(
      stdout,
      /note \(store\) There is output of 1 jobs that have no record, such as job 999\.\n.*rm .*\/output\/\*\/999\.\*/,
    );
  });

  test('G10: folders that others may enter, and a configuration that cannot be used, are found', async (t) => {
    const cli = new CommandLine(t);
    fs.mkdirSync(cli.daemon.stateDir, { mode: 0o755 });
    fs.writeFileSync(`${cli.daemon.dir}/config.toml`, 'nonsense');
    const { code, stdout } = await cli.run(['doctor'], { env: { CORRAL_CONFIG: `${cli.daemon.dir}/config.toml` } });
    assert.equal(code, 2);
    assert.match(stdout, /problem \(configuration\) .*config\.toml:1: this is not TOML/);
    assert.match(stdout, /warning \(paths\) .*state can be looked into by others \(mode 755\)\.\n {2}chmod 700/);
  });
});

describe('backup', () => {
  test('a copy that is taken while jobs run is a whole store, and can be put in its place', async (t) => {
    const cli = new CommandLine(t);
    await cli.run(['run', '-n', 'kept', '--', 'echo', 'first']);
    await cli.run(['submit', '--', 'sleep', '60']);
    const file = `${cli.daemon.dir}/backup.db`;
    assert.equal((await cli.run(['daemon', 'backup', file])).code, 0);
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(
      fs.readdirSync(cli.daemon.dir).filter((name) => name.startsWith('backup')),
      ['backup.db'],
    );
    fs.writeFileSync(`${cli.daemon.dir}/second.db.partial`, 'of a backup that was interrupted');
    assert.equal((await cli.run(['daemon', 'backup', `${cli.daemon.dir}/second.db`])).code, 0);
    assert.equal(fs.existsSync(`${cli.daemon.dir}/second.db.partial`), false);
    assert.equal((await cli.run(['daemon', 'backup', `${cli.daemon.dir}/nowhere/b`])).code, 2);
    const again = await cli.run(['daemon', 'backup', file]);
    assert.deepEqual(
      [again.code, again.stderr],
      [2, `corral: ${file} is there already. Name another file, or remove it.\n`],
    );
    await cli.run(['run', '-n', 'forgotten', '--', 'echo', 'after the backup']);
    await cli.run(['daemon', 'stop']);
    for (const name of fs.readdirSync(cli.daemon.stateDir).filter((name) => name.startsWith('corral.db')))
      fs.rmSync(`${cli.daemon.stateDir}/${name}`);
    fs.renameSync(file, `${cli.daemon.stateDir}/corral.db`);
    const jobs = JSON.parse((await cli.run(['ls', '--all', '--json'])).stdout);
    assert.deepEqual(
      jobs.map(({ id, name, cause }: { id: number; name: string; cause: string }) => [id, name, cause]),
      [
        [1, 'kept', 'exit'],
        [2, null, 'supervisor-lost'],
      ],
    );
    const { stdout } = await cli.run(['run', '--', 'echo', 'third']);
    assert.equal(stdout, 'third\n', 'the number is given out again, and begins with an empty file');
  });

  test('without a store there is nothing to copy', async (t) => {
    const cli = new CommandLine(t);
    const { code, stderr } = await cli.run(['daemon', 'backup', `${cli.daemon.dir}/b`]);
    assert.equal(code, 125);
    assert.match(stderr, /There is no store yet/);
  });
});
