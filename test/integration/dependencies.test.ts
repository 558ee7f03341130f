import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import type { Client, JobView } from '../../src/client/index.ts';
import { CommandLine } from '../support/cli.ts';
import { startDaemon } from '../support/daemon.ts';

/** A line of shell that goes on once the file is there. */
const untilThere = (file: string) => `while [ ! -e ${file} ]; do sleep 0.02; done`;

function inOrder(first: JobView, second: JobView): boolean {
  return Date.parse(second.startedAt ?? '') >= Date.parse(first.finishedAt ?? '');
}

async function chain(client: Client, length: number, first: string): Promise<number[]> {
  const ids = [(await client.submit({ shell: first })).id];
  while (ids.length < length) ids.push((await client.submit({ command: ['true'], after: [ids.at(-1) as number] })).id);
  return ids;
}

test('a chain of 100 jobs runs one after the other, though there are slots for all', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 100 });
  const ids = await chain(client, 100, 'true');
  const jobs = await client.wait(ids, { timeoutMs: 60_000 });
  assert.deepEqual([...new Set(jobs.map(({ status }) => status))], ['completed']);
  for (const [index, job] of jobs.slice(1).entries())
    assert.ok(inOrder(jobs[index] as JobView, job), `job ${job.id} started after the one before it had ended`);

  const go = `${daemon.dir}/go`;
  const failing = await chain(client, 100, `${untilThere(go)}; exit 3`);
  fs.writeFileSync(go, '');
  const fallen = await client.wait(failing, { timeoutMs: 60_000 });
  const [head, next, ...others] = fallen;
  assert.deepEqual([head?.status, head?.cause, head?.exitCode], ['failed', 'exit', 3]);
  assert.match(next?.message ?? '', new RegExp(`after job ${head?.id}, which failed with exit code 3`));
  for (const job of others) assert.deepEqual([job.status, job.cause, job.attempt], ['failed', 'dependency', 0]);
  const ends = new Set(others.map(({ finishedAt }) => finishedAt));
  assert.equal(ends.size, 1, 'all in the same moment');
});

test('a diamond, a failed side and `any` go as they are asked for on the command line', async (t) => {
  const cli = new CommandLine(t);
  const go = `${cli.daemon.dir}/go`;
  const submit = async (...args: string[]) => (await cli.run(['submit', ...args])).stdout.trim();
  assert.equal(await submit('-c', untilThere(go)), '1');
  assert.equal(await submit('--after', '1', '--', 'true'), '2');
  assert.equal(await submit('--after', '1', '-c', 'exit 4'), '3');
  assert.equal(await submit('--after', '1..2', '--', 'echo', 'one side'), '4');
  assert.equal(await submit('--after', '2,3', '--', 'echo', 'never'), '5');
  assert.equal(await submit('--after-any', '2', '--after-any', '3', '--', 'echo', 'anyway'), '6');
  const unknown = await cli.run(['submit', '--after', '77', '--', 'true']);
  assert.deepEqual([unknown.code, unknown.stdout], [1, '']);
  assert.match(unknown.stderr, /There is no job 77/);
  assert.equal((await cli.run(['submit', '--after', '1', '--after-any', '2', '--', 'true'])).code, 2);

  assert.equal((await cli.run(['ls', '-q', '-s', 'queued'])).stdout, '2\n3\n4\n5\n6\n');
  fs.writeFileSync(go, '');
  assert.equal((await cli.run(['wait', '1..4', '6'])).code, 4, 'that of job 3');
  const waited = await cli.run(['wait', '5']);
  assert.equal(waited.code, 125);
  const jobs: JobView[] = JSON.parse((await cli.run(['ls', '--all', '--json'])).stdout);
  const ends = jobs.sort((a, b) => a.id - b.id).map(({ id, status, cause }) => `${id} ${status} ${cause}`);
  assert.deepEqual(ends.slice(0, 6), [
    '1 completed exit',
    '2 completed exit',
    '3 failed exit',
    '4 completed exit',
    '5 failed dependency',
    '6 completed exit',
  ]);
  assert.match((await cli.run(['show', '5'])).stdout, /after job 3, which failed with exit code 4/);

  const attached = await cli.run(['run', '--after', '3', '--', 'true']);
  assert.equal(attached.code, 125);
  assert.match(attached.stderr, /^corral: job 7 was not started: It was to start after job 3, which failed/);
});

test('who waits for whom survives SIGKILL of the daemon', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 100 });
  const go = `${daemon.dir}/go`;
  const submit = async (shell: string, after: number[], more = {}) =>
    (await client.submit({ shell, ...(after.length === 0 ? {} : { after }), ...more })).id;
  const first = await submit(untilThere(go), [], { onSupervisorLost: 'retry' });
  const lost = await submit(untilThere(go), []);
  const done = await submit('true', []);
  const second = await submit('true', [first, done]);
  const third = await submit('true', [second]);
  const falls = await submit('true', [lost]);
  const fallsToo = await submit('true', [falls]);
  const goesOn = await submit('true', [lost, first], { afterMode: 'any' });
  await client.wait(done);
  await daemon.kill();
  await daemon.start();

  const [fallen, fallenToo] = await client.wait([falls, fallsToo]);
  assert.deepEqual([fallen?.cause, fallenToo?.cause], ['dependency', 'dependency']);
  for (const id of [second, third, goesOn]) assert.equal((await client.get(id)).status, 'queued', `job ${id} waits on`);
  fs.writeFileSync(go, '');
  const [a, b, c, d] = await client.wait([first, second, third, goesOn]);
  assert.deepEqual([a?.status, b?.status, c?.status, d?.status], Array(4).fill('completed'));
  assert.equal(a?.attempts.length, 2, 'control: it was interrupted');
  assert.ok(
    inOrder(a as JobView, b as JobView) && inOrder(b as JobView, c as JobView) && inOrder(a as JobView, d as JobView),
  );
});
