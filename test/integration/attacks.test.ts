/** What a job or a caller may do to the daemon on purpose or by accident, and what must not come of it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { test } from 'node:test';
import { type CorralError, connect } from '../../src/client/index.ts';
import { CommandLine } from '../support/cli.ts';
import { DaemonUnderTest, guardianPid, spawnDaemon, startDaemon, tiers } from '../support/daemon.ts';
import { endAll, isAlive, pidsWith, sleepToken } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

/** Python ends its main thread and leaves another one running, which ignores SIGTERM. */
const zombieLeader = (token: string) => `
import ctypes, signal, threading, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=lambda: time.sleep(${token}), daemon=False).start()
ctypes.CDLL(None).pthread_exit(None)
`;
const hasPython = fs.existsSync('/usr/bin/python3');

for (const { tier, skip } of tiers) {
  test(`G2: a process whose main thread has exited is ended (tier ${tier})`, {
    skip: skip || (hasPython ? false : 'needs python3'),
  }, async (t) => {
    const { client } = await startDaemon(t, { tier });
    const token = sleepToken();
    const { id } = await client.submit({ command: ['/usr/bin/python3', '-c', zombieLeader(token)] });
    let pid = 0;
    await waitFor('its main thread is gone', async () => {
      pid = (await client.get(id)).pid ?? 0;
      return pid !== 0 && /^State:\tZ/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
    });
    await client.cancel(id, { mode: 'kill' });
    const [job] = await client.wait(id, { timeoutMs: 5_000 });
    assert.deepEqual([job?.status, job?.signal], ['cancelled', 'SIGKILL']);
  });
}

const leaf = 'l=$(awk \'$3=="cgroup2"{print $2; exit}\' /proc/mounts)$(sed -n s/^0:://p /proc/self/cgroup)';
const hostile: { name: string; shell: string; ending: 'cancel' | 'own' }[] = [
  {
    name: 'makes a threaded cgroup in its leaf',
    shell: `${leaf}; mkdir $l/t; echo threaded >$l/t/cgroup.type; exec sleep 60`,
    ending: 'cancel',
  },
  {
    name: 'leaves its leaf and removes it',
    shell: `${leaf}; echo 0 >$(dirname $(dirname $l))/cgroup.procs; rmdir $l`,
    ending: 'own',
  },
  { name: 'puts a folder where its output was', shell: 'f=$(readlink /proc/$$/fd/1); rm $f; mkdir $f', ending: 'own' },
  { name: 'puts a FIFO where its output was', shell: 'f=$(readlink /proc/$$/fd/1); rm $f; mkfifo $f', ending: 'own' },
];

test('a job that tampers with its cgroup or its output harms no other job', {
  skip: process.getuid?.() === 0 ? false : 'needs root',
}, async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 8 });
  const bystander = await client.submit({ command: ['sleep', '60'] });
  for (const { name, shell, ending } of hostile) {
    const { id } = await client.submit({ shell, killGraceMs: 200 });
    if (ending === 'cancel') {
      await waitFor('it is up', async () => (await client.get(id)).status === 'running');
      await client.cancel(id);
    }
    await client.wait(id, { timeoutMs: 5_000 });
    await client.list();
    await readAll(client.logs(id)).catch((error: unknown) =>
      assert.equal((error as CorralError).code, 'OUTPUT_UNREADABLE', name),
    );
    await client.remove(id);
    assert.equal((await client.get(bystander.id)).status, 'running', name);
  }
  assert.equal((await client.status()).pid, daemon.pid, 'it is still the same daemon');
});

test('a daemon with another state directory does not take the socket of a live one', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const { child, report } = spawnDaemon({ ...daemon.env, CORRAL_STATE_DIR: `${daemon.dir}/other` });
  const exit = once(child, 'exit');
  assert.match(await report, /DAEMON_RUNNING.*already serves the socket/);
  await exit;
  const other = await daemon.client();
  assert.equal((await other.status()).pid, (await client.status()).pid);
});

test('a folder that others may write to is refused, not taken over', async (t) => {
  const daemon = new DaemonUnderTest(t);
  fs.mkdirSync(`${daemon.dir}/run`, { mode: 0o777 });
  fs.chmodSync(`${daemon.dir}/run`, 0o1777);
  const { child, report } = spawnDaemon(daemon.env);
  const exit = once(child, 'exit');
  assert.match(await report, /can be written by others \(mode 777\)/);
  await exit;
  assert.equal(fs.statSync(`${daemon.dir}/run`).mode & 0o777, 0o777);
});

