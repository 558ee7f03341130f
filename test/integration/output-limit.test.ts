import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { DaemonUnderTest, startDaemon } from '../support/daemon.ts';
import { waitFor } from '../support/wait-for.ts';

const limit = 1024 ** 2;

/** Numbered lines of 100 bytes each, 50 MB in about two seconds, and then it stays. */
const chatty = `i=0; while [ $i -lt 500 ]; do seq -f '%099.0f' $((i * 1000)) $((i * 1000 + 999)); i=$((i + 1)); done; echo the end`;
const chattyBytes = 500_000 * 100 + 'the end\n'.length;

const onDisk = (file: string) => fs.statSync(file).blocks * 512;

test('G7: truncate keeps the newest output, and the disk free of the rest', async (t) => {
  const daemon = await new DaemonUnderTest(t).start();
  const client = await daemon.client();
  const { id } = await client.submit({
    shell: `${chatty}; exec sleep 600`,
    outputLimitBytes: limit,
    onOutputLimit: 'truncate',
  });
  let dropped = 0;
  let followed = '';
  for await (const piece of client.logs(id, { follow: true, onDropped: (bytes) => (dropped += bytes) })) {
    followed += piece.toString();
    if (followed.endsWith('the end\n')) break;
  }
  await waitFor('the oldest to be dropped', async () => (await client.get(id)).outputBytes <= limit);
  const job = await client.get(id);
  assert.equal(job.outputBytes + job.outputDroppedBytes, chattyBytes);
  assert.ok(job.outputBytes >= limit / 2, `${job.outputBytes} bytes are left`);
  assert.equal(followed.length + dropped, chattyBytes, 'what a follower does not see it is told of');
  const file = job.outputFiles[0] ?? assert.fail();
  assert.ok(onDisk(file) <= limit + 8_192, `${onDisk(file)} bytes on the disk`);

  let whole = '';
  let missing = 0;
  for await (const piece of client.logs(id, { onDropped: (bytes) => (missing += bytes) })) whole += piece.toString();
  assert.equal(missing, job.outputDroppedBytes);
  const lines = whole.split('\n').slice(1, -2).map(Number);
  assert.ok(
    lines.length > 5_000 && lines.every((line, index) => line === (lines[0] ?? 0) + index),
    'the newest, in order',
  );
  assert.equal(lines.at(-1), 499_999);
  let tail = '';
  for await (const piece of client.logs(id, { tailLines: 2 })) tail += piece.toString();
  assert.equal(tail, `${'499999'.padStart(99, '0')}\nthe end\n`);
  await client.cancel(id, { mode: 'kill' });
  await client.wait(id);
  assert.equal((await client.get(id)).outputDroppedBytes, job.outputDroppedBytes);
});

test('control: within the limit nothing is dropped', async (t) => {
  const daemon = await new DaemonUnderTest(t).start();
  const client = await daemon.client();
  const { id } = await client.submit({ shell: chatty, outputLimitBytes: 2 * chattyBytes });
  const [job] = await client.wait(id);
  assert.deepEqual([job?.outputBytes, job?.outputDroppedBytes], [chattyBytes, 0]);
});

test('each stream of a job with split output is held to the limit', async (t) => {
  const daemon = await new DaemonUnderTest(t).start();
  const client = await daemon.client();
  const { id } = await client.submit({
    shell: 'head -c 5000000 /dev/zero >&2; echo out; exec sleep 600',
    splitOutput: true,
    outputLimitBytes: limit,
  });
  await waitFor('the oldest to be dropped', async () => (await client.get(id)).outputDroppedBytes > 0);
  const job = await client.get(id);
  assert.equal(job.outputBytes + job.outputDroppedBytes, 5_000_004);
  let out = '';
  for await (const piece of client.logs(id)) out += piece.toString();
  assert.equal(out, 'out\n');
  await client.cancel(id, { mode: 'kill' });
});

test('kill ends the job, with the sizes in its message', async (t) => {
  const daemon = await new DaemonUnderTest(t).start();
  const client = await daemon.client();
  const { id } = await client.submit({
    shell: 'trap "" TERM; while :; do head -c 1000000 /dev/zero; sleep 0.1; done',
    outputLimitBytes: limit,
    onOutputLimit: 'kill',
    killGraceMs: 200,
  });
  const [job] = await client.wait(id);
  assert.deepEqual([job?.status, job?.cause], ['failed', 'output-limit']);
  assert.match(job?.message ?? '', /^its output has [\d.]+ MiB, and its limit is 1\.0 MiB$/);
});

