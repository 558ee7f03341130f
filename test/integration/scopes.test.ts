/** A scope's jobs end with it, however its client ends. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ScopeReport } from '../../src/protocol/index.ts';
import { CommandLine, corral, outcomeOf } from '../support/cli.ts';
import { startDaemon, tiers } from '../support/daemon.ts';
import { pidsWith, sleepToken } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { waitFor } from '../support/wait-for.ts';

const programs = (name: string) => fileURLToPath(new URL(`../programs/${name}`, import.meta.url));
const needsPython = spawnSync('python3', ['-c', 'import pty']).status === 0 ? false : 'needs python3';
const unknown = 'a-scope-that-never-was';

/** What is promised for 200 jobs with a child each. */
const jobs = 200;
const withinMs = promisedMs(2_000);

/** Processes that sleep so, and not those that only talk about it. */
const sleepers = (token: string) => pidsWith(`sleep\0${token}`);

/** The parts of a report that a test can know. */
function figures({ status, end, jobs, ended, cleaned, failed, processesLeft }: ScopeReport) {
  return { status, end, jobs, ended, cleaned, failed, processesLeft };
}

for (const { tier, skip } of tiers) {
  test(`tier ${tier}: ${jobs} jobs with children of their own end when the client of their scope is killed with SIGKILL`, {
    skip,
  }, async (t) => {
    const cli = new CommandLine(t, { CORRAL_CONTAINMENT: tier });
    const [inside, outside] = [sleepToken(), sleepToken()];
    const { dir } = cli.daemon;
    await cli.run(['daemon', 'start']);
    await cli.run(['group', 'set', 'default', '--parallel', '300']);
    const line = `${JSON.stringify({ command: [programs('setsid-child'), inside] })}\n`;
    fs.writeFileSync(`${dir}/batch`, line.repeat(jobs));
    // The command outlives corral scope, as a command does whose parent is killed.
    const script = `
      ${corral} submit --scope none -- ${programs('setsid-child')} ${outside} >&2
      ${corral} submit --batch <batch >&2
      echo "$CORRAL_SCOPE"
      timeout 30 sh -c 'until [ -e gate -o ! -e batch ]; do sleep 0.1; done'
      ${corral} submit -- true 2>late; echo $? >>late; : >done`;
    const client = cli.spawn(['scope', '--', 'sh', '-c', script]);
    let scope = '';
    client.stdout?.on('data', (chunk) => {
      scope += chunk;
    });
    await waitFor('all run', () => scope !== '' && sleepers(inside).length === 2 * jobs, 30_000);
    client.kill('SIGKILL');
    const ms = await waitFor('none of them runs', () => sleepers(inside).length === 0);
    t.diagnostic(`${2 * jobs} processes were gone after ${Math.round(ms)} ms`);
    assert.ok(ms < withinMs, `${ms} ms`);
    assert.equal(sleepers(outside).length, 2, 'control: the job outside of the scope lives on, with its child');

    let report: ScopeReport | null = null;
    await waitFor('the report is final', async () => {
      report = JSON.parse((await cli.run(['scope', '--report', scope.trim(), '--json'])).stdout);
      return report?.status === 'closed';
    });
    assert.deepEqual(report === null ? null : figures(report), {
      status: 'closed',
      end: 'client-gone',
      jobs,
      ended: 0,
      cleaned: jobs,
      failed: 0,
      processesLeft: 0,
    });
    fs.writeFileSync(`${dir}/gate`, '');
    await waitFor('the command has tried again', () => fs.existsSync(`${dir}/done`), 30_000);
    assert.match(fs.readFileSync(`${dir}/late`, 'utf8'), /^corral: The scope \w+ is closed, .*\n1\n$/);
  });
}

