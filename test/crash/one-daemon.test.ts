import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { test } from 'node:test';
import { DaemonUnderTest, startDaemon } from '../support/daemon.ts';
import { raceForStateDir } from '../support/racing-daemons.ts';

test('two daemons that race for a state directory 10 times (100 in test:long): each time exactly one wins, and the other says so', (t) =>
  raceForStateDir(t, 10));

test('empty, stale and foreign lock and socket files never block a start', async (t) => {
  const daemon = new DaemonUnderTest(t);
  fs.mkdirSync(daemon.stateDir, { recursive: true, mode: 0o700 });
  fs.mkdirSync(`${daemon.dir}/run`, { mode: 0o700 });
  fs.writeFileSync(`${daemon.stateDir}/daemon.lock`, '');
  fs.writeFileSync(`${daemon.stateDir}/guardian.lock`, '99999999\nnonsense');
  const stale = net.createServer().listen(daemon.socket);
  await once(stale, 'listening');
  fs.linkSync(daemon.socket, `${daemon.socket}.kept`); // close() removes the path; the other name keeps a dead socket.
  stale.close();
  await once(stale, 'close');
  fs.renameSync(`${daemon.socket}.kept`, daemon.socket);
  await daemon.start();
  assert.equal((await (await daemon.client()).status()).pid, daemon.pid);
});

test('the state directory and the socket are private, also where they were not', async (t) => {
  const daemon = new DaemonUnderTest(t);
  fs.mkdirSync(daemon.stateDir, { recursive: true, mode: 0o755 });
  await daemon.start();
  const client = await daemon.client();
  const { id } = await client.submit({ command: ['true'] });
  const [job] = await client.wait(id);
  const modeOf = (path: string) => (fs.statSync(path).mode & 0o777).toString(8);
  assert.deepEqual(
    [
      daemon.stateDir,
      `${daemon.dir}/run`,
      daemon.socket,
      `${daemon.stateDir}/corral.db`,
      `${daemon.stateDir}/daemon.log`,
    ].map(modeOf),
    ['700', '700', '600', '600', '600'],
  );
  assert.equal(modeOf(job?.outputFiles[0] ?? ''), '600');
});

test('SIGTERM ends the jobs gracefully, keeps the queue, exits 0 and leaves nothing', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 3 });
  const polite = await client.submit({ shell: "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done" });
  const deaf = await client.submit({ shell: "trap '' TERM; sleep 60", killGraceMs: 300 });
  const again = await client.submit({ command: ['sleep', '60'], onSupervisorLost: 'retry' });
  const waiting = await client.submit({ command: ['true'] });
  for await (const piece of client.logs(polite.id, { follow: true })) if (String(piece).includes('up')) break;

  const leaves = daemon.leavesDir();
  assert.equal(await daemon.signal('SIGTERM'), 0);
  if (leaves !== null) assert.equal(fs.existsSync(leaves), false, 'no cgroup is left');
  assert.equal(fs.existsSync(daemon.socket), false, 'no socket is left');
  assert.match(daemon.log(), /"message":"stopped"/);

  await daemon.start();
  const jobs = await Promise.all([polite, deaf, again, waiting].map(({ id }) => client.get(id)));
  assert.deepEqual(
    jobs.slice(0, 2).map((job) => [job.status, job.cause]),
    [
      ['failed', 'supervisor-lost'],
      ['failed', 'supervisor-lost'],
    ],
  );
  assert.equal(jobs[1]?.signal, 'SIGKILL');
  let output = '';
  for await (const piece of client.logs(polite.id)) output += piece;
  assert.match(output, /^up\n.*bye\n$/s);
  const [rerun, done] = await Promise.all([client.get(again.id), client.wait(waiting.id, { timeoutMs: 5_000 })]);
  assert.equal(rerun.attempt, 2, 'the job that asked for it runs again');
  assert.equal(done[0]?.status, 'completed');
});

test('a guardian that is killed is replaced at once', async (t) => {
  const { client } = await startDaemon(t);
  const before = (await client.status()).guardianPid;
  process.kill(before ?? 0, 'SIGKILL');
  for (let after = before; after === before; ) after = (await client.status()).guardianPid;
  assert.notEqual((await client.status()).guardianPid, null);
});

test('each transition of a job is one line of the log, with job id, attempt, from, to and cause', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const { id } = await client.submit({ command: ['true'] });
  await client.wait(id);
  await daemon.signal('SIGTERM');
  const lines = daemon
    .log()
    .split('\n')
    .filter((line) => line.includes('"jobId"'))
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    lines.map(({ jobId, attempt, from, to, cause, level }) => ({ jobId, attempt, from, to, cause, level })),
    [
      { attempt: 0, from: null, to: 'queued', cause: null },
      { attempt: 1, from: 'queued', to: 'starting', cause: null },
      { attempt: 1, from: 'starting', to: 'running', cause: null },
      { attempt: 1, from: 'running', to: 'completed', cause: 'exit' },
    ].map((line) => ({ jobId: id, level: 'info', ...line })),
  );
});
