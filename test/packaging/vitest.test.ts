/** The scope that docs/policies.md gives to tests, in vitest, which transforms the tests and loads the library from the package. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { outcomeOf } from '../support/cli.ts';
import { documentedFixture } from '../support/documented-fixture.ts';
import { isAlive, pidsWith, sleepToken } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';
import { Installation, pack, self, start, Usage } from './installed.ts';

/** Exact, and so is what it needs: npm takes the versions that there were on that day, whatever is published later. */
const vitest = ['vitest@5.1.0', '--before=2026-11-10'];

/** A registry that cannot be reached is soon known. */
const impatient = ['--fetch-retries=1', '--fetch-retry-mintimeout=1000', '--fetch-timeout=10000'];

/** How npm says that it got no answer. */
const noAnswer =
  /npm error code (ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTCACHED|ERR_SOCKET_TIMEOUT)/;

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'corral vitest '));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));
const nodeDir = path.dirname(process.execPath);
const installation = new Installation(`${scratch}/project`, self, '022');
let whyNoVitest = '';

before(async () => {
  await installation.install(await pack(scratch), nodeDir);
  const { code, stderr } = await installation.npmInstall([...vitest, ...impatient], nodeDir);
  const silent = noAnswer.exec(stderr)?.[1];
  if (silent !== undefined) whyNoVitest = `vitest cannot be had: the registry does not answer (${silent})`;
  else assert.equal(code, 0, stderr);
});

function testWithVitest(name: string, body: (t: TestContext) => Promise<void>): void {
  test(name, (t) => (whyNoVitest === '' ? body(t) : t.skip(whyNoVitest)));
}

const sleepers = (token: string) => pidsWith(`sleep\0${token}`);

/** Two tests: one submits by the library, one by a program; the second fails, or hangs. */
const testsAfter = (beginning: string, token: string) => `
${beginning}
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { scopeFixture as loaded } from 'corral';

test('by the library', async () => {
  fs.writeFileSync('seen.json', JSON.stringify({ pid: process.pid, library: String(loaded) }));
  const command: string[] = ['sleep', '${token}'];
  await corral.scope.submit({ command });
});
test('by a program', { timeout: 60_000 }, async () => {
  execFileSync('corral', ['submit', '--', 'sleep', '${token}']);
  if (fs.existsSync('hang')) await new Promise(() => {});
  throw new Error('a test that fails');
});
`;

const withFixture = (token: string) => testsAfter(documentedFixture('vitest'), token);

/** The control: the same tests without a scope. */
const withoutFixture = (token: string) =>
  testsAfter(
    "import { test } from 'vitest';\nimport { connect } from 'corral';\nconst corral = { scope: await connect() };",
    token,
  );

/** Has Vite transform the library, too. */
const inlined = "export default { test: { server: { deps: { inline: ['corral'] } } } };";

/** A daemon, and a folder below the installation with files for vitest. */
async function project(t: TestContext, files: Record<string, string>) {
  const usage = new Usage(t, installation, self, nodeDir);
  assert.equal((await usage.corral('daemon', 'start')).code, 0);
  assert.equal((await usage.corral('group', 'set', 'default', '--parallel', '10')).code, 0);
  const dir = fs.mkdtempSync(`${installation.dir}/tests-`);
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(`${dir}/${name}`, text);
  const read = (name: string) => JSON.parse(fs.readFileSync(`${dir}/${name}`, 'utf8'));
  const bins = path.dirname(installation.bin('corral'));
  // The socket is named: a runner under test must not start a daemon of its own.
  const env = { ...usage.options.env, CORRAL_SOCKET: usage.daemon.socket, PATH: `${bins}:${usage.options.env.PATH}` };
  return {
    stopDaemon: () => usage.corral('daemon', 'stop'),
    vitest: (pool: string): ChildProcess => {
      const args = ['run', `--pool=${pool}`, '--reporter=json', '--outputFile=report.json'];
      return start(installation.bin('vitest'), args, { cwd: dir, env });
    },
    /** How many tests passed and failed, as vitest says. */
    report: (): { passed: number; failed: number } => {
      const { numPassedTests: passed, numFailedTests: failed } = read('report.json');
      return { passed, failed };
    },
    /** The process that the tests ran in, and the source of the library as it was loaded. */
    seen: (): { pid: number; library: string } => read('seen.json'),
    causes: async (): Promise<(string | null)[]> =>
      JSON.parse((await usage.corral('ls', '--all', '--json')).stdout).map(
        ({ cause }: { cause: string | null }) => cause,
      ),
  };
}

describe('jobs end after the last test, also where one fails', () => {
  const cases = [
    { pool: 'forks', library: 'as it is in the package', files: {} },
    { pool: 'threads', library: 'as it is in the package', files: {} },
    { pool: 'forks', library: 'transformed', files: { 'vitest.config.js': inlined } },
  ];
  for (const { pool, library, files } of cases) {
    testWithVitest(`pool ${pool}, the library ${library}`, async (t) => {
      const token = sleepToken();
      const { vitest, report, seen, causes } = await project(t, { 'jobs.test.ts': withFixture(token), ...files });
      const { code, stderr } = await outcomeOf(vitest(pool));
      assert.equal(code, 1, stderr);
      assert.deepEqual(report(), { passed: 1, failed: 1 });
      assert.deepEqual(sleepers(token), []);
      assert.deepEqual(await causes(), ['scope', 'scope']);
      const packed = fs.readFileSync(`${installation.package}/dist/client/index.js`, 'utf8');
      assert.equal(packed.includes(seen().library), library !== 'transformed');
    });
  }
});

describe('jobs end when a process of vitest is killed with SIGKILL', () => {
  const cases = [
    { pool: 'forks', killed: 'worker' },
    { pool: 'forks', killed: 'runner' },
    { pool: 'threads', killed: 'runner' },
  ];
  for (const { pool, killed } of cases) {
    testWithVitest(`pool ${pool}: the ${killed}`, async (t) => {
      const token = sleepToken();
      const { vitest, seen } = await project(t, { 'jobs.test.ts': withFixture(token), hang: '' });
      const runner = vitest(pool);
      const ended = outcomeOf(runner);
      await waitFor('the jobs run', () => sleepers(token).length === 2, 60_000);
      const { pid: worker } = seen();
      assert.equal(worker === runner.pid, pool === 'threads', 'threads are of the runner, forks are not');
      // The worker holds the connection. It ends with its runner, because vitest sees to that.
      process.kill(killed === 'worker' ? worker : Number(runner.pid), 'SIGKILL');
      await waitFor('they have ended', () => sleepers(token).length === 0);
      await waitFor('the worker has ended', () => !isAlive(worker));
      await ended;
    });
  }
});

testWithVitest('without the fixture the jobs run on, until the daemon is stopped', async (t) => {
  const token = sleepToken();
  const { vitest, report, causes, stopDaemon } = await project(t, { 'jobs.test.ts': withoutFixture(token) });
  assert.equal((await outcomeOf(vitest('forks'))).code, 1);
  assert.deepEqual(report(), { passed: 1, failed: 1 });
  assert.equal(sleepers(token).length, 2);
  assert.deepEqual(await causes(), [null, null]);
  await stopDaemon();
  assert.deepEqual(sleepers(token), []);
});