describe('corral scope', () => {
  test('passes the exit code of its command on, ends what that left behind, and says so', async (t) => {
    const cli = new CommandLine(t);
    const token = sleepToken();
    await cli.run(['daemon', 'start']);
    await cli.run(['group', 'set', 'default', '--parallel', '10']);
    // The second is submitted by the first: it belongs because the environment is inherited.
    const script = `
      id=$(${corral} submit -- ${corral} submit -- ${programs('setsid-child')} ${token})
      ${corral} wait $id && exit 7`;
    const failing = await cli.run(['scope', '--name', 'nightly', '--', 'sh', '-c', script]);
    assert.equal(failing.code, 7);
    assert.equal(
      failing.stderr,
      'corral: scope: 2 jobs, 1 ended by themselves, 1 cleaned, 0 failed, 0 processes left\n',
    );
    assert.deepEqual(sleepers(token), []);
    assert.match((await cli.run(['ls', '--all'])).stdout, /^2 +cancelled +scope /m);

    const fine = await cli.run(['scope', '--json', '--', 'echo', 'out']);
    assert.deepEqual([fine.code, fine.stdout], [0, 'out\n']);
    const report = JSON.parse(fine.stderr) as ScopeReport;
    assert.deepEqual(figures(report), {
      status: 'closed',
      end: 'closed',
      jobs: 0,
      ended: 0,
      cleaned: 0,
      failed: 0,
      processesLeft: 0,
    });
    assert.match((await cli.run(['scope', '--report', report.scope])).stdout, /^status +closed, by its client$/m);

    const killed = await cli.run(['scope', '--', 'sh', '-c', 'kill -KILL $$']);
    assert.equal(killed.code, 137);
    assert.equal((await cli.run(['scope', '--report', unknown])).code, 1);
    assert.equal((await cli.run(['scope'])).code, 2);
    const missing = await cli.run(['scope', '--', '/nonexistent']);
    assert.equal(missing.code, 127);
    assert.match(missing.stderr, /^corral: \/nonexistent could not be started/);
  });

  test('passes SIGTERM on to its command, and closes the scope when that has ended', async (t) => {
    const cli = new CommandLine(t);
    const token = sleepToken();
    await cli.run(['daemon', 'start']);
    const script = `trap 'echo term; exit 3' TERM; ${corral} submit -- sleep ${token}; while :; do sleep 0.05; done`;
    const client = cli.spawn(['scope', '--', 'sh', '-c', script]);
    const outcome = outcomeOf(client);
    await waitFor('the job runs', () => sleepers(token).length === 1);
    client.kill('SIGTERM');
    const { code, stdout, stderr } = await outcome;
    assert.deepEqual([code, stdout], [3, '1\nterm\n']);
    assert.match(stderr, /1 cleaned, 0 failed, 0 processes left\n$/);
    assert.deepEqual(sleepers(token), []);
  });

  test('leaves Ctrl-C to its command, as without corral', { skip: needsPython }, async (t) => {
    const cli = new CommandLine(t);
    const token = sleepToken();
    await cli.run(['daemon', 'start']);
    const script = `trap 'echo once; exit 9' INT; ${corral} submit -- sleep ${token} >/dev/null; echo up; while :; do sleep 0.05; done`;
    const errorFile = `${cli.daemon.dir}/stderr`;
    const terminal = spawn(programs('terminal'), ['keyboard', corral, 'scope', '--', 'sh', '-c', script], {
      env: { ...cli.daemon.env, TERMINAL_STDERR: errorFile },
      cwd: cli.daemon.dir,
      stdio: 'pipe',
    });
    const outcome = outcomeOf(terminal);
    await once(terminal.stdout, 'data');
    terminal.stdin.write('\n');
    const { code, stdout } = await outcome;
    assert.equal(code, 9);
    assert.equal(stdout.replaceAll(/\r|\^C/g, ''), 'up\nonce\n');
    assert.match(fs.readFileSync(errorFile, 'utf8'), /1 cleaned, 0 failed, 0 processes left\n$/);
    assert.deepEqual(sleepers(token), []);
  });
});

