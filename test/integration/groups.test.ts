import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import type { Client, EventView, GroupView, JobView, RunPending } from '../../src/client/index.ts';
import { CommandLine } from '../support/cli.ts';
import { startDaemon } from '../support/daemon.ts';
import { waitFor } from '../support/wait-for.ts';

async function startEvents(client: Client): Promise<EventView[]> {
  const events: EventView[] = [];
  for await (const event of client.events()) if (event.to === 'starting') events.push(event);
  return events;
}

async function allJobs(client: Client): Promise<JobView[]> {
  const jobs: JobView[] = [];
  for (let cursor: number | null | undefined; cursor !== null; ) {
    const page = await client.list(cursor === undefined ? {} : { cursor });
    jobs.push(...page.jobs);
    cursor = page.nextCursor;
  }
  return jobs;
}

function byPriority(jobs: readonly JobView[]): number[] {
  return [...jobs].sort((a, b) => b.priority - a.priority || a.id - b.id).map(({ id }) => id);
}

describe('corral group', () => {
  test('add, set, ls and rm, and a restart keeps what was set and what was removed', async (t) => {
    const cli = new CommandLine(t);
    const table = async (...args: string[]) => {
      const { code, stdout, stderr } = await cli.run(args);
      assert.deepEqual([code, stderr], [0, ''], args.join(' '));
      return stdout
        .split('\n')
        .slice(1, -1)
        .map((line) => line.trim().replaceAll(/ {2,}/g, '|'));
    };
    assert.deepEqual(await table('group', 'add', 'nightly'), ['nightly|1|0|0|10000|off|-|auto|open']);
    assert.deepEqual(
      await table('group', 'add', 'Übungen 🐎', '--parallel', '3', '--rate', '5/m', '--burst', '2', '--mode', 'manual'),
      ['Übungen 🐎|3|0|0|10000|5/m|2|manual|open'],
    );
    assert.deepEqual(await table('group', 'set', 'nightly', '--rate', '10/s', '--max-queued', '7'), [
      'nightly|1|0|0|7|10/s|1|auto|open',
    ]);
    await cli.run(['group', 'add', 'brief']);
    assert.equal((await cli.run(['run', '-g', 'brief', 'true'])).code, 0);
    assert.deepEqual(await cli.run(['group', 'rm', 'brief']), { code: 0, stdout: '', stderr: '' });
    assert.match((await cli.run(['submit', '-g', 'brief', 'true'])).stderr, /There is no group "brief"/);
    assert.equal(JSON.parse((await cli.run(['show', '1', '--json'])).stdout).group, 'brief', 'its jobs keep its name');

    await cli.run(['daemon', 'stop']);
    const groups: GroupView[] = JSON.parse((await cli.run(['group', 'ls', '--json'])).stdout);
    assert.deepEqual(
      groups.map(({ name, parallel, rate, burst, mode, maxQueued }) => [name, parallel, rate, burst, mode, maxQueued]),
      [
        ['default', groups[0]?.parallel, null, 1, 'auto', 10_000],
        ['nightly', 1, 10, 1, 'auto', 7],
        ['Übungen 🐎', 3, 5 / 60, 2, 'manual', 10_000],
      ],
    );
    assert.deepEqual(await table('group', 'set', 'nightly', '--rate', 'off'), ['nightly|1|0|0|7|off|-|auto|open']);
    assert.deepEqual(await table('group', 'add', 'brief', '--parallel', '2'), ['brief|2|0|0|10000|off|-|auto|open']);
    assert.equal((await cli.run(['run', '-g', 'brief', 'true'])).code, 0, 'its name can be used again');
  });

  test('what cannot be done is refused with what to do', async (t) => {
    const cli = new CommandLine(t);
    await cli.run(['group', 'add', 'busy', '--parallel', '1']);
    const client = await cli.daemon.client();
    await client.submitBatch([1, 2].map(() => ({ command: ['sleep', '60'], group: 'busy' })));
    const refused: [args: string[], code: number, stderr: RegExp][] = [
      [['group', 'rm', 'busy'], 1, /"busy" has 2 jobs that have not ended: 1 queued, 1 active\. .*corral ls -g busy/],
      [['group', 'rm', 'default'], 2, /cannot be removed/],
      [['group', 'add', 'busy'], 0, /^$/],
      [['group', 'add', 'busy', '--parallel', '2'], 1, /already, with other settings.*corral group set busy/],
      [['group', 'add', 'x\ty'], 2, /control character/],
      [['group', 'add', 'x'.repeat(101)], 2, /100/],
      [['group', 'set', 'busy', '--rate', '10'], 2, /is not a rate\. Write it like 10\/s/],
      [['group', 'set', 'busy', '--burst', '0'], 2, /burst/],
      [['group', 'set', 'busy'], 2, /Say what to set/],
      [['run-pending', '-g', 'busy'], 2, /corral group set busy --mode manual/],
    ];
    for (const [args, code, stderr] of refused) {
      const outcome = await cli.run(args);
      assert.equal(outcome.code, code, `${args.join(' ')}: ${outcome.stderr}`);
      assert.match(outcome.stderr, stderr, args.join(' '));
    }
    assert.match((await cli.run(['show', '2'])).stdout, /^waits +The slot of group "busy" is in use\.$/m);
    await client.cancel([1, 2]);
    await client.wait([1, 2]);
    await client.removeGroup('busy');
  });
});

