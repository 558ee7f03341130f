/** Hooks: commands that are told what becomes of a job. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import type { Client, EventView, JobView } from '../../src/client/index.ts';
import type { HookSpec } from '../../src/protocol/index.ts';
import { CommandLine } from '../support/cli.ts';
import { DaemonUnderTest, startDaemon, tiers } from '../support/daemon.ts';
import { compileHarm, whyNoHarm } from '../support/harm.ts';
import { isAlive, pidsWith, sleepToken } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

const sh = (line: string) => ['/bin/sh', '-c', line];

async function warningsOf(client: Client, jobId: number): Promise<EventView[]> {
  const events: EventView[] = [];
  for await (const event of client.events({ jobId })) if (event.kind === 'warning') events.push(event);
  return events;
}

/** Resolves when a hook of the job has been noted as failed. */
async function failureOf(client: Client, jobId: number): Promise<string> {
  let message = '';
  await waitFor('a hook has failed', async () => {
    const [first] = await warningsOf(client, jobId);
    message = (first?.detail as { message: string } | undefined)?.message ?? '';
    return first !== undefined;
  });
  return message;
}

function linesOf(file: string): string[] {
  return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
}

function configure(daemon: DaemonUnderTest, toml: string): string {
  const file = `${daemon.dir}/config.toml`;
  fs.writeFileSync(file, toml);
  return file;
}

for (const { tier, skip } of tiers) {
  test(`a hook is run after each transition that it is for, with the job's JSON, folder and environment (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier });
    const out = `${daemon.dir}/out`;
    const hook: HookSpec = {
      on: ['running', 'retrying', 'failed'],
      command: sh(`cat >"$OUT.$CORRAL_HOOK.$CORRAL_ATTEMPT"; echo "$CORRAL_HOOK $CORRAL_JOB_ID $PWD" >>"$OUT"`),
    };
    const { id } = await client.submit({
      shell: 'sleep 0.3; exit 3',
      cwd: daemon.stateDir,
      env: { PATH: process.env.PATH ?? '', OUT: out },
      retry: { limit: 1, delayMs: 300, jitter: 0 },
      hooks: [hook],
    });
    await client.wait(id);
    await waitFor('all hooks have been run', () => linesOf(out).length === 4);
    assert.deepEqual(
      linesOf(out).sort(),
      ['failed', 'retrying', 'running', 'running'].map((moment) => `${moment} ${id} ${daemon.stateDir}`),
    );
    const read = (name: string) => JSON.parse(fs.readFileSync(`${out}.${name}`, 'utf8')) as JobView;
    assert.deepEqual([read('running.1').status, read('running.1').attempt], ['running', 1]);
    assert.deepEqual([read('retrying.1').status, read('retrying.1').retries], ['queued', 1]);
    assert.deepEqual([read('failed.2').status, read('failed.2').exitCode], ['failed', 3]);
    assert.deepEqual(Object.keys(read('failed.2')), Object.keys(await client.get(id)));
    assert.deepEqual(await warningsOf(client, id), []);
  });

  test(`a hook that takes too long, ignores SIGTERM and leaves its session ends with its time, all of it (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { client } = await startDaemon(t, { tier });
    const token = sleepToken();
    const line = `trap '' TERM; setsid sleep ${token} & sleep ${token}`;
    const { id } = await client.submit({
      command: ['true'],
      hooks: [{ on: ['completed'], command: sh(line), timeoutMs: 500 }],
    });
    await waitFor('the hook runs', () => pidsWith(token).length >= 2);
    assert.match(await failureOf(client, id), /was killed: it had run for its limit of 500 ms$/);
    assert.deepEqual(pidsWith(token), []);
  });

  test(`what a hook leaves behind ends with it (tier ${tier})`, { skip }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier });
    const token = sleepToken();
    const line = `setsid sleep ${token} >/dev/null 2>&1 & setsid sleep ${token} & echo ran >>${daemon.dir}/out`;
    const { id } = await client.submit({ command: ['true'], hooks: [{ on: ['completed'], command: sh(line) }] });
    await waitFor('the hook has run', () => linesOf(`${daemon.dir}/out`).length === 1);
    await waitFor('nothing is left', () => pidsWith(token).length === 0);
    assert.deepEqual(await warningsOf(client, id), []);
  });

  test(`G1: hooks that run when the daemon is killed are gone within a second (tier ${tier})`, { skip }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier });
    const token = sleepToken();
    const line = `trap '' TERM HUP; setsid sleep ${token} & sleep ${token}`;
    await client.submit({ command: ['true'], hooks: [{ on: ['completed'], command: sh(line) }] });
    await waitFor('the hook runs', () => pidsWith(token).length >= 2);
    await daemon.kill();
    const tookMs = await waitFor('its processes are gone', () => pidsWith(token).length === 0, 5_000);
    t.diagnostic(`gone after ${Math.round(tookMs)} ms`);
    assert.ok(tookMs < 2_000);
  });
}

