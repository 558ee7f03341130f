import assert from 'node:assert/strict';
import net from 'node:net';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Client, EventView, JobRequest, JobView } from '../../src/client/index.ts';
import { startDaemon, tiers } from '../support/daemon.ts';
import { whyNoPython } from '../support/python.ts';
import { waitFor } from '../support/wait-for.ts';

/** `stream`'s rule, forty times as fast. What a program needs to start is more than a millicore of so short a time. */
const fastRule = { cpuMillicores: 50, checks: 4, intervalMs: 250, signals: ['cpu'] } satisfies JobRequest['idle'];
/** No job here uses more: only the other signals can tell. */
const cpuSaysNothing = { ...fastRule, cpuMillicores: 100_000 };
/** It ends when every other job that can be idle has been for long. */
const patient = { ...fastRule, checks: 14 };

interface Case {
  readonly name: string;
  readonly becomes: 'idle' | 'running';
  readonly job: JobRequest;
  /** A client pauses it as soon as it runs. */
  readonly isPaused?: true;
}

const burns = 'while :; do :; done';

/** What waits for a byte from its peer. Node reads a socket with read(2), as the shell and most programs read a pipe. */
const waitsFor = (peer: string) => [
  process.execPath,
  '-e',
  `require('net').connect(${JSON.stringify(peer)}).on('data', () => {})`,
];

function cases(peer: string): Case[] {
  return [
    { name: 'one that sleeps', becomes: 'idle', job: { command: ['sleep', '60'], idle: fastRule } },
    {
      name: 'one that sleeps, by all signals',
      becomes: 'idle',
      job: {
        command: ['sleep', '60'],
        idle: { ...fastRule, signals: ['cpu', 'io', 'output', 'progress', 'client'] },
      },
    },
    { name: 'one that works', becomes: 'running', job: { shell: burns, idle: fastRule } },
    {
      name: 'one whose grandchild works in a session of its own',
      becomes: 'running',
      job: { shell: `setsid sh -c '${burns}' & sleep 60`, idle: fastRule },
    },
    {
      name: 'one that works now and then: each time the count starts again',
      becomes: 'running',
      job: {
        shell: `while :; do sleep 0.7; timeout 0.3 sh -c '${burns}'; done`,
        idle: { ...fastRule, checks: 7 },
      },
    },
    {
      name: 'one that waits on a socket while its peer works, by io',
      becomes: 'running',
      job: { command: waitsFor(peer), idle: { ...cpuSaysNothing, signals: ['cpu', 'io'] } },
    },
    {
      name: 'the same by CPU alone, as a control',
      becomes: 'idle',
      job: { command: waitsFor(peer), idle: cpuSaysNothing },
    },
    {
      name: 'one that writes, by output',
      becomes: 'running',
      job: {
        shell: 'while :; do echo x; sleep 0.1; done',
        idle: { ...cpuSaysNothing, signals: ['cpu', 'output'] },
      },
    },
    {
      name: 'one that is only said to be',
      becomes: 'running',
      job: { command: ['sleep', '60'], idle: { ...fastRule, checks: 2, dryRun: true } },
    },
    {
      name: 'one that a client has paused',
      becomes: 'running',
      job: { command: ['sleep', '60'], idle: fastRule },
      isPaused: true,
    },
    { name: 'one without the rule', becomes: 'running', job: { command: ['sleep', '60'], idle: null } },
  ];
}

/** Some 50 ms of CPU in each second, in processes that nobody waits for, and that are gone when somebody looks. */
const burst = 'i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done';
const hiddenWork = {
  shell: `while :; do (setsid sh -c '${burst}' &) ; sleep 1; done`,
  idle: { cpuMillicores: 20, checks: 3, intervalMs: 1_000, signals: ['cpu'] },
} satisfies JobRequest;