test('at one slot jobs run strictly by priority, then age', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 0 });
  const order = `${daemon.dir}/order`;
  await client.submitBatch(
    Array.from({ length: 40 }, (_, index) => ({
      shell: `echo $CORRAL_JOB_ID >>${order}`,
      priority: [0, 5, -3, 5, 1][index % 5] ?? 0,
    })),
  );
  await client.setGroup('default', { parallel: 1 });
  const jobs = await client.wait(Array.from({ length: 40 }, (_, index) => index + 1));
  const { id } = await client.submit({ command: ['cat', order] });
  await client.wait(id);
  let text = '';
  for await (const piece of client.logs(id)) text += piece;
  const ran = text.trim().split('\n').map(Number);
  assert.deepEqual(ran, byPriority(jobs));
  assert.notDeepEqual(
    ran,
    jobs.map((job) => job.id),
    'control: that is not the order in which they were submitted',
  );
});

test('50 jobs at 10/s take 5 s, and in no stretch of time more start than the rate allows', async (t) => {
  const { client } = await startDaemon(t);
  await client.addGroup('control', { parallel: 100 });
  await client.addGroup('strict', { parallel: 100, rate: 10 });
  await client.addGroup('rated', { parallel: 100, rate: 10, burst: 2 });
  const batch = (group: string) => client.submitBatch(Array.from({ length: 50 }, () => ({ command: ['true'], group })));
  const submitted = { control: await batch('control'), strict: await batch('strict'), rated: await batch('rated') };
  const queued = await client.get(submitted.rated.at(-1)?.id ?? 0);
  assert.match(queued.waitingFor ?? '', /^Group "rated" starts 10\/s at most; \d+ jobs are before it\.$/);
  const jobs = await client.wait(Object.values(submitted).flatMap((batch) => batch.map(({ id }) => id)));
  assert.ok(jobs.every((job) => job.status === 'completed'));

  const events = await startEvents(client);
  const startsOf = (group: keyof typeof submitted) => {
    const ids = new Set(submitted[group].map(({ id }) => id));
    const starts = events.filter(({ jobId }) => ids.has(jobId)).map(({ at }) => Date.parse(at));
    assert.equal(starts.length, 50);
    return { starts, tookMs: (starts.at(-1) ?? 0) - (starts[0] ?? 0) };
  };
  const [control, strict, rated] = [startsOf('control'), startsOf('strict'), startsOf('rated')];
  t.diagnostic(`from the first to the last start: ${strict.tookMs} ms; with a burst of 2: ${rated.tookMs} ms`);
  for (const { tookMs } of [strict, rated]) assert.ok(tookMs >= 4_500 && tookMs <= 5_500, `${tookMs} ms`);
  assert.ok(control.tookMs < 2_500, `control: without a rate they take ${control.tookMs} ms`);
  // With a burst of 1, one that comes late and the next that is due: as many as with 2.
  for (const { starts } of [strict, rated])
    for (const [index, from] of starts.entries())
      for (const [more, to] of starts.slice(index).entries())
        assert.ok(more + 1 <= 2 + (to - from + 2) / 100, `${more + 1} starts within ${to - from} ms`);
});