test('a hook that fails is noted at its job, logged, and shown by health', async (t) => {
  const { daemon, client } = await startDaemon(t);
  assert.deepEqual((await client.health()).reasons, []);
  const line = 'echo "cannot reach the pager" >&2; exit 7';
  const { id } = await client.submit({ command: ['true'], hooks: [{ on: ['completed'], command: sh(line) }] });
  assert.match(
    await failureOf(client, id),
    /^the hook on "completed" .* ended with exit code 7: cannot reach the pager$/,
  );
  const [warning] = await warningsOf(client, id);
  assert.deepEqual((warning?.detail as { hook: unknown } | undefined)?.hook, {
    on: 'completed',
    command: sh(line),
    exitCode: 7,
    signal: null,
    stderr: 'cannot reach the pager\n',
  });
  assert.match(daemon.log(), /hook failed/);
  const health = await client.health();
  assert.deepEqual([health.status, health.reasons[0]?.code], ['degraded', 'HOOKS_FAILING']);
  assert.equal((await client.get(id)).status, 'completed', 'the job is none the worse');
});

const failures: { name: string; hook: Partial<HookSpec>; says: RegExp }[] = [
  {
    name: 'a program that is not there',
    hook: { command: ['no-such-program'] },
    says: /could not be started: .*not found/,
  },
  { name: 'a signal', hook: { command: sh('kill -SEGV $$') }, says: /was ended by SIGSEGV/ },
  { name: 'bytes that are not UTF-8', hook: { command: ['echo', 'a\udcff'] }, says: /bytes that are not UTF-8/ },
  {
    name: 'much on stderr',
    hook: { command: sh('yes ab | head -c 1000000 >&2; echo end >&2; exit 1') },
    says: /^[^:]*: .{190,200}end$/s,
  },
];
test('a hook that fails says how', async (t) => {
  const { client } = await startDaemon(t);
  for (const { name, hook, says } of failures) {
    const { id } = await client.submit({ command: ['true'], hooks: [{ on: ['completed'], command: [], ...hook }] });
    assert.match(await failureOf(client, id), says, name);
  }
});

test('a hook that does not read its input, or closes everything, is no failure', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const out = `${daemon.dir}/out`;
  const big = { BIG: 'x'.repeat(100_000) };
  for (const line of [`exec <&-; sleep 0.1; echo >>${out}`, `echo >>${out}; exec >&- 2>&- <&-`]) {
    const { id } = await client.submit({
      command: ['true', ...Array<string>(4).fill('y'.repeat(100_000))],
      env: { ...process.env, ...big } as Record<string, string>,
      hooks: [{ on: ['completed'], command: sh(line) }],
    });
    await client.wait(id);
    await waitFor('the hook has run', () => linesOf(out).length >= id);
    assert.deepEqual(await warningsOf(client, id), []);
  }
});

