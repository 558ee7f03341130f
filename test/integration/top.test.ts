import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { CommandLine, corral } from '../support/cli.ts';
import { type DaemonUnderTest, startDaemon, tiers } from '../support/daemon.ts';
import { waitFor } from '../support/wait-for.ts';

const burns = 'while :; do :; done';

/** Descriptors of the daemon that belong to processes it has looked at. */
function openStats({ pid }: DaemonUnderTest): number {
  return fs
    .readdirSync(`/proc/${pid}/fd`)
    .flatMap((fd) => {
      try {
        return fs.readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
        throw error;
      }
    })
    .filter((target) => /^\/proc\/\d+\/stat$/.test(target)).length;
}

for (const { tier, skip } of tiers) {
  test(`usage tells what running jobs and their processes use; tier ${tier}`, { skip }, async (t) => {
    const { client, daemon } = await startDaemon(t, { tier, parallel: 10 });
    const idle = { cpuMillicores: 4, checks: 7, intervalMs: 60_000 };
    const { id: busy } = await client.submit({ shell: `${burns} & setsid sh -c '${burns}' & wait`, idle });
    const { id: quiet } = await client.submit({ command: ['sleep', '60'], idle: null });
    const { id: over } = await client.submit({ command: ['true'] });
    await client.wait(over);
    const up = async () => (await client.usage({ jobIds: [busy] }))[0]?.processCount === 3;
    await waitFor('all of its processes are there', up);
    const first = await client.usage({ processes: true });
    assert.deepEqual(
      first.map(({ jobId }) => jobId),
      [busy, quiet],
    );
    await new Promise((resolve) => setTimeout(resolve, 700));
    const [burner, sleeper] = await client.usage({ processes: true });
    assert.ok(burner && sleeper);
    assert.ok((burner.cpuMillicores ?? 0) > 100, `${burner.cpuMillicores} millicores`);
    assert.ok((burner.cpuMs ?? 0) > (first[0]?.cpuMs ?? 0));
    assert.deepEqual(burner.idle, { quietChecks: 0, checks: 7, dryRun: false });
    assert.deepEqual([sleeper.processCount, sleeper.idle], [1, null]);
    assert.ok((sleeper.cpuMillicores ?? 99) < 50);
    const [one] = sleeper.processes;
    assert.equal(one?.command, 'sleep 60');
    assert.equal(one?.state, 'S');
    assert.ok((one?.rssBytes ?? 0) > 100_000);
    const hottest = burner.processes.slice(0, 2);
    assert.ok(hottest.every(({ command, cpuMillicores }) => /while/.test(command) && (cpuMillicores ?? 0) > 50));
    assert.deepEqual(await client.usage({ jobIds: [over] }), [], 'a job that has ended uses nothing');
    await assert.rejects(client.usage({ jobIds: [99] }), { code: 'JOB_NOT_FOUND' });
    if (tier === 'scan') return; // What follows is the same in every tier, and takes its time.
    // pidusage holds a descriptor for each process that it has looked at; it is told to forget them soon.
    assert.ok(openStats(daemon) > 0);
    await waitFor('the descriptors are closed', () => openStats(daemon) === 0, 8_000);
  });
}

test('many who ask at once share a look, and nothing that it starts is left behind', async (t) => {
  const { client, daemon } = await startDaemon(t);
  await client.submit({ command: ['sleep', '60'] });
  await waitFor('it runs', async () => (await client.usage()).length === 1);
  // pidusage had Node start getconf, whose end Node has to hear of: else this would not have been answered.
  const children = fs.readFileSync(`/proc/${daemon.pid}/task/${daemon.pid}/children`, 'utf8').trim().split(' ');
  for (const pid of children) assert.doesNotMatch(fs.readFileSync(`/proc/${pid}/stat`, 'latin1'), /\) Z |getconf/);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const answers = await Promise.all(Array.from({ length: 20 }, () => client.usage()));
  assert.equal(new Set(answers.map((answer) => JSON.stringify(answer))).size, 1);
});

test('top and show --processes', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['submit', '--name', 'burner', '-c', burns]);
  await cli.run(['submit', '--', 'sleep', '60']);
  const once = await cli.run(['top', '--interval', '500ms']);
  assert.equal(once.code, 0, once.stderr);
  const [header, first, second, ...more] = once.stdout.trim().split('\n');
  assert.match(header ?? '', /^ID +CPU +MCPU +MEMORY +PROCS +TIME +IDLE +NAME +COMMAND$/);
  assert.match(first ?? '', /^1 +\d+\.\d% +\d+\.\d +\S+ .iB +1 +\S+ +0\/30 +burner +while :; do :; done$/);
  assert.match(second ?? '', /^2 .* 0\/30 +- +sleep 60$/);
  assert.deepEqual(more, []);

  const json = JSON.parse((await cli.run(['top', '--once', '--json', '-i', '500ms'])).stdout);
  assert.deepEqual(
    json.map(({ jobId, name, processCount }: Record<string, unknown>) => [jobId, name, processCount]),
    [
      [1, 'burner', 1],
      [2, null, 1],
    ],
  );
  // head goes when it has seen two looks, and top with it.
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', `"$0" top --json -i 500ms | head -n 2`, corral], {
    env: cli.daemon.env,
  });
  assert.deepEqual(
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).jobs.length),
    [2, 2],
  );

  const shown = await cli.run(['show', '2', '--processes']);
  assert.match(
    shown.stdout,
    /^PID +STATE +CPU +CPU TIME +MEMORY +COMMAND\n\d+ +S +0\.\d% +\d+ms +\S+ .iB +sleep 60\n$/,
  );
  const [process] = JSON.parse((await cli.run(['show', '1', '-p', '--json'])).stdout);
  assert.deepEqual(Object.keys(process), ['pid', 'command', 'state', 'cpuMs', 'cpuMillicores', 'rssBytes']);

  await cli.run(['cancel', '--wait', '--kill', '1..2']);
  const none = await cli.run(['top', '-i', '500ms']);
  assert.deepEqual([none.code, none.stdout], [0, '']);
  assert.match(none.stderr, /^corral: nothing runs\./);
  assert.match((await cli.run(['show', '1', '-p'])).stderr, /^corral: job 1 is cancelled: it has no processes\n$/);
});