test('a daemon that is killed again and again does not start more than the rate allows', async (t) => {
  const { daemon, client } = await startDaemon(t);
  await client.addGroup('rated', { parallel: 100, rate: 0.001, burst: 20 });
  await client.submitBatch(Array.from({ length: 6 }, () => ({ command: ['sleep', '60'], group: 'rated' })));
  for (const started of [1, 2, 3]) {
    await waitFor('it runs', async () => (await client.list({ statuses: ['running'] })).jobs[0]?.id === started);
    assert.equal((await client.list({ statuses: ['queued'] })).jobs.length, 6 - started);
    await daemon.kill();
    await daemon.start();
  }
});

test('run-pending starts the next job by priority, one at a time, and says why it starts none', async (t) => {
  const cli = new CommandLine(t);
  const ask = async (): Promise<[number | null, RunPending]> => {
    const { code, stdout } = await cli.run(['run-pending', '-g', 'seq', '--json']);
    return [code, JSON.parse(stdout)];
  };
  await cli.run(['group', 'add', 'seq', '--mode', 'manual']);
  assert.match((await cli.run(['run-pending', '-g', 'seq'])).stderr, /no job is pending in group "seq"/);
  const client = await cli.daemon.client();
  using gate = new Gate(`${cli.daemon.dir}/gate`);
  for (const priority of [0, 7, 3])
    await client.submit({ command: priority === 7 ? ['cat', gate.path] : ['sleep', '60'], group: 'seq', priority });
  assert.match((await client.get(1)).waitingFor ?? '', /only when it is told to: corral run-pending -g seq$/);
  assert.deepEqual(await ask(), [
    0,
    { total_pending: 3, started: 1, job_ids: [2], message: 'Started job 2; 2 more are pending.' },
  ]);
  const refusal = 'Cannot start new job: 1 job(s) already running. Only one job can run at a time.';
  assert.deepEqual(await ask(), [1, { total_pending: 2, started: 0, job_ids: [], message: refusal }]);
  assert.deepEqual(await cli.run(['run-pending', '-g', 'seq']), {
    code: 1,
    stdout: '',
    stderr: `corral: ${refusal}\n`,
  });
  gate.open();
  await client.wait(2);
  assert.deepEqual((await client.list({ statuses: ['running'] })).jobs, [], 'the end of one does not start the next');
  assert.deepEqual(await cli.run(['run-pending', '-g', 'seq']), { code: 0, stdout: '3\n', stderr: '' });
  await client.setGroup('seq', { parallel: 2 });
  assert.deepEqual((await ask())[1].job_ids, [1]);
  await client.submit({ command: ['true'], group: 'seq' });
  const [code, { message }] = await ask();
  assert.deepEqual(
    [code, message],
    [1, 'Cannot start new job: 2 job(s) already running. Only 2 jobs can run at a time.'],
  );
});

test('of many who ask at once, one starts a job', async (t) => {
  const { client } = await startDaemon(t);
  await client.addGroup('seq', { mode: 'manual' });
  await client.submitBatch(Array.from({ length: 5 }, () => ({ command: ['sleep', '60'], group: 'seq' })));
  const answers = await Promise.all(Array.from({ length: 20 }, () => client.runPending('seq')));
  assert.deepEqual(
    answers.flatMap(({ job_ids }) => job_ids),
    [1],
  );
  assert.equal(answers.filter(({ started }) => started === 0).length, 19);
});

