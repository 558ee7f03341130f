/** The configuration as a user changes it under a running daemon, and what is said of it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import type { Client } from '../../src/client/index.ts';
import { policyKeys } from '../../src/protocol/index.ts';
import { CommandLine } from '../support/cli.ts';
import { DaemonUnderTest } from '../support/daemon.ts';
import { waitFor } from '../support/wait-for.ts';

/** A daemon with a file, which it watches, and a client of its own. */
async function configured(t: TestContext, text: string, env: Record<string, string> = {}) {
  const cli = new CommandLine(t, env);
  const file = `${cli.daemon.dir}/conf/config.toml`;
  fs.mkdirSync(path.dirname(file));
  fs.writeFileSync(file, text);
  cli.daemon.env.CORRAL_CONFIG = file;
  const { code, stderr } = await cli.run(['daemon', 'start']);
  assert.equal(code, 0, stderr);
  return { cli, file, client: await cli.daemon.client() };
}

async function shownValue(client: Client, key: string): Promise<unknown> {
  return (await client.config()).keys.find((one) => one.key === key)?.value;
}

/** Resolves when the daemon has it in force, or has said why not. */
function inForce(client: Client, ttl: string): Promise<number> {
  return waitFor(`ttl is ${ttl}`, async () => {
    const { error } = await client.config();
    return error === null && (await shownValue(client, 'jobs.ttl')) === ttl;
  });
}

function refused(client: Client, says: string): Promise<number> {
  return waitFor(`it says ${says}`, async () => (await client.config()).error?.includes(says) ?? false);
}

const ttl = (text: string) => `[jobs]\nttl = "${text}"\n`;