test('a stopped guardian neither holds up a stop nor blocks the next start', async (t) => {
  const { daemon, client } = await startDaemon(t);
  process.kill(await guardianPid(client), 'SIGSTOP');
  assert.equal(await daemon.signal('SIGTERM'), 0);

  await daemon.start();
  const token = sleepToken();
  await client.submit({ command: ['sleep', token] });
  await waitFor('the job runs', () => pidsWith(token).length === 1);
  const guardian = await guardianPid(client);
  t.after(() => endAll(isAlive(guardian) ? [guardian] : []));
  process.kill(guardian, 'SIGSTOP');
  await daemon.kill();
  assert.equal(pidsWith(token).length, 1, 'control: the guardian did not do its work');
  await daemon.start();
  assert.deepEqual(pidsWith(token), []);
});

test('requests sent right behind the hello are answered', async (t) => {
  const { daemon } = await startDaemon(t);
  const socket = net.connect(daemon.socket);
  t.after(() => socket.destroy());
  const frame = (id: number, method: string, params: unknown) =>
    `${JSON.stringify({ type: 'rpc', data: { jsonrpc: '2.0', id, method, params } })}\f`;
  socket.write(frame(1, 'hello', { protocols: [1] }) + frame(2, 'group.list', {}));
  let text = '';
  while (text.split('\f').length < 3) text += String((await once(socket, 'data'))[0]);
  assert.deepEqual(
    text
      .split('\f')
      .slice(0, 2)
      .map((part) => 'result' in JSON.parse(part).data),
    [true, true],
  );
});

test('a client that connects while the daemon dies gets the next one, or a clear error', async (t) => {
  const { daemon } = await startDaemon(t);
  process.kill(daemon.pid, 'SIGKILL');
  const outcome = await connect({ socket: daemon.socket }).then(
    () => 'connected',
    (error: CorralError) => error.code,
  );
  assert.equal(outcome, 'DAEMON_UNREACHABLE');
});

test('off means none for every duration', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['submit', '--kill-grace', '0', '--max-runtime', 'off', 'true']);
  const { limits } = JSON.parse((await cli.run(['show', '1', '--json'])).stdout);
  assert.deepEqual([limits.killGraceMs, limits.maxRuntimeMs], [null, null]);
});

test('output that cannot be written cancels the job of run', async (t) => {
  const cli = new CommandLine(t);
  const token = sleepToken();
  const full = (() => {
    try {
      return execFileSync(
        '/bin/sh',
        ['-c', `${process.cwd()}/bin/corral run -c 'echo up; exec sleep ${token}' 2>&1 >/dev/full`],
        { env: cli.daemon.env, encoding: 'utf8' },
      );
    } catch (error) {
      return (error as { stdout: string }).stdout;
    }
  })();
  assert.match(
    full,
    /^corral: The output cannot be written .*ENOSPC.*\. Job 1 was cancelled; what it printed is kept: corral logs 1\n$/,
  );
  assert.deepEqual(pidsWith(token), []);
});

test('no text of a job reaches the terminal as control characters', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['submit', '-n', '\u001b[31mRED\nFAKE', '--', 'no\u001bsuch']);
  await cli.run(['wait', '1']);
  for (const args of [['ls'], ['show', '1']]) assert.equal((await cli.run(args)).stdout.includes('\u001b'), false);
  assert.equal((await cli.run(['run', '--', '\u001b[2Jnope'])).stderr.includes('\u001b'), false);
});

test('run and wait exit with 125 where there is no daemon, other verbs with 3', async (t) => {
  const cli = new CommandLine(t);
  const env = { CORRAL_SOCKET: `${cli.daemon.dir}/none.sock` };
  assert.deepEqual(
    [
      (await cli.run(['run', 'true'], { env })).code,
      (await cli.run(['wait', '1'], { env })).code,
      (await cli.run(['ls'], { env })).code,
    ],
    [125, 125, 3],
  );
});

async function readAll(pieces: AsyncIterable<Buffer>): Promise<void> {
  for await (const _ of pieces);
}