test('1,000 jobs at once in two groups, some failing and some cancelled midway: all end right, in order, and the figures add up at every look', async (t) => {
  const { daemon, client } = await startDaemon(t);
  using gate = new Gate(`${daemon.dir}/gate`);
  // Of ten jobs one fails and one runs until it is cancelled.
  const kinds = [
    { command: ['sh', '-c', `cat ${gate.path}; exit 3`], end: 'failed exit 3' },
    { command: ['sleep', '600'], end: 'cancelled cancel' },
    ...Array.from({ length: 8 }, () => ({ command: ['cat', gate.path], end: 'completed exit 0' })),
  ];
  const kindOf = (index: number) => kinds[(index * 3) % 10] as (typeof kinds)[number];
  const sizes = { a: 600, b: 400 };
  const slots = { a: 500, b: 400 };
  const names = ['a', 'b'] as const;
  for (const name of names) await client.addGroup(name, { parallel: 0 });
  const submitted = await client.submitBatch(
    Array.from({ length: 1_000 }, (_, index) => ({
      command: kindOf(index).command,
      group: index % 5 < 3 ? 'a' : 'b',
      priority: index % 3,
    })),
  );
  const doomed = submitted.flatMap(({ id }, index) => (kindOf(index).end.startsWith('cancelled') ? [id] : []));
  let looks = 0;
  const look = async () => {
    const groups = await client.groups();
    looks += 1;
    const sum = { active: 0, ends: 0 };
    for (const name of names) {
      const { queued, active, starts, ends } = groups.find((one) => one.name === name) as GroupView;
      const told = `${name}: ${queued} queued, ${active} active, ${ends} ended, ${starts} starts`;
      assert.equal(queued + active + ends, sizes[name], told);
      assert.ok(active <= slots[name], told);
      assert.ok(starts >= active && starts <= active + ends, told);
      sum.active += active;
      sum.ends += ends;
    }
    return sum;
  };
  const running = async () => (await client.status()).jobs.running;
  const begunMs = performance.now();
  for (const name of names) await client.setGroup(name, { parallel: slots[name] });
  await waitFor('900 run at once', async () => (await look()).active === 900 && (await running()) === 900, 60_000);
  const allRunMs = performance.now() - begunMs;
  gate.open();
  await waitFor('a good part has ended', async () => (await look()).ends >= 200, 60_000);
  assert.deepEqual(await client.cancel(doomed), { requested: 100, done: 100, failed: 0, errors: [] });
  await waitFor('all have ended', async () => (await look()).ends === 1_000, 60_000);
  t.diagnostic(
    `900 ran after ${Math.round(allRunMs)} ms, all had ended after ${Math.round(performance.now() - begunMs)} ms, ${looks} looks`,
  );

  const jobs = await allJobs(client);
  assert.deepEqual(
    jobs.map(({ status, cause, exitCode }) => `${status} ${cause}${cause === 'exit' ? ` ${exitCode}` : ''}`),
    submitted.map((_, index) => kindOf(index).end),
  );
  const starts = await startEvents(client);
  assert.equal(new Set(starts.map(({ jobId }) => jobId)).size, starts.length, 'no job started twice');
  for (const name of names) {
    const here = new Map(jobs.filter((job) => job.group === name).map((job) => [job.id, job]));
    const order = starts.flatMap(({ jobId }) => here.get(jobId) ?? []);
    assert.deepEqual(
      order.map(({ id }) => id),
      byPriority(order),
      `group ${name} started strictly by priority, then age`,
    );
  }
  const { jobs: counted } = await client.status();
  assert.deepEqual([counted.completed, counted.failed, counted.cancelled], [800, 100, 100]);
});

/** What `cat` reads from it ends when it is opened, and at once from then on. */
class Gate implements Disposable {
  readonly path: string;
  #fd: number | null;

  constructor(path: string) {
    this.path = path;
    execFileSync('mkfifo', [path]);
    this.#fd = fs.openSync(path, 'r+');
  }

  open(): void {
    fs.writeFileSync(`${this.path}.new`, '');
    fs.renameSync(`${this.path}.new`, this.path);
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (this.#fd !== null) fs.closeSync(this.#fd);
    this.#fd = null;
  }
}
