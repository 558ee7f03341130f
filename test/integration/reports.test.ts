/** Jobs report of themselves: by the CLI, by a line in the pipe, over the socket. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import type { Client, EventView, JobView } from '../../src/client/index.ts';
import { CommandLine, corral } from '../support/cli.ts';
import { startDaemon } from '../support/daemon.ts';
import { isAlive } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

async function eventsOf(client: Client, jobId: number): Promise<EventView[]> {
  const events: EventView[] = [];
  for await (const event of client.events({ jobId })) events.push(event);
  return events;
}

async function notesOf(client: Client, jobId: number): Promise<[kind: string, detail: unknown][]> {
  return (await eventsOf(client, jobId))
    .filter(({ kind }) => kind !== 'transition')
    .map(({ kind, detail }) => [kind, detail]);
}

/** Resolves when the job has reported what is asked for. */
async function reported(client: Client, jobId: number, isIt: (job: JobView) => boolean): Promise<JobView> {
  let job = await client.get(jobId);
  await waitFor('it has reported', async () => {
    job = await client.get(jobId);
    return isIt(job);
  });
  return job;
}

describe('the command line', () => {
  test('a job reports by corral progress and corral result; ls, show and events have it', async (t) => {
    const cli = new CommandLine(t);
    const script = `"${corral}" progress 40 'half  done' && "${corral}" result '{"rows": [1, 2.5, "é"]}' && "${corral}" progress -m 'on and on'`;
    assert.equal((await cli.run(['submit', '-c', 'exit 0'])).code, 0);
    assert.doesNotMatch((await cli.run(['ls'])).stdout, /PROGRESS/);
    const { code, stdout, stderr } = await cli.run(['run', '-c', script]);
    assert.deepEqual([code, stdout, stderr], [0, '', '']);
    const job = JSON.parse((await cli.run(['show', '2', '--json'])).stdout);
    assert.deepEqual(job.result, { rows: [1, 2.5, 'é'] });
    assert.deepEqual([job.progress.percent, job.progress.message], [null, 'on and on']);
    assert.deepEqual(job.attempts[0].result, job.result);
    const list = (await cli.run(['ls'])).stdout;
    assert.match(list, /^ID +STATUS +RESULT +TIME +PROGRESS +GROUP/);
    assert.match(list, /^1 +completed +exit 0 +\S+ +- +default/m);
    assert.match(list, /^2 +completed +exit 0 +\S+ +on and on +default/m);
    assert.match((await cli.run(['show', '2'])).stdout, /^reported +\{"rows":\[1,2\.5,"é"\]\}$/m);
    const events = (await cli.run(['events', '--job', '2'])).stdout;
    assert.match(events, /job 2 {2}progress: 40 % half {2}done\n.*job 2 {2}result: \{"rows":\[1,2\.5,"é"\]\}\n/);
  });

  test('what is no report is refused with what to do', async (t) => {
    const cli = new CommandLine(t);
    const none = await cli.run(['progress', '40', '--job', '1']);
    assert.equal(none.code, 3, none.stderr); // It starts no daemon.
    await cli.run(['run', '--', 'true']);
    const slips: [args: string[], code: number, said: RegExp][] = [
      [['progress', '40'], 2, /not run in a job .*--job ID/],
      [['progress', '101', '--job', '1'], 2, /0 to 100/],
      [['progress', 'half', '--job', '1'], 2, /--message TEXT/],
      [['progress', '--job', '1'], 2, /percentage or a message/i],
      [['progress', '1', 'x'.repeat(501), '--job', '1'], 2, /500/],
      [['progress', '40', '--job', '1'], 1, /Job 1 does not run/],
      [['progress', '40', '--job', '9'], 1, /There is no job 9/],
      [['result', '{rows}', '--job', '1'], 2, /not JSON/],
      [['result', JSON.stringify('x'.repeat(65_536)), '--job', '1'], 2, /65538 bytes.*at most 65536/],
      [['result', `${'['.repeat(99)}${']'.repeat(99)}`, '--job', '1'], 2, /64 deep/],
    ];
    for (const [args, code, said] of slips) {
      const outcome = await cli.run(args);
      assert.equal(outcome.code, code, outcome.stderr);
      assert.match(outcome.stderr, said);
    }
  });

  test('a report of an attempt that is over is refused', async (t) => {
    const { client } = await startDaemon(t);
    const { id } = await client.submit({ command: ['sleep', '600'] });
    await reported(client, id, ({ status }) => status === 'running');
    await client.progress(id, { percent: 1, attempt: 1 });
    await assert.rejects(client.progress(id, { percent: 2, attempt: 2 }), { code: 'JOB_NOT_RUNNING' });
    assert.equal((await client.get(id)).progress?.percent, 1);
  });
});

