import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { ConfigWatch } from '../../src/daemon/config/watch.ts';
import { waitFor } from '../support/wait-for.ts';

function folder(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-watch-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Watches a file; `next` resolves when its content is that, as somebody who reads at each change has it. */
async function watched(t: TestContext, file: string) {
  const failures: string[] = [];
  let seen: string | null = null;
  let calls = 0;
  const look = () => {
    calls += 1;
    seen = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : null;
  };
  const watch = new ConfigWatch({ file, onChange: look, onFailure: (reason) => failures.push(reason) });
  t.after(() => watch.close());
  await watch.start();
  return {
    failures,
    calls: () => calls,
    next: (text: string | null) => waitFor(`it has seen ${text}`, () => seen === text && calls > 0),
  };
}

describe('a change of the file is seen', { concurrency: true }, () => {
  test('written, replaced, removed, made again', async (t) => {
    const dir = folder(t);
    const file = `${dir}/config.toml`;
    fs.writeFileSync(file, 'one');
    const { next } = await watched(t, file);
    await next('one');
    fs.writeFileSync(file, 'two');
    await next('two');
    fs.writeFileSync(`${dir}/new`, 'three');
    fs.renameSync(`${dir}/new`, file);
    await next('three');
    fs.writeFileSync(file, 'four');
    await next('four');
    fs.rmSync(file);
    await next(null);
    fs.writeFileSync(file, 'five');
    await next('five');
  });

  test('where neither it nor its folders were there', async (t) => {
    const dir = folder(t);
    const file = `${dir}/a/b/config.toml`;
    const { next } = await watched(t, file);
    await next(null);
    fs.mkdirSync(`${dir}/a/b`, { recursive: true });
    fs.writeFileSync(file, 'one');
    await next('one');
    fs.rmSync(`${dir}/a`, { recursive: true });
    await next(null);
    fs.mkdirSync(`${dir}/a/b`, { recursive: true });
    fs.writeFileSync(file, 'two');
    await next('two');
  });

  test('through links: the target is written, replaced, and any of the links made to point elsewhere', async (t) => {
    const dir = folder(t);
    for (const name of ['first', 'second', 'etc']) fs.mkdirSync(`${dir}/${name}`);
    fs.writeFileSync(`${dir}/first/x`, 'one');
    fs.writeFileSync(`${dir}/second/x`, 'other');
    // As a volume of Kubernetes has it: the file is a link into a folder that is a link itself.
    fs.symlinkSync('../first', `${dir}/etc/..data`);
    fs.symlinkSync('..data/x', `${dir}/etc/config.toml`);
    const { next } = await watched(t, `${dir}/etc/config.toml`);
    await next('one');
    fs.writeFileSync(`${dir}/first/x`, 'two');
    await next('two');
    fs.writeFileSync(`${dir}/first/y`, 'three');
    fs.renameSync(`${dir}/first/y`, `${dir}/first/x`);
    await next('three');
    swap('../second', `${dir}/etc/..data`);
    await next('other');
    fs.writeFileSync(`${dir}/second/x`, 'another');
    await next('another');
    swap('../first/x', `${dir}/etc/config.toml`);
    await next('three');
    fs.writeFileSync(`${dir}/first/x`, 'four');
    await next('four');
  });
});

function swap(target: string, link: string): void {
  fs.symlinkSync(target, `${link}.new`);
  fs.renameSync(`${link}.new`, link);
}

test('many changes in a row, and one in pieces, are looked at once they are over', async (t) => {
  const file = `${folder(t)}/config.toml`;
  fs.writeFileSync(file, '');
  const { next, calls } = await watched(t, file);
  await next('');
  const before = calls();
  for (let piece = 0; piece < 200; piece += 1) fs.appendFileSync(file, 'x');
  await next('x'.repeat(200));
  assert.ok(calls() - before <= 2, `${calls() - before} looks`);
});

test('what happens to other files of the folder is none of it', async (t) => {
  const dir = folder(t);
  const file = `${dir}/config.toml`;
  fs.writeFileSync(file, 'one');
  const { next, calls } = await watched(t, file);
  await next('one');
  const before = calls();
  for (let other = 0; other < 20; other += 1) fs.writeFileSync(`${dir}/other${other}`, 'x');
  fs.writeFileSync(file, 'two');
  await next('two');
  assert.ok(calls() - before <= 2, `${calls() - before} looks`);
});

test('where no watch can be had, that is said once', async (t) => {
  const real = fs.watch;
  fs.watch = (() => {
    throw Object.assign(new Error('ENOSPC: System limit for number of file watchers reached'), { code: 'ENOSPC' });
  }) as unknown as typeof fs.watch;
  syncBuiltinESMExports();
  t.after(() => {
    fs.watch = real;
    syncBuiltinESMExports();
  });
  const file = `${folder(t)}/config.toml`;
  fs.writeFileSync(file, 'one');
  const { failures } = await watched(t, file);
  await waitFor('it is said', () => failures.length > 0);
  fs.writeFileSync(file, 'two');
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(failures, ['ENOSPC: System limit for number of file watchers reached']);
});

test('a process that watches ends when it has nothing else to do', (t) => {
  const file = `${folder(t)}/config.toml`;
  const module = new URL('../../src/daemon/config/watch.ts', import.meta.url).href;
  const script = `
    import { ConfigWatch } from ${JSON.stringify(module)};
    const watch = new ConfigWatch({ file: ${JSON.stringify(file)}, onChange: () => {}, onFailure: () => {} });
    await watch.start();
    console.log('watches');`;
  const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.deepEqual([status, stdout], [0, 'watches\n']);
});