test('hooks of the configuration are for all jobs, or for those that they name; they start in / with the daemon’s environment', async (t) => {
  const cli = new CommandLine(t);
  const out = `${cli.daemon.dir}/out`;
  cli.daemon.env.CORRAL_CONFIG = configure(
    cli.daemon,
    `[[hooks]]
on = ["completed"]
command = 'echo "all $CORRAL_JOB_ID $PWD $HOME $SECRET" >>${out}'

[[hooks]]
on = ["completed", "failed"]
command = ["/bin/sh", "-c", 'echo "batch $CORRAL_JOB_ID" >>${out}']
profile = "batch"
name = "nightly"
timeout = "5s"
`,
  );
  const job = (args: string[]) => cli.run(['run', ...args, '--', 'true'], { env: { SECRET: 'of the job' } });
  await job([]);
  await cli.run(['submit', '--batch'], {
    input: '{"command":["false"],"profile":"batch","name":"nightly","retry":{"limit":0}}\n',
  });
  await cli.run(['submit', '--batch'], { input: '{"command":["true"],"profile":"batch","name":"daily"}\n' });
  await waitFor('the hooks have been run', () => linesOf(out).length === 3);
  assert.deepEqual(linesOf(out).sort(), [`all 1 / ${cli.daemon.dir} `, `all 3 / ${cli.daemon.dir} `, 'batch 2']);

  configure(cli.daemon, `[[hooks]]\non = ["completed"]\ncommand = 'echo "new $CORRAL_JOB_ID" >>${out}'\n`);
  assert.equal((await cli.run(['daemon', 'reload'])).code, 0);
  await job([]);
  await waitFor('the new hook is in force', () => linesOf(out).includes('new 4'));

  configure(cli.daemon, '[[hooks]]\non = ["done"]\ncommand = "true"\n');
  const bad = await cli.run(['daemon', 'reload']);
  assert.equal(bad.code, 78);
  assert.match(bad.stderr, /config\.toml.*hooks/);
});

test('--notify takes a line of shell, for the transitions that it names', async (t) => {
  const cli = new CommandLine(t);
  const out = `${cli.daemon.dir}/out`;
  const when = (moments: string) => ['--notify', `${moments}: echo "$CORRAL_HOOK: $CORRAL_JOB_ID" >>${out}`];
  assert.equal((await cli.run(['run', ...when('failed,cancelled'), ...when('completed'), '--', 'false'])).code, 1);
  await waitFor('the hook has run', () => linesOf(out).length === 1);
  await cli.run(['run', ...when('failed,cancelled'), ...when('completed'), '--', 'true']);
  await waitFor('the hook has run', () => linesOf(out).length === 2);
  assert.deepEqual(linesOf(out), ['failed: 1', 'completed: 2']);
  for (const wrong of ['failed', 'done: true', ': true', 'failed:'])
    assert.equal((await cli.run(['run', '--notify', wrong, '--', 'true'])).code, 2, wrong);

  const slow = ['--notify', 'running: sleep 60', ...when('completed'), '--notify', 'completed: sleep 60'];
  await cli.run(['run', '--notify-timeout', '300ms', ...slow, '--', 'true']);
  const client = await cli.daemon.client();
  await waitFor('both have been killed', async () => (await warningsOf(client, 3)).length === 2);
  for (const { detail } of await warningsOf(client, 3))
    assert.match((detail as { message: string }).message, /was killed: it had run for its limit of 300 ms$/);
  assert.deepEqual(linesOf(out).slice(2), ['completed: 3'], 'control: the quick one is not');
});