for (const { tier, skip } of tiers) {
  test(`idle jobs end, and no others; tier ${tier}`, { skip }, async (t) => {
    const { client, daemon } = await startDaemon(t, { tier, parallel: 100 });
    const all = cases(await talkativePeer(t, `${daemon.dir}/peer.sock`));
    const ids: number[] = [];
    for (const { job, isPaused } of all) {
      const { id } = await client.submit(job);
      ids.push(id);
      if (!isPaused) continue;
      await waitFor('the job to run', async () => (await client.get(id)).status === 'running');
      assert.equal((await client.pause(id)).done, 1);
    }
    const hidden = await client.submit(hiddenWork);
    const last = await client.submit({ command: ['sleep', '60'], idle: patient });
    assert.equal((await ended(client, last.id)).cause, 'idle');
    for (const [index, { name, becomes }] of all.entries()) {
      await t.test(`${name}: ${becomes}`, async () => {
        const job = await client.get(ids[index] ?? 0);
        assert.equal(job.cause ?? job.status, becomes, job.message ?? '');
      });
    }

    await t.test(
      'short-lived orphans in sessions of their own hide their work from /proc, not from their leaf',
      async () => {
        await client.cancel(ids.slice(2), { mode: 'kill' });
        // A look at /proc misses what the kernel counts for a leaf. That is why scan is second best.
        if (tier === 'cgroup') assert.equal((await client.get(hidden.id)).status, 'running');
        else assert.equal((await ended(client, hidden.id)).cause, 'idle');
      },
    );

    await t.test('the samples that decided it are told and kept', async () => {
      const job = await client.get(ids[0] ?? 0);
      assert.equal(job.status, 'failed');
      assert.match(job.message ?? '', /^4 checks, 250ms apart, at or below 50 millicores: (\d+\.\d, ){3}\d+\.\d$/);
      const ranMs = Date.parse(job.finishedAt ?? '') - Date.parse(job.startedAt ?? '');
      assert.ok(ranMs >= 4 * 250 && ranMs < 10_000, `it ran for ${ranMs} ms`);
      const [note] = await idleNotes(client, job.id);
      assert.equal(note?.message, job.message);
      assert.equal(note?.cpuMillicores.length, 4);
      assert.match(
        (await client.get(ids[1] ?? 0)).message ?? '',
        /^4 checks, .*, without io, output, progress, client, at/,
      );
      assert.match(daemon.log(), new RegExp(`job ${job.id} is idle`));
    });

    await t.test('a dry run says it once for each quiet run', async () => {
      const [note, ...more] = await idleNotes(client, ids[all.findIndex(({ job }) => job.idle?.dryRun)] ?? 0);
      assert.equal(note?.dryRun, true);
      assert.deepEqual(more, []);
    });
  });
}

const sockets = fileURLToPath(new URL('../programs/sockets', import.meta.url));

/** `default` to the letter, but in 4 s and not in 30 min. */
const fastDefault = { intervalMs: 1_000, checks: 4 } satisfies JobRequest['idle'];

interface Peers {
  readonly works: Address;
  readonly isSilent: Address;
}

interface Address {
  readonly unix: string;
  readonly tcp: string;
}

/** Programs that use recv(2), which the kernel does not count as io, and next to no CPU. */
const talkCases = (peers: Peers): (Case & { idle?: JobRequest['idle'] })[] => {
  const job = (...args: string[]): JobRequest => ({ command: [sockets, ...args], idle: fastDefault });
  return [
    { name: 'one that receives, unix', becomes: 'running', job: job('receive', 'unix', peers.works.unix) },
    { name: 'one that receives, tcp', becomes: 'running', job: job('receive', 'tcp', peers.works.tcp) },
    {
      name: 'the same by CPU alone, as a control',
      becomes: 'idle',
      job: { ...job('receive', 'unix', peers.works.unix), idle: { ...fastDefault, signals: ['cpu'] } },
    },
    { name: 'one whose peer is silent, unix', becomes: 'idle', job: job('receive', 'unix', peers.isSilent.unix) },
    { name: 'one whose peer is silent, tcp', becomes: 'idle', job: job('receive', 'tcp', peers.isSilent.tcp) },
    {
      name: 'one whose peer is silent, and that looks twice a second, tcp',
      becomes: 'idle',
      job: job('look', 'tcp', peers.isSilent.tcp),
    },
    { name: 'a server that only listens, and looks twice a second', becomes: 'idle', job: job('listen') },
    { name: 'two that only talk to each other, and do not', becomes: 'idle', job: job('pair') },
    { name: 'one with an event loop, which has a socket to itself', becomes: 'idle', job: job('loop') },
  ];
};

