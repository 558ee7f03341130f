/** A job and the terminal that it was started from: the one does not depend on the other. */
import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CommandLine, corral, outcomeOf } from '../support/cli.ts';
import { pidsWith, sleepToken } from '../support/processes.ts';

const terminalProgram = fileURLToPath(new URL('../programs/terminal', import.meta.url));
const needsPython = spawnSync('python3', ['-c', 'import pty']).status === 0 ? false : 'needs python3';

interface Terminal {
  readonly child: ChildProcessWithoutNullStreams;
  /** What the verb said on stderr, which is a file, so that it outlives the terminal. */
  readonly said: () => string;
  /** Resolves when the terminal is closed. */
  readonly close: () => Promise<void>;
  /** How the verb ends. */
  readonly code: Promise<number | null>;
}

function inTerminal(cli: CommandLine, kind: 'session' | 'stranger', args: readonly string[]): Terminal {
  const errorFile = `${cli.daemon.dir}/stderr`;
  const child = spawn(terminalProgram, [kind, corral, ...args], {
    env: { ...cli.daemon.env, TERMINAL_STDERR: errorFile },
    cwd: cli.daemon.dir,
    stdio: 'pipe',
  });
  const outcome = outcomeOf(child);
  return {
    child,
    said: () => fs.readFileSync(errorFile, 'utf8'),
    close: async () => {
      const closed = once(child.stdout, 'end');
      child.stdin.end('\n');
      await closed;
    },
    code: outcome.then(({ code }) => code),
  };
}

/** A job that prints `one`, then, when its file is there, `two`, and exits with 7. */
async function jobInTwoParts(t: TestContext) {
  const cli = new CommandLine(t);
  await cli.run(['daemon', 'start']);
  const gate = `${cli.daemon.dir}/gate`;
  const line = `echo one; until [ -e ${gate} ]; do sleep 0.02; done; echo two; exit 7`;
  return { cli, line, goOn: () => fs.writeFileSync(gate, '') };
}

const goesOn = 'corral: the terminal went away; job 1 goes on. Come back: corral attach 1\n';

test('run leaves the job alone when its terminal is closed, and attach comes back to it', {
  skip: needsPython,
}, async (t) => {
  const { cli, line, goOn } = await jobInTwoParts(t);
  const terminal = inTerminal(cli, 'session', ['run', '-c', line]);
  await once(terminal.child.stdout, 'data');
  await terminal.close();
  assert.equal(await terminal.code, 129);
  assert.equal(terminal.said(), goesOn);
  const attached = cli.spawn(['attach', '1']);
  const outcome = outcomeOf(attached);
  await once(attached.stdout ?? attached, 'data');
  goOn();
  assert.deepEqual(await outcome, { code: 7, stdout: 'one\ntwo\n', stderr: '' });
});

test('run that hears of the end of its terminal by a failed write alone leaves the job alone, too', {
  skip: needsPython,
}, async (t) => {
  const { cli, line, goOn } = await jobInTwoParts(t);
  const terminal = inTerminal(cli, 'stranger', ['run', '-c', line]);
  await once(terminal.child.stdout, 'data');
  await terminal.close();
  goOn();
  assert.equal(await terminal.code, 129);
  assert.equal(terminal.said(), goesOn);
  assert.equal((await cli.run(['attach', '-n', 'all', '1'])).code, 7);
});

test('attach detaches as run does, and can be attached again', { skip: needsPython }, async (t) => {
  const { cli, line, goOn } = await jobInTwoParts(t);
  await cli.run(['submit', '-c', line]);
  const terminal = inTerminal(cli, 'session', ['attach', '1']);
  await once(terminal.child.stdout, 'data');
  await terminal.close();
  assert.equal(await terminal.code, 129);
  assert.equal(terminal.said(), goesOn);
  goOn();
  assert.deepEqual(await cli.run(['attach', '-n', '1', '1']), { code: 7, stdout: 'two\n', stderr: '' });
});

test('control: an interruption still cancels the job, from run and from attach', async (t) => {
  const cli = new CommandLine(t);
  const token = sleepToken();
  for (const args of [
    ['run', '-c', `echo up; exec sleep ${token}`],
    ['attach', '2'],
  ]) {
    if (args[0] === 'attach') await cli.run(['submit', '-c', `echo up; exec sleep ${token}`]);
    const verb = cli.spawn(args);
    const outcome = outcomeOf(verb);
    await once(verb.stdout ?? verb, 'data');
    verb.kill('SIGINT');
    const { code, stderr } = await outcome;
    assert.equal(code, 130, args[0]);
    assert.match(stderr, /^corral: cancelling job \d; once more to kill it\n$/);
    assert.deepEqual(pidsWith(token), [], args[0]);
  }
});

