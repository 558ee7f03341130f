import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { checkFolder, describeSpawnFailure, findProgram, SpawnError } from '../../src/daemon/process/program.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-program-'));
after(() => fs.rmSync(dir, { recursive: true, force: true }));

const isRoot = process.getuid?.() === 0;

function file(name: string, mode = 0o755): void {
  fs.mkdirSync(path.dirname(`${dir}/${name}`), { recursive: true });
  fs.writeFileSync(`${dir}/${name}`, '#!/bin/sh\n', { mode });
}

file('first/tool');
file('second/tool');
file('second/only');
file('denied/tool', 0o644);
file('denied/plain', 0o644);
file('cwd/local');
file('cwd/bin/nested');
fs.mkdirSync(`${dir}/folders/tool`, { recursive: true });
fs.symlinkSync('tool', `${dir}/first/link`);
fs.symlinkSync('nowhere', `${dir}/first/dangling`);
fs.symlinkSync('loop', `${dir}/first/loop`);

interface Case {
  readonly name: string;
  readonly program: string;
  /** Absent: no PATH at all. */
  readonly searchPath?: string;
}

const found: (Case & { at: string })[] = [
  { name: 'the first folder of PATH wins', program: 'tool', searchPath: 'DIR/first:DIR/second', at: 'DIR/first/tool' },
  { name: 'the next folder is looked in', program: 'only', searchPath: 'DIR/first:DIR/second', at: 'DIR/second/only' },
  {
    name: 'folders that do not exist are passed over',
    program: 'tool',
    searchPath: 'DIR/no:DIR/second',
    at: 'DIR/second/tool',
  },
  {
    name: 'a file in the place of a folder is passed over',
    program: 'tool',
    searchPath: 'DIR/first/tool:DIR/second',
    at: 'DIR/second/tool',
  },
  {
    name: 'what is not executable is passed over',
    program: 'tool',
    searchPath: 'DIR/denied:DIR/second',
    at: 'DIR/second/tool',
  },
  {
    name: 'a folder of that name is passed over',
    program: 'tool',
    searchPath: 'DIR/folders:DIR/second',
    at: 'DIR/second/tool',
  },
  { name: 'a link is followed', program: 'link', searchPath: 'DIR/first', at: 'DIR/first/link' },
  {
    name: 'a relative folder of PATH is below the cwd of the job',
    program: 'nested',
    searchPath: 'bin',
    at: 'DIR/cwd/bin/nested',
  },
  {
    name: 'an empty folder of PATH is the cwd of the job',
    program: 'local',
    searchPath: 'DIR/first::DIR/second',
    at: 'DIR/cwd/local',
  },
  { name: 'an empty PATH is the cwd of the job', program: 'local', searchPath: '', at: 'DIR/cwd/local' },
  { name: 'without PATH the usual folders are searched', program: 'sh', at: '/bin/sh' },
  {
    name: 'a name with a slash is not searched for',
    program: 'bin/nested',
    searchPath: 'DIR/first',
    at: 'DIR/cwd/bin/nested',
  },
  { name: 'so is one that begins with a dot', program: './local', searchPath: '', at: 'DIR/cwd/./local' },
  { name: 'an absolute one is taken as it is', program: 'DIR/denied/../first/tool', at: 'DIR/denied/../first/tool' },
];

const notFound: (Case & { code: 126 | 127; says: string })[] = [
  { name: 'a name that is in no folder', program: 'nope', searchPath: 'DIR/first', code: 127, says: 'PATH=DIR/first' },
  { name: 'a path that does not exist', program: './nope', searchPath: '', code: 127, says: './nope: no such file' },
  { name: 'a path below a file', program: 'DIR/first/tool/x', code: 127, says: 'no such file' },
  { name: 'a dangling link', program: 'DIR/first/dangling', code: 127, says: 'no such file' },
  { name: 'a loop of links', program: 'DIR/first/loop', code: 126, says: 'ELOOP' },
  {
    name: 'a name that is too long',
    program: 'x'.repeat(300),
    searchPath: 'DIR/first',
    code: 126,
    says: 'ENAMETOOLONG',
  },
  { name: 'a path that is not executable', program: 'DIR/denied/tool', code: 126, says: 'chmod +x' },
  {
    name: 'a name that is nowhere executable',
    program: 'plain',
    searchPath: 'DIR/denied:DIR/first',
    code: 126,
    says: 'DIR/denied/plain: not executable',
  },
  { name: 'a folder', program: 'DIR/first', code: 126, says: 'is a folder' },
  { name: 'a name that is only a folder', program: 'tool', searchPath: 'DIR/folders', code: 126, says: 'is a folder' },
];

const here = (text: string) => text.replaceAll('DIR', dir);

function find({ program, searchPath }: Case): string {
  return findProgram(here(program), searchPath === undefined ? {} : { PATH: here(searchPath) }, `${dir}/cwd`);
}

describe('a program is found as execvp(3) does', () => {
  for (const one of found) {
    test(one.name, () => {
      const at = find(one);
      if (one.at === '/bin/sh') assert.equal(fs.realpathSync(at), fs.realpathSync('/bin/sh'));
      else assert.equal(at, here(one.at));
    });
  }

  test("the daemon's own PATH is not searched", () => {
    const before = process.env.PATH;
    process.env.PATH = `${dir}/second`;
    try {
      assert.throws(() => find({ name: '', program: 'only', searchPath: `${dir}/first` }), SpawnError);
    } finally {
      process.env.PATH = before;
    }
  });
});

