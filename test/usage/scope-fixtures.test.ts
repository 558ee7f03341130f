/** Scopes around the tests of real runners: what the tests submit ends with them, however the runner ends. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CommandLine, corral, outcomeOf } from '../support/cli.ts';
import { documentedFixture } from '../support/documented-fixture.ts';
import { pidsWith, sleepToken } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

const repository = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const sleepers = (token: string) => pidsWith(`sleep\0${token}`);

/** The first in the PATH need not be Debian's, which is the one that has Debian's pytest. */
const pythonThatHas = (module: string) =>
  ['python3', '/usr/bin/python3'].find((python) => spawnSync(python, ['-c', `import ${module}`]).status === 0);
const python = pythonThatHas('json') ?? '';
const pythonWithPytest = pythonThatHas('pytest') ?? '';
const needsPython = python === '' && 'needs python3';
const needsPytest = pythonWithPytest === '' && 'needs pytest (apt-get install python3-pytest)';

/** A daemon, and a folder with files for a runner. */
async function project(t: TestContext, files: Record<string, string>) {
  const cli = new CommandLine(t);
  await cli.run(['daemon', 'start']);
  await cli.run(['group', 'set', 'default', '--parallel', '10']);
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(`${cli.daemon.dir}/${name}`, text);
  const run = (command: string, args: string[]): ChildProcess =>
    spawn(command, args, {
      cwd: cli.daemon.dir,
      // The socket is named: a runner under test must not start a daemon of its own.
      env: {
        ...cli.daemon.env,
        CORRAL_SOCKET: cli.daemon.socket,
        PATH: `${path.dirname(corral)}:${cli.daemon.env.PATH}`,
        PYTHONDONTWRITEBYTECODE: '1',
      },
      stdio: 'pipe',
    });
  const causes = async () =>
    (JSON.parse((await cli.run(['ls', '--all', '--json'])).stdout) as { cause: string | null }[]).map(
      ({ cause }) => cause,
    );
  return { cli, run, causes };
}

/** Two tests: one submits by the library, one by a program; the second fails. */
const nodeTests = (token: string) => `
  import assert from 'node:assert/strict';
  import { execFileSync } from 'node:child_process';
  ${documentedFixture('node:test', repository('src/client/index.ts'))}
  test('by the library', async () => {
    await corral.scope.submit({ command: ['sleep', '${token}'] });
  });
  test('by a program', () => {
    execFileSync('corral', ['submit', '--', 'sleep', '${token}']);
    assert.fail('a test that fails');
  });
  test('by the client, which takes the scope from the environment', async () => {
    await corral.client.submit({ command: ['sleep', '${token}'] });
    if (process.env.HANG === '1') await new Promise((resolve) => setTimeout(resolve, 60_000));
  });
`;

test('node:test: jobs end after the last test, also where one fails', async (t) => {
  const token = sleepToken();
  const { run, causes } = await project(t, { 'jobs.test.ts': nodeTests(token) });
  const args = ['--disable-warning=ExperimentalWarning', '--test', '--test-reporter=spec', 'jobs.test.ts'];
  const { code, stdout } = await outcomeOf(run(process.execPath, args));
  assert.equal(code, 1);
  assert.match(stdout, /pass 2\n.*fail 1/);
  assert.deepEqual(sleepers(token), []);
  assert.deepEqual(await causes(), ['scope', 'scope', 'scope']);
});

test('node:test: jobs end when the process of the tests is killed with SIGKILL', async (t) => {
  const token = sleepToken();
  const { run } = await project(t, { 'jobs.test.ts': `process.env.HANG = '1';${nodeTests(token)}` });
  // Without the runner: the file is a program of its own.
  const tests = run(process.execPath, ['--disable-warning=ExperimentalWarning', 'jobs.test.ts']);
  await waitFor('the jobs run', () => sleepers(token).length === 3, 30_000);
  tests.kill('SIGKILL');
  await waitFor('they have ended', () => sleepers(token).length === 0);
});

const pythonTests = (token: string) => `
import subprocess, time
def test_one(corral_scope):
    subprocess.run(['corral', 'submit', '--', 'sleep', '${token}'], check=True)
def test_two(corral_scope):
    subprocess.run(['corral', 'submit', '--', 'sleep', '${token}'], check=True)
    if __import__('os').path.exists('hang'): time.sleep(60)
    assert corral_scope.report is None
    assert False, 'a test that fails'
`;

const example = (name: string) => fs.readFileSync(repository(`docs/examples/${name}`), 'utf8');

const pytestProject = (token: string) => ({
  'corral_scope.py': example('corral_scope.py'),
  'conftest.py': example('conftest.py'),
  'test_jobs.py': pythonTests(token),
});

const pytest = ['-m', 'pytest', '-q', '-p', 'no:cacheprovider'];

test('pytest: jobs end with the session, also where a test fails', { skip: needsPytest }, async (t) => {
  const token = sleepToken();
  const { run, causes } = await project(t, pytestProject(token));
  const { code, stdout, stderr } = await outcomeOf(run(pythonWithPytest, pytest));
  assert.equal(code, 1, stderr);
  assert.match(stdout, /1 failed, 1 passed/);
  assert.deepEqual(sleepers(token), []);
  assert.deepEqual(await causes(), ['scope', 'scope']);
});

test('pytest: jobs end when it is killed with SIGKILL', { skip: needsPytest }, async (t) => {
  const token = sleepToken();
  const { run } = await project(t, { ...pytestProject(token), hang: '' });
  const runner = run(pythonWithPytest, pytest);
  await waitFor('the jobs run', () => sleepers(token).length === 2, 30_000);
  runner.kill('SIGKILL');
  await waitFor('they have ended', () => sleepers(token).length === 0);
});

test('corral_scope.py, without pytest: the environment is as before, and the report says what it ended', {
  skip: needsPython,
}, async (t) => {
  const token = sleepToken();
  const script = `
import os, subprocess, sys
from corral_scope import CorralScope, ScopeError
before = dict(os.environ)
with CorralScope(name='plain') as scope:
    assert os.environ['CORRAL_SCOPE'] == scope.id and len(scope.id) == 32
    subprocess.run(['corral', 'submit', '--', 'sleep', '${token}'], check=True)
assert dict(os.environ) == before
print(scope.report['name'], scope.report['status'], scope.report['cleaned'], scope.report['processesLeft'])
os.environ['CORRAL_SOCKET'] = '/nonexistent/socket'
try:
    with CorralScope(): pass
except ScopeError as error:
    print(error)
`;
  const { run } = await project(t, { 'corral_scope.py': example('corral_scope.py'), 'plain.py': script });
  const { code, stdout, stderr } = await outcomeOf(run(python, ['plain.py']));
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^1\nplain closed 1 0\ncorral: No corral daemon answers on \/nonexistent\/socket/);
  assert.deepEqual(sleepers(token), []);
});