test('attach shows the last ten lines, or as many as it is told, of both streams', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['run', '--split-output', '-c', 'seq 20; seq 101 112 >&2; exit 4']);
  const lines = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, index) => `${from + index}\n`).join('');
  assert.deepEqual(await cli.run(['attach', '1']), { code: 4, stdout: lines(11, 20), stderr: lines(103, 112) });
  assert.deepEqual(await cli.run(['attach', '-n', '0', '1']), { code: 4, stdout: '', stderr: '' });
  assert.deepEqual(await cli.run(['attach', '-n', 'all', '1']), {
    code: 4,
    stdout: lines(1, 20),
    stderr: lines(101, 112),
  });
  assert.deepEqual(await cli.run(['attach', '2']), {
    code: 1,
    stdout: '',
    stderr: 'corral: There is no job 2. List the known ones: corral ls --all\n',
  });
});

test('a reader of attach that goes away costs the reader alone; one of run costs the job', async (t) => {
  const cli = new CommandLine(t);
  const noisy = 'while :; do echo line; sleep 0.01; done';
  const head = (verb: string) =>
    execFileSync('/bin/bash', ['-c', `${corral} ${verb} | head -n 1; echo \${PIPESTATUS[0]}`], {
      env: cli.daemon.env,
      cwd: cli.daemon.dir,
      encoding: 'utf8',
    });
  await cli.run(['submit', '-c', noisy]);
  assert.equal(head('attach -n all 1'), 'line\n141\n');
  assert.equal(JSON.parse((await cli.run(['show', '1', '--json'])).stdout).status, 'running');
  assert.equal(head(`run -c '${noisy}'`), 'line\n141\n');
  assert.equal(JSON.parse((await cli.run(['show', '2', '--json'])).stdout).status, 'cancelled');
});

test('run and attach say once why their job waits, and then nothing more', async (t) => {
  const { cli, line, goOn } = await jobInTwoParts(t);
  await cli.run(['group', 'set', 'default', '--parallel', '1']);
  await cli.run(['submit', '-c', line]);
  const run = cli.spawn(['run', '-c', 'echo three']);
  const outcomes = [outcomeOf(run)];
  await once(run.stderr ?? run, 'data');
  const attach = cli.spawn(['attach', '2']);
  outcomes.push(outcomeOf(attach));
  await once(attach.stderr ?? attach, 'data');
  goOn();
  const stderr = 'corral: job 2 is queued: the slot of group "default" is in use. See: corral show 2\n';
  for (const outcome of outcomes) assert.deepEqual(await outcome, { code: 0, stdout: 'three\n', stderr });
});

test('control: run says nothing of a job that runs, however long it shows nothing', async (t) => {
  const cli = new CommandLine(t);
  assert.deepEqual(await cli.run(['run', '--retries', '1', '-c', 'sleep 1.5']), { code: 0, stdout: '', stderr: '' });
});

test('run says of each retry when it will be', async (t) => {
  const cli = new CommandLine(t, { CORRAL_JOBS_RETRY_JITTER: '0' });
  const delays = ['--retry-delay', '4s', '--retry-max-delay', '4s'];
  const run = cli.spawn(['run', '--retries', '5', ...delays, '-c', 'echo try; exit 3']);
  const outcome = outcomeOf(run);
  for (const _ of ['after the first attempt', 'after the second']) await once(run.stderr ?? run, 'data');
  run.kill('SIGINT');
  const { code, stdout, stderr } = await outcome;
  assert.deepEqual([code, stdout], [130, 'try\ntry\n']);
  const [first, second, ...rest] = stderr.split('\n');
  assert.match(first ?? '', /^corral: job 1: attempt 1 failed \(exit 3\); the next is in [123]\.\ds$/);
  assert.match(second ?? '', /^corral: job 1: attempt 2 failed \(exit 3\); the next is in [1-4]\.\ds$/);
  assert.deepEqual(rest, ['corral: cancelling job 1; once more to kill it', '']);
});
