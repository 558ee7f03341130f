import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { becomeSubreaper, ChildReaper, childrenOf, isAlive, readStat } from '../../src/daemon/linux/index.ts';
import { ExecaLauncher } from '../../src/daemon/process/execa-launcher.ts';
import type { Launcher, LaunchSpec, Leader, LeaderEnd } from '../../src/daemon/process/launcher.ts';
import { PosixLauncher } from '../../src/daemon/process/posix-launcher.ts';
import { bytesFromText, textFromBytes } from '../../src/protocol/index.ts';

const dir = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), 'corral-launcher-'));
const reaper = new ChildReaper();
/** SIGCHLD alone does not keep Node awake; in the daemon the socket does. */
const awake = setInterval(() => {}, 60_000);

before(() => {
  becomeSubreaper();
  reaper.start();
});

/** Also after a test that failed: every process that it started is a child of this one, or becomes one. */
afterEach(async () => {
  for (let round = 0; childrenOf('self').length > 0 && round < 100; round += 1) {
    for (const pid of childrenOf('self')) process.kill(pid, 'SIGKILL');
    await delay(10);
  }
});

after(() => {
  reaper.stop();
  clearInterval(awake);
  fs.rmSync(dir, { recursive: true, force: true });
});

/** The end of an orphan gives no event to a test, only SIGCHLD to the reaper. */
async function noChildren(): Promise<void> {
  for (let round = 0; childrenOf('self').length > 0; round += 1) {
    assert.ok(round < 200, `children are left: ${JSON.stringify(childrenOf('self').map(readStat))}`);
    await delay(10);
  }
}

function openFds(): string[] {
  return fs.readdirSync('/proc/self/fd');
}

/** Descriptors that whoever started the tests left open, for its children and theirs. proc_pid_fdinfo(5) */
const inheritable = openFds().filter((fd) => {
  const info = Number(fd) > 2 && fs.existsSync(`/proc/self/fdinfo/${fd}`) && fs.readFileSync(`/proc/self/fdinfo/${fd}`);
  const flags = /^flags:\s*(\d+)/m.exec(String(info))?.[1];
  return flags !== undefined && (Number.parseInt(flags, 8) & 0o2000000) === 0;
});

function stateOf(field: string, status: string): string | undefined {
  return new RegExp(`^${field}:\\s*(\\S+)`, 'm').exec(status)?.[1];
}

const outside = <T>(spawn: () => T): T => spawn();

type Wish = Partial<Omit<LaunchSpec, 'stdio'>> & { readonly input?: string };

