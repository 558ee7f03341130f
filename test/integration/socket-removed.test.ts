/** What becomes of a daemon whose socket somebody removes: a cleaner of /tmp or /run, an operator's rm. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import { type TestContext, test } from 'node:test';
import { CorralError, connect } from '../../src/client/index.ts';
import { type DaemonUnderTest, spawnDaemon, startDaemon } from '../support/daemon.ts';
import { waitFor } from '../support/wait-for.ts';

/** Between bind(2) and listen(2) there is a socket that refuses. */
async function answers(socket: string): Promise<boolean> {
  try {
    await using client = await connect({ socket, reconnectMs: 0 });
    return (await client.status()).pid > 0;
  } catch (error) {
    if (error instanceof CorralError && error.code === 'DAEMON_UNREACHABLE') return false;
    throw error;
  }
}

test('a socket that is removed is made again, private; whoever is connected does not notice', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const { id } = await client.submit({ command: ['sleep', '60'] });
  const held = client.wait(id);
  fs.rmSync(daemon.socket);
  await assert.rejects(connect({ socket: daemon.socket, reconnectMs: 0 }), /No corral daemon answers/, 'control');
  await waitFor('it can be reached again', () => answers(daemon.socket));
  const other = await daemon.client();
  assert.equal((await other.status()).pid, daemon.pid);
  assert.equal(fs.statSync(daemon.socket).mode & 0o777, 0o600);
  await client.cancel(id);
  assert.equal((await held)[0]?.status, 'cancelled', 'the call that was held is answered on the old connection');
  assert.match(daemon.log(), /the socket was removed; making it again/);
});

test('a runtime folder that is removed with socket and lock comes back, private and locked', async (t) => {
  const { daemon, client } = await startDaemon(t);
  fs.rmSync(`${daemon.dir}/run`, { recursive: true });
  await waitFor('it can be reached again', () => answers(daemon.socket));
  assert.equal(fs.statSync(`${daemon.dir}/run`).mode & 0o777, 0o700);
  const other = await daemon.client();
  assert.equal((await other.status()).pid, (await client.status()).pid);
  const second = spawnDaemon({ ...daemon.env, CORRAL_STATE_DIR: `${daemon.dir}/other` });
  const exit = once(second.child, 'exit');
  assert.match(await second.report, /DAEMON_RUNNING/);
  await exit;
});

test('a daemon that took the path meanwhile keeps it, also when the first one stops; once it has gone, the first is back', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const second = await takeOver(t, daemon);
  const reached = async () => {
    const there = await connect({ socket: daemon.socket });
    const { pid } = await there.status();
    there.close();
    return pid;
  };
  await waitFor('it has noticed', () => daemon.log().includes('another daemon has taken the socket'));
  assert.equal(await reached(), second.pid);
  await second.kill();
  await waitFor('the first one answers there', () =>
    reached().then(
      (pid) => pid === daemon.pid,
      () => false,
    ),
  );

  const third = await takeOver(t, daemon);
  client.close();
  await daemon.signal('SIGTERM');
  assert.equal(await reached(), third.pid);
});

/** Removes socket and lock, and starts a daemon of another state directory before the first one, which stands still meanwhile, can notice. */
async function takeOver(t: TestContext, { pid, socket }: DaemonUnderTest): Promise<DaemonUnderTest> {
  process.kill(pid, 'SIGSTOP');
  try {
    fs.rmSync(socket, { force: true });
    fs.rmSync(`${socket}.lock`, { force: true });
    return (await startDaemon(t, { env: { CORRAL_SOCKET: socket } })).daemon;
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}