describe('a scope of the library', () => {
  test('ends its jobs when it is disposed of, and only its own', async (t) => {
    const { client } = await startDaemon(t, { parallel: 10 });
    const [token, other] = [sleepToken(), sleepToken()];
    await client.submit({ command: ['sleep', other] });
    let id = '';
    {
      await using scope = client.scope({ name: 'in a block' });
      id = scope.id;
      await scope.submitBatch([{ command: ['sleep', token] }, { shell: 'echo $CORRAL_SCOPE' }]);
      const [job] = await client.wait(3);
      assert.equal(job?.scope, id);
      const output: Buffer[] = [];
      for await (const piece of client.logs(3)) output.push(piece);
      assert.equal(Buffer.concat(output).toString(), `${id}\n`, 'the job can hand it on');
      await waitFor('it runs', () => sleepers(token).length === 1);
      const { status, jobs, processesLeft } = await scope.report();
      assert.deepEqual([status, jobs, processesLeft], ['open', 2, null]);
    }
    assert.deepEqual(sleepers(token), []);
    const report = await client.scopeReport(id);
    assert.deepEqual([report.name, report.jobs, report.ended, report.cleaned], ['in a block', 2, 1, 1]);
    assert.equal((await client.get(2)).cause, 'scope');
    assert.equal((await client.get(1)).status, 'running');
  });

  for (const { tier, skip } of tiers) {
    test(`tier ${tier}: what has not ended in time is named, and its processes are counted`, { skip }, async (t) => {
      const { client } = await startDaemon(t, { tier });
      const token = sleepToken();
      const scope = client.scope();
      await scope.submit({ command: [programs('ignores-sigterm'), token], killGraceMs: 60_000 });
      await waitFor('it runs', () => sleepers(token).length > 0);
      const early = await scope.close({ timeoutMs: 300 });
      assert.deepEqual([early.status, early.cleaned, early.failed], ['closing', 0, 1]);
      assert.equal(early.processesLeft, sleepers(token).length);
      assert.ok(sleepers(token).length > 0);
      assert.deepEqual(
        early.errors.map(({ jobId, code }) => [jobId, code]),
        [[1, 'JOB_RUNNING']],
      );
      await client.cancel(1, { mode: 'kill' });
      const late = await scope.close();
      assert.deepEqual([late.status, late.cleaned, late.failed, late.processesLeft], ['closed', 1, 0, 0]);
      assert.deepEqual(sleepers(token), []);
    });
  }

  test('is closed with its client, and takes no jobs any more; queued ones never run', async (t) => {
    const { daemon, client } = await startDaemon(t, { parallel: 1 });
    const other = await daemon.client();
    const token = sleepToken();
    const scope = other.scope();
    await scope.submit({ command: ['sleep', token] });
    await scope.submit({ command: ['true'] });
    other.close();
    const jobs = await client.wait([1, 2]);
    assert.deepEqual(
      jobs.map(({ status, cause, attempt }) => [status, cause, attempt]),
      [
        ['cancelled', 'scope', 1],
        ['cancelled', 'scope', 0],
      ],
    );
    assert.equal(jobs[0]?.message, 'The client of its scope went away.');
    await assert.rejects(client.submit({ command: ['true'], scope: scope.id }), { code: 'SCOPE_CLOSED' });
    await assert.rejects(client.submit({ command: ['true'], scope: unknown }), { code: 'SCOPE_CLOSED' });
    await assert.rejects(client.submitBatch([{ command: ['true'] }], { scope: unknown }), { code: 'SCOPE_CLOSED' });
    const again = await client.retry([1, 2]);
    assert.deepEqual(
      again.errors.map(({ code }) => code),
      ['SCOPE_CLOSED', 'SCOPE_CLOSED'],
    );
    assert.equal((await client.list()).jobs.length, 2);
  });

  test('outlives a crash of the daemon, though its client says nothing meanwhile', async (t) => {
    const { daemon, client } = await startDaemon(t, { parallel: 1 });
    const token = sleepToken();
    const scope = client.scope();
    await scope.submit({ command: ['sleep', token] });
    await scope.submit({ command: ['true'] });
    const opened = () => daemon.log().split('scope opened').length;
    assert.equal(opened(), 2);
    await daemon.kill();
    await daemon.start();
    const [lost, queued] = await client.wait([1, 2]);
    assert.deepEqual([lost?.cause, queued?.status], ['supervisor-lost', 'completed']);
    await scope.submit({ command: ['true'] });
    const report = await scope.close();
    assert.deepEqual(
      [report.end, report.jobs, report.ended, report.cleaned],
      ['closed', 3, report.ended, 3 - report.ended],
    );
    assert.deepEqual(await client.scopeReport(scope.id), report);
  });

  test('that was being closed when the daemon died is closed after that, with every job counted', async (t) => {
    const { daemon, client } = await startDaemon(t, { parallel: 1 });
    const token = sleepToken();
    const scope = client.scope();
    await scope.submit({ command: [programs('ignores-sigterm'), token], killGraceMs: 60_000 });
    await scope.submit({ command: ['true'] });
    await waitFor('it runs', () => sleepers(token).length > 0);
    await scope.close({ timeoutMs: 0 });
    await daemon.kill();
    await daemon.start();
    const report = await scope.close();
    assert.deepEqual(figures(report), {
      status: 'closed',
      end: 'closed',
      jobs: 2,
      ended: 0,
      cleaned: 2,
      failed: 0,
      processesLeft: 0,
    });
  });
});