function assertSpawnError(error: unknown, code: number, says: string): true {
  assert.ok(error instanceof SpawnError);
  assert.deepEqual(error.exit, { code, signal: null });
  assert.ok(error.message.includes(here(says)), error.message);
  return true;
}

describe('a program that is not found is explained, with the exit code of a shell', () => {
  for (const one of notFound)
    test(one.name, () =>
      assert.throws(
        () => find(one),
        (error) => assertSpawnError(error, one.code, one.says),
      ),
    );

  test('a folder that may not be entered', { skip: isRoot ? 'root may enter every folder' : false }, () => {
    file('closed/tool');
    fs.chmodSync(`${dir}/closed`, 0o000);
    try {
      assert.throws(
        () => find({ name: '', program: 'tool', searchPath: 'DIR/closed' }),
        (error) => assertSpawnError(error, 126, 'permission denied'),
      );
    } finally {
      fs.chmodSync(`${dir}/closed`, 0o700);
    }
  });
});

describe('the folder to start in', () => {
  test('a folder will do, and a link to one', () => {
    fs.symlinkSync('cwd', `${dir}/cwd-link`);
    checkFolder(`${dir}/cwd`);
    checkFolder(`${dir}/cwd-link`);
  });
  const refused: [folder: string, says: string][] = [
    ['DIR/gone', 'no such folder (any more)'],
    ['DIR/first/tool', 'it is not a folder'],
    ['DIR/first/tool/x', 'no such folder (any more)'],
  ];
  for (const [folder, says] of refused) {
    test(`${folder} will not`, () =>
      assert.throws(
        () => checkFolder(here(folder)),
        (error) => assertSpawnError(error, 126, says),
      ));
  }
});

describe('a folder without permission', { skip: isRoot ? 'root may enter every folder' : false }, () => {
  test('will not do', () => {
    fs.mkdirSync(`${dir}/closed-cwd`, { mode: 0o600 });
    assert.throws(
      () => checkFolder(`${dir}/closed-cwd`),
      (error) => assertSpawnError(error, 126, 'permission denied'),
    );
  });
});

test('programs and folders are found by bytes that are not UTF-8, and shown as such', () => {
  const folder = Buffer.concat([Buffer.from(`${dir}/caf`), Buffer.from([0xe9])]);
  fs.mkdirSync(folder);
  fs.writeFileSync(Buffer.concat([folder, Buffer.from('/t\xff', 'latin1')]), '', { mode: 0o755 });
  const [cwd, name] = [`${dir}/caf\udce9`, 't\udcff'];
  checkFolder(cwd);
  assert.equal(findProgram(`./${name}`, {}, cwd), `${cwd}/./${name}`);
  assert.equal(findProgram(name, { PATH: `/nope:${cwd}` }, '/'), `${cwd}/${name}`);
  assert.throws(
    () => findProgram(name, { PATH: dir }, cwd),
    (error) => assertSpawnError(error, 127, 't\\xff: command not found'),
  );
  assert.throws(
    () => checkFolder(`${cwd}\udcff`),
    (error) => assertSpawnError(error, 126, 'caf\\xe9\\xff: there is no such folder'),
  );
});

describe('an exec that the kernel refused is explained', () => {
  const tool = { file: '/opt/tool', argv: ['tool'], env: {} };
  const large = 'x'.repeat(128 * 1024);
  const tooLarge: [about: string, change: object, says: string][] = [
    ['an argument', { argv: ['tool', '-x', large] }, 'argument 2 has 131072 bytes and the kernel takes 131071'],
    ['an argument of several bytes a character', { argv: ['tool', 'ü'.repeat(65_536)] }, 'argument 1 has 131072 bytes'],
    ['a variable', { env: { A: 'a', BIG: large } }, 'the variable BIG has 131076 bytes with its name'],
    ['many arguments', { argv: Array(9).fill('x'.repeat(9)), env: { A: '' } }, '(81 bytes) and 1 variables (2 bytes)'],
    ['many arguments, what to do', { argv: ['x'] }, 'pass arguments in a file'],
    ['many variables, what to do', { env: { A: 'aaaaaaaa' } }, 'smaller environment'],
  ];
  for (const [about, change, says] of tooLarge) {
    test(`E2BIG: ${about}`, () => {
      const error = Object.assign(new Error('failed'), { code: 'E2BIG' });
      const explained = describeSpawnFailure({ ...tool, ...change }, error);
      assertSpawnError(explained, 126, says);
      assertSpawnError(explained, 126, 'E2BIG');
    });
  }
  const refused: [code: string, exit: 126 | 127, says: string][] = [
    ['ENOENT', 127, 'interpreter'],
    ['EACCES', 126, 'permission denied'],
    ['EPERM', 126, 'permission denied'],
    ['ENOEXEC', 126, 'not a program for this machine'],
    ['E2BIG', 126, 'E2BIG'],
    ['EAGAIN', 126, 'EAGAIN'],
    ['ENOMEM', 126, 'ENOMEM'],
    ['ETXTBSY', 126, 'text file busy'],
  ];
  for (const [code, exit, says] of refused) {
    test(code, () => {
      const error = Object.assign(new Error(code === 'ETXTBSY' ? 'text file busy' : 'failed'), { code });
      const explained = describeSpawnFailure(tool, error);
      assertSpawnError(explained, exit, says);
      assert.ok(explained.message.startsWith('/opt/tool: '));
    });
  }

  test('what is no error is thrown on', () => {
    assert.throws(
      () => describeSpawnFailure(tool, 'what'),
      (thrown) => thrown === 'what',
    );
  });
});
