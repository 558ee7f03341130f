import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CommandLine } from '../support/cli.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readme = fs.readFileSync(`${root}/README.md`, 'utf8');

test('the tour in the README prints what it says', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['daemon', 'start']);
  await cli.run(['group', 'set', 'default', '--parallel', '2']);
  const tour = /```console\n(.*?)```/s.exec(readme)?.[1] ?? '';
  const steps = tour.split(/^\$ /m).slice(1);
  assert.equal(steps.length, 5);
  for (const step of steps) {
    const [command = '', ...expected] = step.trimEnd().split('\n');
    const shell = command.replaceAll('npx corral', `${root}/bin/corral`);
    const { stdout } = await promisify(execFile)('/bin/sh', ['-c', shell], {
      env: cli.daemon.env,
      cwd: cli.daemon.dir,
    });
    assert.deepEqual(withoutTimes(stdout.trimEnd()), withoutTimes(expected.join('\n')), command);
  }
});

test('the example of the library in the README runs', async (t) => {
  const cli = new CommandLine(t);
  const example = /```ts\n(.*?)```/s.exec(readme)?.[1] ?? '';
  const file = `${root}/test/integration/.readme-example.${process.pid}.ts`;
  t.after(() => fs.rmSync(file, { force: true }));
  fs.writeFileSync(
    file,
    example.replace("'corral'", "'../../src/client/index.ts'").replace("['make', 'test']", "['echo', 'made']"),
  );
  const { stdout } = await promisify(execFile)(process.execPath, ['--disable-warning=ExperimentalWarning', file], {
    env: cli.daemon.env,
  });
  assert.equal(stdout, 'made\n');
});

test('the two commands of the README are the ones that CI runs', () => {
  const ci = fs.readFileSync(`${root}/.ci/run`, 'utf8');
  for (const command of ['npm ci', "npx corral run -- sh -c 'echo hello from $CORRAL_JOB_ID'", 'npm test']) {
    assert.ok(readme.includes(command), command);
    assert.ok(ci.includes(command), command);
  }
});

/** Times differ from run to run, and the width of their column with them. */
function withoutTimes(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.split(/\s{2,}/).map((cell) => (/^\d+(\.\d+)?m?s$/.test(cell) ? 'TIME' : cell)));
}
