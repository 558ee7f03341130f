import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import { test } from 'node:test';
import { ServiceManager } from '../../src/daemon/linux/index.ts';
import { Notifier } from '../../src/daemon/notifier.ts';

const errno = (code: string) => Object.assign(new Error(code), { code });

function notifier(failures: readonly (Error | null)[]) {
  const heard: string[] = [];
  const log: string[] = [];
  const left = [...failures];
  const made = new Notifier(
    () => ({
      tell(...assignments) {
        const failure = left.shift() ?? null;
        if (failure !== null) throw failure;
        heard.push(assignments.join(' '));
      },
    }),
    { warn: (message) => log.push(message), info: (message) => log.push(message) },
  );
  return { made, heard, log };
}

test('what a manager must know is said again when it listens; the pulse is not', () => {
  const { made, heard, log } = notifier([errno('EAGAIN'), errno('ECONNREFUSED')]);
  made.tell('READY=1', 'STATUS=ready');
  made.tell('WATCHDOG=1');
  made.tell('WATCHDOG=1', 'STATUS=well');
  made.tell('WATCHDOG=1');
  assert.deepEqual(heard, ['READY=1 WATCHDOG=1 STATUS=well', 'WATCHDOG=1']);
  assert.deepEqual(log, ['the service manager does not listen', 'the service manager listens again']);
});

test('an address that is no such socket is said once, and no reason to fail', () => {
  for (const address of ['vsock:2:1234', 'relative', `/${'x'.repeat(200)}`, '/nowhere/at/all']) {
    const log: string[] = [];
    const made = new Notifier(() => new ServiceManager(address), {
      warn: (message) => log.push(message),
      info: () => {},
    });
    made.tell('READY=1');
    made.tell('WATCHDOG=1');
    assert.deepEqual(log, ['the service manager does not listen'], address);
  }
});

test('a defect is not taken for a deaf manager', () => {
  const { made } = notifier([new TypeError('a defect')]);
  assert.throws(() => made.tell('READY=1'), TypeError);
});

const { error } = spawnSync('python3', ['--version']);
const python = error === undefined ? false : 'there is no python3 to make a datagram socket';

test('a manager that does not read never makes the daemon wait', { skip: python }, async (t) => {
  const dir = fs.mkdtempSync(`${os.tmpdir()}/corral-test-`);
  const script = `import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); print("bound", flush=True); sys.stdin.read()`;
  const manager = spawn('python3', ['-c', script, `${dir}/notify`], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => {
    manager.kill('SIGKILL');
    fs.rmSync(dir, { recursive: true });
  });
  await once(manager.stdout, 'data');
  const socket = new ServiceManager(`${dir}/notify`);
  t.after(() => socket.close());
  const startedMs = performance.now();
  assert.throws(() => {
    for (let sent = 0; sent < 100_000; sent += 1) socket.tell('WATCHDOG=1');
  }, /EAGAIN/);
  assert.ok(performance.now() - startedMs < 5_000);
});