describe('a change of the file under a running daemon', { concurrency: 2 }, () => {
  test('is in force by itself, with what is right and without what is wrong, and touches no job', async (t) => {
    const { cli, client, file } = await configured(t, ttl('1h'));
    await client.setGroup('default', { parallel: 1 });
    const { id: running } = await client.submit({ command: ['sleep', '60'] });
    const { id: queued } = await client.submit({ command: ['sleep', '60'] });
    await waitFor('it runs', async () => (await client.get(running)).status === 'running');
    const before = await Promise.all([running, queued].map(async (id) => (await client.get(id)).policies));
    const { pid } = await client.get(running);

    fs.writeFileSync(file, ttl('2h'));
    await inForce(client, '2h');

    fs.writeFileSync(file, '[jobs]\n\nttl = "soon"\n');
    await refused(client, `${file}:3: jobs.ttl: "soon" is not a duration.`);
    const health = await client.health();
    assert.deepEqual([health.status, health.reasons[0]?.code], ['degraded', 'CONFIG_INVALID']);
    assert.equal(await shownValue(client, 'jobs.ttl'), '2h', 'the last good one is in force');

    fs.writeFileSync(file, ttl('3h'));
    await inForce(client, '3h');
    assert.equal((await client.health()).status, 'ok', 'it is mended');

    fs.writeFileSync(`${file}.new`, ttl('4h'));
    fs.renameSync(`${file}.new`, file);
    await inForce(client, '4h');

    fs.rmSync(file);
    await refused(client, `${file} cannot be read`);
    assert.equal(await shownValue(client, 'jobs.ttl'), '4h', 'a file that was named must be there');
    fs.mkdirSync(file);
    await refused(client, `${file} is not a file`);
    fs.rmdirSync(file);
    fs.writeFileSync(file, Buffer.from([0x23, 0xff]));
    await refused(client, `${file} is not UTF-8`);
    fs.writeFileSync(file, `# ${'x'.repeat(1024 * 1024)}\n`);
    await refused(client, 'a configuration has at most 1 MiB');
    fs.writeFileSync(file, `${ttl('5h')}${`# ${'x'.repeat(98)}\n`.repeat(10_000)}`);
    await inForce(client, '5h');

    const after = await Promise.all([running, queued].map(async (id) => (await client.get(id)).policies));
    assert.deepEqual(after, before);
    assert.equal((await client.get(running)).pid, pid);
    const { id: late } = await client.submit({ command: ['true'] });
    assert.deepEqual((await client.get(late)).policies.ttlMs, { value: 5 * 3_600_000, from: 'config jobs' });

    const lines = cli.daemon
      .log()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const said = (message: string) => lines.filter((line) => line.message === message);
    assert.equal(said('configuration read again').length, 4);
    const complaints = said('configuration not taken over').map(({ error }) => String(error));
    assert.ok(complaints.length >= 5 && complaints[0]?.startsWith(`${file}:3:`), complaints.join('\n'));
    await client.cancel([running, queued, late], { mode: 'kill' });
  });

  test('also through a link that comes to point elsewhere', async (t) => {
    const { client, file } = await configured(t, ttl('1h'));
    const folder = path.dirname(file);
    fs.writeFileSync(`${folder}/other.toml`, ttl('7h'));
    fs.symlinkSync('other.toml', `${file}.new`);
    fs.renameSync(`${file}.new`, file);
    await inForce(client, '7h');
    fs.writeFileSync(`${folder}/other.toml`, ttl('8h'));
    await inForce(client, '8h');
  });

  test('is read once, though a reload was asked for, too', async (t) => {
    const { cli, client, file } = await configured(t, ttl('1h'));
    fs.writeFileSync(file, ttl('2h'));
    assert.equal((await client.reload()).error, null);
    fs.writeFileSync(file, ttl('3h'));
    await inForce(client, '3h'); // Whatever the watch had to say of the first has been said by now.
    const reads = cli.daemon.log().match(/configuration read again/g);
    assert.equal(reads?.length, 2);
  });
});

/** The limits on inotify belong to a user namespace, so a daemon in one of its own can be without any watch. */
const withoutWatches = (program: string) =>
  `set -- unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_inotify_watches && exec "$@"' sh ${program}`;

const hasNamespaces = spawnSync('/bin/sh', ['-c', `${withoutWatches('true')}; exec "$@"`]).status === 0;

test('a daemon that gets no inotify watch says so once, and goes on; reload still works', {
  skip: hasNamespaces ? false : 'this host gives a test no user namespace of its own',
}, async (t) => {
  const daemon = new DaemonUnderTest(t, { tier: 'scan', prelude: withoutWatches('"$@"') });
  const file = `${daemon.dir}/config.toml`;
  daemon.env.CORRAL_CONFIG = file;
  fs.writeFileSync(file, ttl('1h'));
  const client = await (await daemon.start()).client();
  const warnings = () => daemon.log().match(/the configuration cannot be watched/g)?.length ?? 0;
  await waitFor('it is said', () => warnings() > 0);
  assert.match(daemon.log(), /"reason":"ENOSPC: /);
  fs.writeFileSync(file, ttl('2h'));
  assert.equal((await client.reload()).error, null);
  assert.equal(await shownValue(client, 'jobs.ttl'), '2h');
  const { id } = await client.submit({ command: ['true'] });
  assert.equal((await client.wait(id))[0]?.status, 'completed');
  const { status, reasons } = await client.health();
  assert.deepEqual([status, reasons.map(({ code }) => code)], ['degraded', ['CONFIG_UNWATCHED']]);
  assert.match(reasons[0]?.message ?? '', /config\.toml cannot be watched \(ENOSPC: /);
  assert.equal(warnings(), 1);
});

describe('corral config', { concurrency: 2 }, () => {
  test('show says what is in force in the daemon, and what would be without one', async (t) => {
    const { cli, client, file } = await configured(t, ttl('1h'), { CORRAL_DISK_MIN_FREE: '1MiB' });
    const shown = await cli.run(['config', 'show']);
    assert.equal(shown.stderr, `corral: in force in the daemon, from ${file}\n`);
    assert.match(shown.stdout, new RegExp(`^jobs\\.ttl +1h +${file}:2$`, 'm'));
    assert.match(shown.stdout, /^jobs\.kill-grace +5s +profile default$/m);
    assert.match(shown.stdout, /^disk\.min-free +1MiB +CORRAL_DISK_MIN_FREE$/m);
    assert.match(shown.stdout, /^profiles\.batch\.max-runtime +30m +built in$/m);

    fs.writeFileSync(file, 'nonsense');
    await refused(client, 'this is not TOML');
    const meanwhile = await cli.run(['config', 'show']);
    assert.match(meanwhile.stderr, /has not taken over what is in the file now: .*config\.toml:1: this is not TOML/);
    assert.match(meanwhile.stdout, /^jobs\.ttl +1h /m);
    const json = JSON.parse((await cli.run(['config', 'show', '--json'])).stdout);
    assert.deepEqual([json.source, json.path, json.profiles.length], ['daemon', file, 5]);
    assert.match(json.error, /not TOML/);

    await cli.run(['daemon', 'stop']);
    assert.deepEqual([(await cli.run(['config', 'show'])).code, (await cli.run(['config', 'check'])).code], [78, 78]);
    fs.writeFileSync(file, ttl('2h'));
    const without = await cli.run(['config', 'show']);
    assert.match(
      without.stderr,
      /^corral: no daemon answers; this is what one that starts now would have, from .*config\.toml\n$/,
    );
    assert.match(without.stdout, /^jobs\.ttl +2h /m);
    assert.equal((await cli.run(['daemon', 'status'])).code, 3, 'it started none');
  });

  test('check names file, line and reason, and needs no daemon; path says where the file is', async (t) => {
    const cli = new CommandLine(t);
    const file = `${cli.daemon.dir}/some.toml`;
    fs.writeFileSync(file, '[profiles.a]\n\nbase = "b"\n');
    const bad = await cli.run(['config', 'check', 'some.toml']);
    assert.equal(bad.code, 78);
    assert.match(bad.stderr, /^corral: \/.*some\.toml:3: profiles\.a\.base: there is no profile "b"; take one of /);
    fs.writeFileSync(file, '[profiles.a]\nbase = "batch"\n');
    assert.deepEqual(await cli.run(['config', 'check', 'some.toml']), {
      code: 0,
      stdout: '',
      stderr: `corral: ${file} can be used\n`,
    });
    assert.equal((await cli.run(['config', 'check', 'none.toml'])).code, 78);
    const env = { CORRAL_CONFIG: file };
    assert.deepEqual(await cli.run(['config', 'path'], { env }), { code: 0, stdout: `${file}\n`, stderr: '' });
    assert.equal((await cli.run(['config', 'check'], { env: { ...env, CORRAL_JOBS_TTL: 'soon' } })).code, 78);
    assert.equal((await cli.run(['daemon', 'status'])).code, 3, 'it started none');
  });
});

test('under a cap on idle, no job gets out of being ended when it does nothing', async (t) => {
  const { cli, client } = await configured(t, '[jobs.idle]\ninterval = "200ms"\n[caps]\nidle = "1s"\n');
  await client.setGroup('default', { parallel: 10 });
  const wishes: string[][] = [
    ['--idle', 'off'],
    ['--idle-dry-run', '--idle-checks', '1000'],
    ['--idle-cpu', '0', '--idle-interval', '1h'],
    ['--profile', 'service', '--retries', '0'],
  ];
  for (const wish of wishes) assert.equal((await cli.run(['submit', ...wish, '--', 'sleep', '60'])).code, 0);
  const { stdout: busy } = await cli.run(['submit', '--idle', 'off', '-c', 'while :; do :; done']);
  for (const [index, wish] of wishes.entries()) {
    await waitFor(`${wish.join(' ')} is ended`, async () => (await client.get(index + 1)).finishedAt !== null, 30_000);
    assert.equal((await client.get(index + 1)).cause, 'idle', wish.join(' '));
  }
  assert.equal((await client.get(Number(busy))).status, 'running', 'control: one that does something lives');
  const shown = (await cli.run(['show', '1'])).stdout;
  assert.match(shown, /^idle\.checks +5 +config caps$/m);
  assert.match(shown, /^idle\.interval +200ms +config caps$/m);
  const dry = (await cli.run(['submit', '--dry-run', '--idle-dry-run', '--', 'true'])).stdout;
  assert.match(dry, /^idle\.dry-run +false +config caps$/m);
  await client.cancel([Number(busy)], { mode: 'kill' });
});

describe('policies on the command line', { concurrency: 2 }, () => {
  test('--dry-run shows what a submit would make, with where each value comes from, and submits nothing', async (t) => {
    const text = `${ttl('3h')}[profiles.nightly]\nbase = "batch"\nlease = "7m"\n[caps]\nretry.limit = 4\n`;
    const { cli, client } = await configured(t, text);
    const asked = ['--profile', 'nightly', '--retries', 'unlimited', '--idle-checks', '9', '--max-runtime', '2h'];
    for (const verb of ['submit', 'run']) {
      const { code, stdout, stderr } = await cli.run([verb, '--dry-run', ...asked, '--', 'make', 'it']);
      assert.deepEqual([code, stderr], [0, '']);
      for (const line of [
        /^command +make it$/m,
        /^profile +nightly$/m,
        /^max-runtime +2h +job$/m,
        /^ttl +3h +config jobs$/m,
        /^lease +7m +config profiles\.nightly$/m,
        /^retry\.limit +4 +config caps$/m,
        /^idle\.checks +9 +job$/m,
        /^idle\.interval +1m +profile default$/m,
      ])
        assert.match(stdout, line);
    }
    const dry = JSON.parse((await cli.run(['submit', '--dry-run', '--json', ...asked, 'true'])).stdout);
    assert.deepEqual((await client.list()).jobs, []);
    const { stdout: id } = await cli.run(['submit', ...asked, 'true']);
    const job = await client.get(Number(id));
    assert.deepEqual(dry.policies, job.policies, 'what was said is what is');
    assert.equal(Object.values(job.policies).filter(({ from }) => from === 'job').length, 2);
    const shown = (await cli.run(['show', id.trim()])).stdout;
    assert.match(shown, /^profile +nightly$/m);
    assert.match(shown, /^retry\.limit +4 +config caps$/m);
  });

  test('--dry-run is refused for what a submit is refused for', async (t) => {
    const { cli } = await configured(t, '');
    const cases: [args: string[], code: number, says: RegExp][] = [
      [['-g', 'nix'], 1, /There is no group "nix"/],
      [['--profile', 'nix'], 2, /There is no profile "nix". Take one of default, stream, batch, test, service/],
      [['--idle', 'off', '--idle-checks', '3'], 2, /--idle off leaves nothing/],
      [['--retry-delay', 'off'], 2, /--retry-delay needs a duration/],
      [['--retry-on', 'cancel'], 2, /Write some of exit, signal/],
      [['--retry-jitter', 'much'], 2, /It must be a number, such as 4 or 0\.5/],
      [['--retry-jitter', '1.5'], 2, /jitter: must be at most 1/],
      [['--retry-breaker', '3'], 2, /Write failures and a time, such as 10\/5m, or off/],
      [['--retry-breaker', '3/off'], 2, /Write failures and a time/],
      [['--retry-breaker', '0/5m'], 2, /breakerFailures: must be at least 1/],
      [['--retry-breaker', '3/soon'], 2, /"soon" is not a duration/],
      [['--notify-timeout', '5s'], 2, /--notify-timeout is for the commands of --notify/],
      [['--notify', 'failed: true', '--notify-timeout', 'off'], 2, /--notify-timeout needs a duration/],
      [['--output-limit', '5'], 2, /"5" is not a size/],
      [['--output-limit', '5B'], 2, /outputLimitBytes: must be at least 4096/],
      [['--batch'], 2, /--dry-run shows one job/],
    ];
    for (const [args, code, says] of cases) {
      const outcome = await cli.run(['submit', '--dry-run', ...args, '--', 'true']);
      assert.equal(outcome.code, code, args.join(' '));
      assert.match(outcome.stderr, says, args.join(' '));
      assert.equal(outcome.stdout, '');
    }
  });

  test('every option becomes a policy, and every policy has an option', async (t) => {
    const { cli } = await configured(t, '');
    const said = new Set<string>();
    const policiesOf = async (...args: string[]) => {
      const { code, stdout, stderr } = await cli.run(['submit', '--dry-run', '--json', ...args, '--', 'true']);
      assert.equal(code, 0, stderr);
      const { policies } = JSON.parse(stdout) as { policies: Record<string, { value: unknown; from: string }> };
      const asked = Object.entries(policies).filter(([, { from }]) => from === 'job');
      for (const [name] of asked) said.add(name);
      return Object.fromEntries(asked.map(([name, { value }]) => [name, value]));
    };
    const idle = ['--idle', 'on', '--idle-cpu', '0.5', '--idle-checks', '3', '--idle-interval', '200ms'];
    const retry = ['--retries', '3', '--retry-delay', '1s', '--retry-max-delay', '1m', '--retry-on', 'exit,oom'];
    assert.deepEqual(await policiesOf(...idle, '--idle-signals', 'cpu,output', '--idle-dry-run'), {
      'idle.cpuMillicores': 0.5,
      'idle.checks': 3,
      'idle.intervalMs': 200,
      'idle.signals': ['cpu', 'output'],
      'idle.dryRun': true,
    });
    assert.deepEqual(await policiesOf(...retry, '--retry-exit-codes', '75,111'), {
      'retry.limit': 3,
      'retry.delayMs': 1_000,
      'retry.maxDelayMs': 60_000,
      'retry.causes': ['exit', 'oom'],
      'retry.exitCodes': [75, 111],
    });
    assert.deepEqual(await policiesOf('--no-idle-dry-run', '--retry-jitter', '0.25', '--retry-breaker', '3/90s'), {
      'idle.dryRun': false,
      'retry.jitter': 0.25,
      'retry.breakerFailures': 3,
      'retry.breakerWindowMs': 90_000,
    });
    assert.deepEqual(await policiesOf('--retry-breaker', 'off'), { 'retry.breakerFailures': null });
    assert.deepEqual(await policiesOf('--retries', 'unlimited', '--idle', 'off', '--ttl', 'off', '--lease', '3m'), {
      'retry.limit': null,
      idle: null,
      ttlMs: null,
      leaseMs: 180_000,
    });
    assert.deepEqual(await policiesOf('--output-limit', '1MiB', '--on-output-limit', 'kill', '--kill-grace', '0'), {
      outputLimitBytes: 1_048_576,
      onOutputLimit: 'kill',
      killGraceMs: null,
    });
    const times = ['--max-runtime', '1h', '--start-deadline', '2h', '--on-supervisor-lost', 'retry'];
    assert.deepEqual(await policiesOf(...times), {
      maxRuntimeMs: 3_600_000,
      startDeadlineMs: 7_200_000,
      onSupervisorLost: 'retry',
    });
    assert.deepEqual([...said].sort(), Object.keys(policyKeys).sort());
  });
});