for (const { tier, skip } of tiers) {
  test(`a job that waits on a socket while its peer works is not idle for profile default; tier ${tier}`, {
    skip: skip || whyNoPython,
  }, async (t) => {
    const { client, daemon } = await startDaemon(t, { tier, parallel: 100 });
    const peers = {
      works: await peer(t, `${daemon.dir}/works`, 300),
      isSilent: await peer(t, `${daemon.dir}/silent`, null),
    };
    const all = talkCases(peers);
    const ids = (await client.submitBatch(all.map(({ job }) => job))).map(({ id }) => id);
    const last = await client.submit({
      command: ['sleep', '60'],
      idle: { ...fastDefault, checks: 12, signals: ['cpu'] },
    });
    assert.equal((await ended(client, last.id)).cause, 'idle');
    for (const [index, { name, becomes }] of all.entries()) {
      await t.test(`${name}: ${becomes}`, async () => {
        const job = await client.get(ids[index] ?? 0);
        assert.equal(job.cause ?? job.status, becomes, job.message ?? '');
      });
    }
  });
}

async function ended(client: Client, jobId: number): Promise<JobView> {
  const [job] = await client.wait(jobId, { timeoutMs: 40_000 });
  assert.ok(job);
  return job;
}

test('a job of which a client was heard once is idle all the same, and the first check counts', async (t) => {
  const { client } = await startDaemon(t);
  const idle: JobRequest['idle'] = { ...cpuSaysNothing, checks: 3, signals: ['cpu', 'client'] };
  const [heard, unheard] = await client.submitBatch([
    { command: ['sleep', '60'], idle },
    { command: ['sleep', '60'], idle: { ...idle, checks: 1, intervalMs: 2_000 } },
  ]);
  assert.ok(heard && unheard);
  await client.heartbeat([heard.id]);
  // Whoever waits is a client, too: so this looks now and then.
  const isOver = async (id: number) => (await client.get(id)).finishedAt !== null;
  await waitFor('the end of the one that was heard', () => isOver(heard.id), 20_000);
  await waitFor('the end of the other', () => isOver(unheard.id), 20_000);
  assert.equal((await client.get(heard.id)).cause, 'idle');
  const { cause, startedAt, finishedAt } = await client.get(unheard.id);
  assert.equal(cause, 'idle');
  assert.ok(Date.parse(finishedAt ?? '') - Date.parse(startedAt ?? '') < 3_900, 'after one interval, not two');
});

async function idleNotes(client: Client, jobId: number) {
  const notes: { message: string; dryRun: boolean; cpuMillicores: number[] }[] = [];
  const isIdle = ({ kind }: EventView) => kind === 'idle';
  for await (const event of client.events({ jobId })) if (isIdle(event)) notes.push(event.detail as (typeof notes)[0]);
  return notes;
}

/** A Unix socket that sends a byte now and then to whoever has connected. */
async function talkativePeer(t: TestContext, path: string): Promise<string> {
  return (await peer(t, path, 60)).unix;
}

/** Takes connections, and sends a byte through each now and then, or never. */
async function peer(t: TestContext, path: string, everyMs: number | null): Promise<Address> {
  const connections = new Set<net.Socket>();
  const listen = async (at: string | 0) => {
    const server = net.createServer((socket) => {
      connections.add(socket);
      socket.on('error', () => connections.delete(socket));
    });
    t.after(() => server.close());
    await new Promise<void>((resolve) => server.listen(at, resolve));
    return server.address();
  };
  const [, tcp] = [await listen(path), await listen(0)];
  const timer = setInterval(() => {
    if (everyMs !== null) for (const socket of connections) socket.write('.');
  }, everyMs ?? 60_000);
  t.after(() => {
    clearInterval(timer);
    for (const socket of connections) socket.destroy();
  });
  assert.ok(typeof tcp === 'object' && tcp !== null);
  return { unix: path, tcp: String(tcp.port) };
}