/** What every launcher does. */
function launcherContract(launcher: Launcher): void {
  let files = 0;

  async function launch(wish: Wish, inside = outside): Promise<{ leader: Leader; output: string }> {
    files += 1;
    const output = `${dir}/${launcher.name}.${files}.log`;
    const stdin = fs.openSync(wish.input ?? '/dev/null', 'r');
    const both = fs.openSync(output, 'a', 0o600);
    try {
      const spec: LaunchSpec = {
        file: '/bin/sh',
        argv: ['sh'],
        env: {},
        cwd: '/',
        ...wish,
        stdio: [stdin, both, both],
      };
      return { leader: await launcher.launch(spec, inside), output };
    } finally {
      fs.closeSync(stdin);
      fs.closeSync(both);
    }
  }

  async function run(wish: Wish, inside = outside): Promise<LeaderEnd & { pid: number; text: string }> {
    const { leader, output } = await launch(wish, inside);
    const end = await leader.ended;
    return { ...end, pid: leader.pid, text: fs.readFileSync(output, 'utf8') };
  }

  const sh = (script: string, ...args: string[]) => ({ argv: ['sh', '-c', script, 'sh', ...args] });
  const PATH = process.env.PATH ?? '/usr/bin:/bin';

  describe(launcher.name, () => {
    const exits: { name: string; script: string; exit: LeaderEnd['exit'] }[] = [
      { name: 'success', script: 'exit 0', exit: { code: 0, signal: null } },
      { name: 'a code', script: 'exit 7', exit: { code: 7, signal: null } },
      { name: 'the largest code', script: 'exit 255', exit: { code: 255, signal: null } },
      { name: 'SIGKILL', script: 'kill -KILL $$', exit: { code: null, signal: 'SIGKILL' } },
      { name: 'SIGTERM', script: 'kill -TERM $$', exit: { code: null, signal: 'SIGTERM' } },
      { name: 'SIGABRT, as abort(3) sends it', script: 'kill -ABRT $$', exit: { code: null, signal: 'SIGABRT' } },
      { name: 'SIGSEGV', script: 'kill -SEGV $$', exit: { code: null, signal: 'SIGSEGV' } },
      { name: 'SIGPIPE', script: 'kill -PIPE $$', exit: { code: null, signal: 'SIGPIPE' } },
      { name: 'SIGIO', script: 'kill -29 $$', exit: { code: null, signal: 'SIGIO' } },
      {
        name: 'a signal that the leader survived',
        script: 'trap "" TERM; kill -TERM $$; exit 3',
        exit: { code: 3, signal: null },
      },
    ];
    for (const { name, script, exit } of exits) {
      // No file for the core: what these signals leave behind is not what is tested.
      test(`it reports ${name}`, async () => assert.deepEqual((await run(sh(`ulimit -c 0; ${script}`))).exit, exit));
    }

    test('a real-time signal is reported as a signal, never as success', async () => {
      const { exit } = await run(sh('kill -40 $$'));
      if (launcher.name === 'execa') return assert.equal(exit.code, 0, 'the hole of Node that execa has as well');
      assert.equal(exit.code, null);
      assert.ok(exit.signal !== null && exit.signal !== '');
    });

    test('the leader gets its arguments as they are, the name first', async () => {
      const args = ['', ' ', 'a b', '$HOME', '*', '"\'\\', '\n', 'ü🐎', '--', '-x'];
      const { text } = await run({ env: { PATH }, argv: ['a name of its own', '-c', 'cat /proc/$$/cmdline', ...args] });
      assert.deepEqual(text.split('\0').slice(0, -1), ['a name of its own', '-c', 'cat /proc/$$/cmdline', ...args]);
    });

    test('bytes that are not UTF-8 are passed on as they are, or the launcher says that it cannot', async () => {
      const byte = (code: number) => textFromBytes(Uint8Array.of(code));
      const all = textFromBytes(Uint8Array.from({ length: 255 }, (_, index) => index + 1));
      const cwd = `${dir}/${launcher.name}-${byte(0xe9)}`;
      const file = `${cwd}/cat${byte(0xff)}`;
      fs.mkdirSync(bytesFromText(cwd));
      fs.copyFileSync('/bin/cat', bytesFromText(file));
      const env = { [`N${byte(0xfe)}`]: `v${byte(0x80)}`, ALL: all, PATH };
      const argv = [`cat${byte(0xff)}`, '/proc/self/cmdline', '/proc/self/environ', '/proc/self/nope'];
      if (launcher.name === 'execa') {
        for (const wish of [{ cwd }, { env }, { file }, { argv }])
          await assert.rejects(launch(wish), /SpawnError: .*bytes that are not UTF-8.*use posix_spawn/);
        return;
      }
      const { leader, output } = await launch({ file, argv, env, cwd });
      await leader.ended;
      const expected = [...argv, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)];
      const printed = Buffer.concat(expected.map((text) => Buffer.concat([bytesFromText(text), Buffer.alloc(1)])));
      assert.deepEqual(fs.readFileSync(output).subarray(0, printed.length), printed);
    });

    test('it starts in its folder', async () => {
      const cwd = `${dir}/a folder ${launcher.name}`;
      fs.mkdirSync(cwd);
      assert.equal((await run({ ...sh('pwd -P'), cwd })).text, `${cwd}\n`);
    });

    test('it reads the file that it was given as its input', async () => {
      const input = `${dir}/${launcher.name}.input`;
      fs.writeFileSync(input, 'a line\n');
      assert.equal((await run({ ...sh('read -r line; echo "[$line]"'), input })).text, '[a line]\n');
    });

    test('it has the environment that it was given, and nothing of its parent', async (t) => {
      process.env.CORRAL_LEAK = 'leaked';
      t.after(() => delete process.env.CORRAL_LEAK);
      const env = {
        PATH,
        EMPTY: '',
        'a.b': ' x ',
        LINES_: 'one\ntwo',
        Ä: 'ü🐎',
        EQUALS: '=a=b=',
        LONG: 'x'.repeat(500),
      };
      const { text } = await run({ ...sh('cat /proc/$$/environ'), env });
      const entries = Object.entries(env).map(([name, value]) => `${name}=${value}`);
      assert.deepEqual(text.split('\0').slice(0, -1).sort(), entries.sort());
    });

    test('without any variable it has none', async () => {
      const { text } = await run({ ...sh('/bin/cat /proc/$$/environ'), env: {} });
      assert.equal(text, '');
    });

    test('it leads a session and a group of its own', async () => {
      const { leader, output } = await launch({ ...sh('cat /proc/$$/stat'), env: { PATH } });
      await leader.ended;
      const fields = fs.readFileSync(output, 'utf8').split(') ')[1]?.split(' ').map(Number) ?? [];
      assert.deepEqual({ pgrp: fields[2], session: fields[3] }, { pgrp: leader.pid, session: leader.pid });
    });

    test('no signal is ignored or blocked, though Node ignores SIGPIPE', async () => {
      const own = fs.readFileSync('/proc/self/status', 'utf8');
      assert.ok(BigInt(`0x${stateOf('SigIgn', own)}`) & (1n << 12n), 'control: this process ignores SIGPIPE');
      const { text } = await run({ file: fs.realpathSync('/bin/cat'), argv: ['cat', '/proc/self/status'] });
      assert.deepEqual(
        ['SigIgn', 'SigBlk', 'SigCgt'].map((field) => BigInt(`0x${stateOf(field, text)}`)),
        [0n, 0n, 0n],
      );
    });

    test('both streams go to the file, in the order in which they were written', async () => {
      const { text } = await run(sh('for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done'));
      assert.equal(text, [1, 2, 3, 4, 5].map((number) => `out ${number}\nerr ${number}\n`).join(''));
    });

    test('it inherits its three descriptors, and no other', async () => {
      const files = [fs.openSync('/dev/null', 'r'), fs.openSync(`${dir}/held`, 'w')];
      const server = net.createServer().listen(`${dir}/${launcher.name}.sock`);
      await once(server, 'listening');
      try {
        const { text } = await run({ ...sh('ls /proc/$$/fd; :'), env: { PATH } });
        assert.deepEqual(text.trim().split('\n').sort(), ['0', '1', '2', ...inheritable].sort());
        const control = await run({ ...sh('exec 9</dev/null; ls /proc/$$/fd; :'), env: { PATH } });
        assert.ok(control.text.split('\n').includes('9'), 'control: one more is seen');
      } finally {
        server.close();
        for (const fd of files) fs.closeSync(fd);
      }
    });

    test('it is born inside: the spawn is over when `inside` is left, and nothing is spawned outside', async () => {
      let born: number[] = [];
      const start = new Set(childrenOf('self'));
      const { pid, text } = await run(sh('umask'), (spawn) => {
        const umask = process.umask(0o027);
        try {
          return spawn();
        } finally {
          process.umask(umask);
          born = childrenOf('self').filter((child) => !start.has(child));
        }
      });
      assert.deepEqual(born, [pid]);
      assert.match(text, /^0*27$/m);
      assert.doesNotMatch((await run(sh('umask'))).text, /^0*27$/m, 'control: outside it is another');
    });

    const folder = `${dir}/programs-${launcher.name}`;
    before(() => {
      fs.mkdirSync(folder);
      fs.writeFileSync(`${folder}/plain`, 'echo "plain $0 $1 $MARK"; exit 5\n', { mode: 0o755 });
      fs.writeFileSync(`${folder}/no-interpreter`, '#!/nowhere/sh\n', { mode: 0o755 });
      fs.writeFileSync(`${folder}/not-executable`, 'echo no\n', { mode: 0o644 });
    });

    const rejected: { name: string; code: string; wish: Wish }[] = [
      { name: 'a program that does not exist', code: 'ENOENT', wish: { file: `${folder}/nope` } },
      {
        name: 'a program whose interpreter does not exist',
        code: 'ENOENT',
        wish: { file: `${folder}/no-interpreter` },
      },
      { name: 'a program that is not executable', code: 'EACCES', wish: { file: `${folder}/not-executable` } },
      { name: 'a folder', code: 'EACCES', wish: { file: folder } },
      { name: 'a folder to start in that does not exist', code: 'ENOENT', wish: { cwd: `${folder}/nope` } },
      {
        name: 'arguments that are too large',
        code: 'E2BIG',
        wish: { argv: ['sh', '-c', ':', ...Array(40).fill('x'.repeat(120_000))] },
      },
      { name: 'one argument that is too large', code: 'E2BIG', wish: { argv: ['sh', '-c', ':', 'x'.repeat(200_000)] } },
      { name: 'a variable that is too large', code: 'E2BIG', wish: { env: { X: 'x'.repeat(200_000) } } },
    ];
    for (const { name, code, wish } of rejected) {
      test(`${name} is rejected with ${code}, and leaves nothing`, async () => {
        const fds = openFds().length;
        await assert.rejects(launch(wish), (error) => error instanceof Error && 'code' in error && error.code === code);
        await noChildren();
        assert.equal(openFds().length, fds);
      });
    }

    test('a text without a #! line is run by the shell, with its arguments and environment', async () => {
      const file = `${folder}/plain`;
      const { exit, text } = await run({ file, argv: ['plain', 'one'], env: { MARK: 'm' } });
      assert.equal(text, `plain ${file} one m\n`);
      assert.deepEqual(exit, { code: 5, signal: null });
    });

    test('the exit of the leader is reported while a grandchild holds its output open', {
      timeout: 10_000,
    }, async () => {
      const { exit, text } = await run({ ...sh('sleep 300 & echo $!; exit 3'), env: { PATH } });
      const grandchild = Number(text);
      assert.deepEqual(exit, { code: 3, signal: null });
      const stat = readStat(grandchild);
      assert.ok(stat !== undefined && isAlive(stat), 'control: the grandchild lives');
      process.kill(grandchild, 'SIGKILL');
      await noChildren();
    });

    test('a leader that ends before anyone looks is reported all the same', async () => {
      const { leader } = await launch(sh('exit 9'));
      await delay(50);
      assert.deepEqual((await leader.ended).exit, { code: 9, signal: null });
    });

    test('leaders that end at the same time are each reported, with their own exit', { timeout: 20_000 }, async () => {
      const input = `${dir}/${launcher.name}.fifo`;
      execFileSync('mkfifo', [input]);
      const writer = fs.openSync(input, 'r+');
      const codes = Array.from({ length: 40 }, (_, index) => index);
      const leaders = await Promise.all(
        codes.map((code) => launch({ ...sh('read -r line; exit "$1"', String(code)), input })),
      );
      fs.closeSync(writer);
      const ends = await Promise.all(leaders.map(({ leader }) => leader.ended));
      assert.deepEqual(
        ends.map(({ exit }) => exit),
        codes.map((code) => ({ code, signal: null })),
      );
    });

    test('200 launches leave no process, no zombie and no descriptor behind', { timeout: 60_000 }, async () => {
      await run(sh(':'));
      const fds = openFds().length;
      for (let batch = 0; batch < 10; batch += 1) {
        const ends = await Promise.all(Array.from({ length: 20 }, (_, index) => run(sh(`exit ${index}`))));
        assert.deepEqual(
          ends.map(({ exit }) => exit.code),
          ends.map((_, index) => index),
        );
      }
      await noChildren();
      assert.equal(openFds().length, fds);
    });

    test('orphans are reaped while leaders run', { timeout: 10_000 }, async () => {
      const { leader } = await launch({ ...sh('(sleep 0.05 &); (sleep 0.05 &); exec sleep 300'), env: { PATH } });
      for (let round = 0; reaper.adoptedChildren().length < 2; round += 1) {
        assert.ok(round < 500, 'the orphans are not adopted');
        await delay(1);
      }
      for (let round = 0; reaper.adoptedChildren().length > 0; round += 1) {
        assert.ok(round < 500, 'the orphans are not reaped');
        await delay(10);
      }
      assert.deepEqual(childrenOf('self'), [leader.pid]);
      process.kill(leader.pid, 'SIGKILL');
      assert.deepEqual((await leader.ended).exit, { code: null, signal: 'SIGKILL' });
      await noChildren();
    });
  });
}

const launchers = [new PosixLauncher(reaper), new ExecaLauncher(reaper)];
for (const launcher of launchers) launcherContract(launcher);

test('leaders of libuv and others that end at the same time are each reported', { timeout: 20_000 }, async () => {
  const input = `${dir}/gate`;
  execFileSync('mkfifo', [input]);
  const writer = fs.openSync(input, 'r+');
  const reader = fs.openSync(input, 'r');
  const both = fs.openSync('/dev/null', 'w');
  const codes = Array.from({ length: 60 }, (_, index) => index);
  const leaders = await Promise.all(
    codes.map((code) => {
      const argv = ['sh', '-c', 'read -r line; exit "$1"', 'sh', String(code)];
      const spec: LaunchSpec = { file: '/bin/sh', argv, env: {}, cwd: '/', stdio: [reader, both, both] };
      return (launchers[code % launchers.length] as Launcher).launch(spec, outside);
    }),
  );
  for (const fd of [writer, reader, both]) fs.closeSync(fd);
  const ends = await Promise.all(leaders.map(({ ended }) => ended));
  assert.deepEqual(
    ends.map(({ exit }) => exit),
    codes.map((code) => ({ code, signal: null })),
  );
});
