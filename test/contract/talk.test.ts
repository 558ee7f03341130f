import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connectionsOf, descriptorLimit, waitsOf } from '../../src/daemon/linux/index.ts';
import { whyNoPython } from '../support/python.ts';
import { waitFor } from '../support/wait-for.ts';

const nobody: ReadonlySet<number> = new Set();
const enough = () => ({ left: 500 });

/** Node with a script. Its own standard streams would be sockets, if there were any. */
async function running(t: TestContext, script: string): Promise<number> {
  const child = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
  return started(t, child);
}

async function started(t: TestContext, child: ChildProcess): Promise<number> {
  t.after(() => child.kill('SIGKILL'));
  await once(child, 'spawn');
  assert.ok(child.pid);
  return child.pid;
}

async function listening(t: TestContext, at: string | 0): Promise<net.Server> {
  const server = net.createServer((socket) => t.after(() => socket.destroy()));
  t.after(() => server.close());
  server.listen(at);
  await once(server, 'listening');
  return server;
}

async function accepted(server: net.Server): Promise<net.Socket> {
  const [socket] = await once(server, 'connection');
  return socket;
}

const portOf = (server: net.Server) => (server.address() as net.AddressInfo).port;

test('a connection over a Unix socket is seen, unless it is to one of the family', async (t) => {
  const path = `\0corral-talk-${process.pid}`;
  const server = await listening(t, path);
  const pid = await running(t, `require('net').connect(${JSON.stringify(path)})`);
  await accepted(server);
  assert.deepEqual(connectionsOf(pid, nobody, enough()), { bytes: 0, uncounted: 1 });
  assert.deepEqual(connectionsOf(pid, new Set([process.pid]), enough()), { bytes: 0, uncounted: 0 });
});

test('of a TCP connection every byte is counted, both ways', async (t) => {
  const server = await listening(t, 0);
  const pid = await running(
    t,
    `require('net').connect(${portOf(server)}).on('data', function () { this.write('0123456789') })`,
  );
  const socket = await accepted(server);
  const before = connectionsOf(pid, nobody, enough());
  assert.equal(before?.uncounted, 0);
  socket.write('01234567890123456789');
  let answered = 0;
  while (answered < 10) answered += (await once(socket, 'data'))[0].length;
  // The answer is counted when it has been acknowledged.
  const passed = () => (connectionsOf(pid, nobody, enough())?.bytes ?? 0) - (before?.bytes ?? 0);
  await waitFor('both to be counted', () => passed() >= 30);
  assert.equal(passed(), 30);
});

test('what listens, or names a peer for its datagrams, has no connection', async (t) => {
  const told = await listening(t, 0);
  const script = `
    require('net').createServer().listen(0);
    require('dgram').createSocket('udp4').connect(9, '127.0.0.1', () => require('net').connect(${portOf(told)}).resume());
  `;
  const pid = await running(t, script);
  const socket = await accepted(told);
  const closed = once(socket, 'close');
  socket.destroySoon();
  await closed;
  await waitFor(
    'the connection that told of them to be closed',
    () => connectionsOf(pid, nobody, enough())?.bytes === 0,
  );
  assert.deepEqual(connectionsOf(pid, nobody, enough()), { bytes: 0, uncounted: 0 });
});

test('a process with more descriptors than there may be reads is not known, and one that has gone has none', async (t) => {
  const pid = await started(t, spawn('sleep', ['60'], { stdio: 'ignore' }));
  const descriptors = fs.readdirSync(`/proc/${pid}/fd`).length;
  assert.deepEqual(connectionsOf(pid, nobody, { left: descriptors }), { bytes: 0, uncounted: 0 });
  assert.equal(connectionsOf(pid, nobody, { left: descriptors - 1 }), null);
  assert.deepEqual(connectionsOf(0x7fff_fff0, nobody, enough()), { bytes: 0, uncounted: 0 });
  assert.equal(waitsOf(0x7fff_fff0, enough()), undefined);
});

const whyNotMany = descriptorLimit() > 5_000 ? whyNoPython : 'a process may not have so many descriptors here';
test('one that has room for so many that to list them would take long is not known either', {
  skip: whyNotMany,
}, async (t) => {
  const program = `import os, time; os.dup2(0, int(os.sys.argv[1])); print(flush=True); time.sleep(60)`;
  const withDescriptor = async (fd: string) => {
    const child = spawn('python3', ['-c', program, fd], { stdio: ['ignore', 'pipe', 'ignore'] });
    const pid = await started(t, child);
    await once(child.stdout, 'data');
    return connectionsOf(pid, new Set([process.pid]), enough());
  };
  assert.equal(await withDescriptor('5000'), null);
  assert.deepEqual(await withDescriptor('500'), { bytes: 0, uncounted: 0 });
});

test('a process that waits and goes on is seen, in whichever of its threads; one that only waits is not', async (t) => {
  const quiet = await started(t, spawn('sleep', ['60'], { stdio: 'ignore' }));
  const cat = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'] });
  const busy = await started(t, cat);
  const echo = async () => {
    cat.stdin.write('.');
    await once(cat.stdout, 'data');
  };
  await echo();
  const before = [waitsOf(quiet, enough()), waitsOf(busy, enough())] as const;
  await echo();
  await echo();
  assert.equal(waitsOf(quiet, enough()), before[0]);
  assert.ok((waitsOf(busy, enough()) ?? 0) > (before[1] ?? 0));

  const threaded = await running(
    t,
    `
    const { Worker } = require('worker_threads');
    new Worker('setInterval(() => {}, 20)', { eval: true });
  `,
  );
  const waits = () => waitsOf(threaded, enough()) ?? 0;
  const threads = () => fs.readdirSync(`/proc/${threaded}/task`).map(Number);
  const mainWaits = () =>
    /^voluntary_ctxt_switches:\t(\d+)$/m.exec(fs.readFileSync(`/proc/${threaded}/status`, 'latin1'))?.[1];
  await waitFor('a look during which the second thread has run, and the first has not', async () => {
    const [main, all, count] = [mainWaits(), waits(), threads().length];
    await delay(100);
    return count === threads().length && main === mainWaits() && waits() > all;
  });
  assert.equal(waitsOf(threaded, { left: 3 }), null, 'more threads than there may be reads');
});