describe('the pipe', () => {
  const writers: [name: string, command: string[]][] = [
    [
      'sh',
      [
        '/bin/sh',
        '-c',
        'echo "$CORRAL_JOB_ID progress 40 half done" > "$CORRAL_REPORT"; echo "$CORRAL_JOB_ID result {\\"rows\\": 7}" > "$CORRAL_REPORT"; exec sleep 600',
      ],
    ],
    [
      'python3',
      [
        'python3',
        '-c',
        `
import json, os, time
for words in ['progress 40 half done'], ['result', json.dumps({'rows': 7})]:
    with open(os.environ['CORRAL_REPORT'], 'w') as report:
        print(os.environ['CORRAL_JOB_ID'], *words, file=report)
time.sleep(600)
`,
      ],
    ],
    [
      'awk, without a newline at the end',
      [
        'awk',
        'BEGIN { p = ENVIRON["CORRAL_REPORT"]; printf "%s progress 40 half done\\n%s result {\\"rows\\": 7}", ENVIRON["CORRAL_JOB_ID"], ENVIRON["CORRAL_JOB_ID"] > p; close(p); system("sleep 600") }',
      ],
    ],
  ];
  for (const [name, command] of writers) {
    test(`one line of ${name}`, async (t) => {
      const { client } = await startDaemon(t);
      const { id } = await client.submit({ command });
      const job = await reported(client, id, ({ result }) => result !== null);
      assert.deepEqual([job.progress?.percent, job.progress?.message, job.result], [40, 'half done', { rows: 7 }]);
      assert.deepEqual(await notesOf(client, id), [
        ['progress', { percent: 40, message: 'half done' }],
        ['result', { value: { rows: 7 } }],
      ]);
    });
  }

  test('a line that is no report is a warning of the job that it names, and harms nobody', async (t) => {
    const { daemon, client } = await startDaemon(t);
    const script = `printf 'nonsense\\n7777 progress 1\\n%s progress 900\\n%s result {\\n\\n\\377\\n' $CORRAL_JOB_ID $CORRAL_JOB_ID > "$CORRAL_REPORT"
      head -c 9000 /dev/zero | tr '\\0' x > "$CORRAL_REPORT"; echo > "$CORRAL_REPORT"
      echo "$CORRAL_JOB_ID progress 5" > "$CORRAL_REPORT"; exec sleep 600`;
    const { id } = await client.submit({ shell: script });
    const job = await reported(client, id, ({ progress }) => progress !== null);
    assert.equal(job.progress?.percent, 5);
    const [[kind, detail] = []] = await notesOf(client, id);
    assert.equal(kind, 'warning');
    assert.deepEqual(detail, { message: 'A result is JSON, and not "{".', lines: 2 });
    assert.match(daemon.log(), /reports of jobs could not be read/);
    assert.doesNotMatch(daemon.log(), /fatal/);
  });

  test('is the owner’s, cannot be read by mistake, is made again when it is removed, and goes with the daemon', async (t) => {
    const { daemon, client } = await startDaemon(t);
    const pipe = `${daemon.socket}.report`;
    const isPipe = () => fs.lstatSync(pipe, { throwIfNoEntry: false })?.isFIFO() ?? false;
    assert.equal(fs.statSync(pipe).mode & 0o777, 0o200);
    fs.rmSync(pipe);
    fs.writeFileSync(pipe, 'what an echo made of it');
    await waitFor('there is a pipe again', isPipe);
    const { id } = await client.submit({
      shell: 'echo "$CORRAL_JOB_ID progress 1" > "$CORRAL_REPORT"; exec sleep 600',
    });
    await reported(client, id, ({ progress }) => progress !== null);
    assert.match(daemon.log(), /the pipe for reports was removed; it was made again/);
    await daemon.signal('SIGTERM');
    assert.equal(fs.existsSync(pipe), false);
  });

  test('is made again also where a folder stands in its place, and what is in that is kept', async (t) => {
    const { daemon, client } = await startDaemon(t);
    const pipe = `${daemon.socket}.report`;
    fs.rmSync(pipe);
    fs.mkdirSync(pipe);
    fs.writeFileSync(`${pipe}/notes`, 'missed');
    await waitFor('there is a pipe again', () => fs.lstatSync(pipe, { throwIfNoEntry: false })?.isFIFO() === true);
    const { id } = await client.submit({
      shell: 'echo "$CORRAL_JOB_ID progress 1" > "$CORRAL_REPORT"; exec sleep 600',
    });
    await reported(client, id, ({ progress }) => progress !== null);
    const aside = fs.readdirSync(path.dirname(pipe)).find((name) => name.includes('.strange-')) ?? assert.fail();
    assert.equal(fs.readFileSync(`${path.dirname(pipe)}/${aside}/notes`, 'utf8'), 'missed');
  });

  test('after SIGKILL of the daemon the next one takes its place', async (t) => {
    const { daemon } = await startDaemon(t);
    await daemon.kill();
    await daemon.start();
    const client = await daemon.client();
    const { id } = await client.submit({
      shell: 'echo "$CORRAL_JOB_ID progress 1" > "$CORRAL_REPORT"; exec sleep 600',
    });
    await reported(client, id, ({ progress }) => progress !== null);
  });
});