test('a daemon that stops lets hooks come to their end, for a while; what is left of them goes with it', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const out = `${daemon.dir}/out`;
  const token = sleepToken();
  const pid = daemon.pid;
  await client.submit({
    command: ['sleep', '600'],
    hooks: [
      { on: ['failed'], command: sh(`sleep 0.3; echo told >>${out}`) },
      { on: ['failed'], command: ['sleep', token] },
    ],
  });
  await waitFor('the job runs', async () => (await client.list({ statuses: ['running'] })).jobs.length === 1);
  assert.equal(await daemon.signal('SIGTERM'), 0);
  assert.deepEqual(linesOf(out), ['told']);
  assert.deepEqual(pidsWith(token), []);
  assert.ok(!isAlive(pid));
});

test('a job that was lost with its daemon is told of at the next start', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const out = `${daemon.dir}/out`;
  await client.submit({
    command: ['sleep', '600'],
    hooks: [{ on: ['failed'], command: sh(`echo $CORRAL_HOOK >>${out}`) }],
  });
  await waitFor('the job runs', async () => (await client.list({ statuses: ['running'] })).jobs.length === 1);
  await daemon.kill();
  await daemon.start();
  await waitFor('the hook has run', () => linesOf(out).length === 1);
});

test('a hook that fails after the record of its job was removed harms nothing', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const gate = `${daemon.dir}/gate`;
  const line = `until [ -e ${gate} ]; do sleep 0.05; done; exit 1`;
  const { id } = await client.submit({ command: ['true'], hooks: [{ on: ['completed'], command: sh(line) }] });
  await client.wait(id);
  await client.remove(id);
  fs.writeFileSync(gate, '');
  await waitFor('the hook has failed', async () => (await client.health()).checks.hookFailures === 1);
  const next = await client.submit({ command: ['true'] });
  assert.equal((await client.wait(next.id))[0]?.status, 'completed');
  assert.doesNotMatch(daemon.log(), /store failed/);
});

test('what cannot be written down is not told; it is as soon as it can be', { skip: whyNoHarm }, async (t) => {
  const daemon = new DaemonUnderTest(t);
  const harm = compileHarm(daemon.dir);
  Object.assign(daemon.env, harm);
  await daemon.start();
  const client = await daemon.client();
  const out = `${daemon.dir}/out`;
  const gate = `${daemon.dir}/gate`;
  const { id } = await client.submit({
    shell: `until [ -e ${gate} ]; do sleep 0.05; done; echo over >>${gate}`,
    hooks: [{ on: ['completed'], command: sh(`echo told >>${out}`) }],
  });
  await waitFor('the job runs', async () => (await client.get(id)).status === 'running');
  fs.writeFileSync(harm.HARM_FSYNC, '');
  fs.writeFileSync(gate, '');
  await waitFor('its end cannot be written down', async () => (await client.health()).checks.unwrittenChanges > 0);
  assert.deepEqual(linesOf(gate), ['over']);
  assert.deepEqual(linesOf(out), []);
  fs.rmSync(harm.HARM_FSYNC);
  await waitFor('it is told', () => linesOf(out).length === 1);
});

test('a thousand hooks that wait are the limit: the others are not run, and health says so; no more than eight run at once', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 100 });
  const token = sleepToken();
  const hook = (): HookSpec => ({ on: ['completed'], command: ['sleep', token] });
  const jobs = Array.from({ length: 70 }, () => ({ command: ['true'], hooks: Array.from({ length: 15 }, hook) }));
  await client.wait((await client.submitBatch(jobs)).map(({ id }) => id));
  assert.ok(pidsWith(token).length <= 8);
  const { reasons, checks } = await client.health();
  assert.equal(reasons[0]?.code, 'HOOKS_FAILING');
  t.diagnostic(`${checks.hookFailures} of 1050 were not run; longest lag ${checks.loopLagMs} ms`);
  assert.ok(checks.hookFailures >= 40 && checks.hookFailures <= 50, `${checks.hookFailures}`);
  assert.match(reasons[0]?.message ?? '', /was not run: 1000 others waited/);
  await daemon.signal('SIGTERM');
  assert.deepEqual(pidsWith(token), []);
  assert.match(daemon.log(), /hooks were not run/);
});