test('beyond output.total-limit the running job with the most output gives way', async (t) => {
  const daemon = await new DaemonUnderTest(t, { env: { CORRAL_OUTPUT_TOTAL_LIMIT: '3MiB' } }).start();
  const client = await daemon.client();
  await client.setGroup('default', { parallel: 4 });
  const { id: small } = await client.submit({ shell: 'head -c 500000 /dev/zero; exec sleep 600' });
  const { id: large } = await client.submit({ shell: 'head -c 5000000 /dev/zero; exec sleep 600' });
  const { id: killed } = await client.submit({
    shell: 'head -c 9000000 /dev/zero; exec sleep 600',
    onOutputLimit: 'kill',
  });
  const [ended] = await client.wait(killed);
  assert.equal(ended?.cause, 'output-limit');
  assert.match(ended?.message ?? '', /what the output of all jobs together leaves it/);
  await waitFor('the largest to give way', async () => (await client.get(large)).outputBytes < 3_000_000);
  assert.equal((await client.get(small)).outputBytes, 500_000);
  await client.cancel([small, large], { mode: 'kill' });
});

test('beyond output.total-limit earlier attempts of a job that is retried go, and no result of others that frees nothing', async (t) => {
  const { client, daemon } = await startDaemon(t, { parallel: 4, env: { CORRAL_OUTPUT_TOTAL_LIMIT: '250KiB' } });
  const { id: silent } = await client.submit({ command: ['true'] });
  await client.wait(silent);
  const retry = { limit: null, delayMs: 50, maxDelayMs: 50, breakerFailures: null };
  const { id } = await client.submit({ shell: 'head -c 100000 /dev/zero; exit 1', retry });
  const { id: running } = await client.submit({ shell: 'head -c 20000 /dev/zero; exec sleep 600' });
  const folder = `${daemon.stateDir}/output`;
  const onDiskOfJob = () =>
    fs
      .readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.includes(`/${id}.`))
      .reduce((bytes, name) => bytes + (fs.statSync(`${folder}/${name}`, { throwIfNoEntry: false })?.size ?? 0), 0);
  await waitFor('many attempts', async () => (await client.get(id)).attempt > 25, 30_000);
  await waitFor('earlier ones to go', () => onDiskOfJob() <= 250 * 1024);
  const { attempt, attempts } = await client.get(id);
  assert.ok(attempts.length < attempt, `${attempts.length} of ${attempt} attempts are kept`);
  assert.equal((await client.get(silent)).status, 'completed', 'it has no output, and stays');
  assert.equal((await client.get(running)).outputDroppedBytes, 0, 'what runs need not give way');
  await client.cancel([id, running], { mode: 'kill' });
});

test('earlier attempts of a job are held to its own limit together', async (t) => {
  const { client } = await startDaemon(t);
  const retry = { limit: 5, delayMs: 1, maxDelayMs: 1, breakerFailures: null };
  const { id } = await client.submit({ shell: 'head -c 40000 /dev/zero; exit 1', retry, outputLimitBytes: 100_000 });
  const [job] = await client.wait(id);
  assert.equal(job?.attempt, 6);
  assert.deepEqual(
    job?.attempts.map(({ attempt }) => attempt),
    [4, 5, 6],
  );
});

const ownFile = 'f=$(readlink /proc/$$/fd/1)';

test('a job that cuts its file short and goes on writing is held to its limit all the same', async (t) => {
  const daemon = await new DaemonUnderTest(t).start();
  const client = await daemon.client();
  const go = `${daemon.dir}/go`;
  const { id } = await client.submit({
    shell: `head -c 20000000 /dev/zero; until [ -e ${go} ]; do sleep 0.05; done; ${ownFile}; : >$f; head -c 15000000 /dev/zero; exec sleep 600`,
    outputLimitBytes: limit,
  });
  await waitFor('the oldest to be dropped', async () => (await client.get(id)).outputDroppedBytes > 15_000_000);
  fs.writeFileSync(go, '');
  const file = (await client.get(id)).outputFiles[0] ?? assert.fail();
  await waitFor('the new beginning to be dropped, too', async () => {
    const job = await client.get(id);
    return job.outputBytes + job.outputDroppedBytes === 15_000_000 && job.outputBytes <= limit;
  });
  await waitFor('its room to be given back', () => onDisk(file) <= limit + 8_192);
  await client.cancel(id, { mode: 'kill' });
});

test("what a job puts in its file's place is not its output, and is left alone", async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 8 });
  const precious = `${daemon.dir}/precious`;
  fs.writeFileSync(precious, Buffer.alloc(5_000_000, 'x'));
  const places = [`ln -f ${precious} $f`, `ln -sf ${precious} $f`, 'rm $f; mkfifo $f', 'rm $f; mkdir $f'];
  const request = (onOutputLimit: 'truncate' | 'kill') =>
    places.map((place) => ({ shell: `${ownFile}; ${place}; exec sleep 1.5`, outputLimitBytes: limit, onOutputLimit }));
  const submitted = await client.submitBatch([...request('truncate'), ...request('kill')]);
  const jobs = await client.wait(submitted.map(({ id }) => id));
  for (const { cause } of jobs) assert.equal(cause, 'exit');
  assert.ok(fs.readFileSync(precious).equals(Buffer.alloc(5_000_000, 'x')), 'the file of a stranger is whole');
  await client.remove(jobs.map(({ id }) => id));
  assert.equal(fs.statSync(precious).size, 5_000_000);
});