test('a result that was acknowledged survives SIGKILL of the daemon, and so does the progress of that time', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const { id } = await client.submit({ command: ['sleep', '600'] });
  await reported(client, id, ({ status }) => status === 'running');
  await client.progress(id, { percent: 66, message: 'two thirds' });
  await client.result(id, { sum: 42 });
  await daemon.kill();
  await daemon.start();
  const job = await (await daemon.client()).get(id);
  assert.deepEqual([job.status, job.cause, job.result], ['failed', 'supervisor-lost', { sum: 42 }]);
  assert.deepEqual([job.progress?.percent, job.progress?.message], [66, 'two thirds']);
});

test('reports over the socket, from a shell', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const docs = fs.readFileSync(new URL('../../docs/policies.md', import.meta.url), 'utf8');
  const script = /```sh\n(frame\(\).*?)```/s.exec(docs)?.[1] ?? assert.fail('there is no such example');
  const { id } = await client.submit({ shell: `${script}\nexec sleep 600`, env: daemon.env });
  assert.equal((await reported(client, id, ({ progress }) => progress !== null)).progress?.percent, 40);
});

describe('many reports', () => {
  /** Reports from 1 to `count`, and says when it is through. */
  const counting = (count: number) =>
    `i=0; while [ $i -lt ${count} ]; do i=$((i+1)); echo "$CORRAL_JOB_ID progress $((i * 100 / ${count})) step $i"; done > "$CORRAL_REPORT"; exec sleep 600`;

  test('of several jobs, none loses the last, few are events, and the loop does not lag', async (t) => {
    const { daemon, client } = await startDaemon(t, { parallel: 8 });
    const startedMs = performance.now();
    const jobs = await client.submitBatch(Array.from({ length: 8 }, () => ({ shell: counting(2_500) })));
    for (const { id } of jobs) {
      const job = await reported(client, id, ({ progress }) => progress?.message === 'step 2500');
      assert.equal(job.progress?.percent, 100);
    }
    const seconds = (performance.now() - startedMs) / 1_000;
    const { checks } = await client.health();
    t.diagnostic(`20,000 reports of 8 jobs in ${seconds.toFixed(2)} s; longest lag ${checks.loopLagMs} ms`);
    assert.ok(checks.loopLagMs < 1_000, `${checks.loopLagMs} ms`);
    const notes = await notesOf(client, jobs[0]?.id ?? 0);
    assert.ok(notes.length <= 2 + seconds, `${notes.length} events`);
    for (const { id } of jobs) {
      await waitFor('the last one is an event, too', async () => {
        const [, detail] = (await notesOf(client, id)).at(-1) ?? [];
        return (detail as { message: string }).message === 'step 2500';
      });
    }
    await daemon.kill();
    await daemon.start();
    const afterwards = await daemon.client();
    for (const { id } of jobs) assert.equal((await afterwards.get(id)).progress?.message, 'step 2500');
  });

  test('jobs that flood the pipe with rubbish neither stop the daemon nor the reports of others', async (t) => {
    const { daemon, client } = await startDaemon(t, { parallel: 8 });
    const floods = ['x', '', '$CORRAL_JOB_ID result {', '$CORRAL_JOB_ID progress 1 $(date)'];
    const hostile = await client.submitBatch(
      floods.map((line) => ({ shell: `exec yes "${line}" > "$CORRAL_REPORT"` })),
    );
    await waitFor('reports of jobs could not be read', () => daemon.log().includes('could not be read'));
    const { id } = await client.submit({
      shell: `for i in 1 2 3; do echo "$CORRAL_JOB_ID progress 99 $i" > "$CORRAL_REPORT"; done; exec sleep 600`,
    });
    await reported(client, id, ({ progress }) => progress?.message === '3');
    const startedMs = performance.now();
    const calls = 50;
    let longestMs = 0;
    for (let call = 0; call < calls; call += 1) {
      const atMs = performance.now();
      await client.groups();
      longestMs = Math.max(longestMs, performance.now() - atMs);
    }
    const meanMs = (performance.now() - startedMs) / calls;
    t.diagnostic(`under flood, a call takes ${meanMs.toFixed(1)} ms, at most ${longestMs.toFixed(0)} ms`);
    assert.ok(longestMs < 1_000, `${longestMs} ms`);
    for (const flooding of hostile) assert.ok((await notesOf(client, flooding.id)).length < 20);
    const report = await client.cancel(
      hostile.map((job) => job.id),
      { mode: 'kill' },
    );
    assert.equal(report.failed, 0);
    await client.wait(hostile.map((job) => job.id));
    assert.ok(isAlive(daemon.pid));
  });
});
