/**
 * A million finished jobs in the store cost nobody anything: start-up, `ls`, pages, `show`, `submit`, `rm` and `daemon status` take
 * as long as with a hundred. Needs some 700 MB of room in the folder for temporary files, for a minute.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { type TestContext, test } from 'node:test';
import { CommandLine } from '../support/cli.ts';
import { makeFinishedJobs } from '../support/finished-jobs.ts';

const million = 1_000_000;

type Figures = Record<string, number>;

/** The fastest of some runs, in ms: what the others took longer, the machine did something else. */
async function fastestMs(runs: number, work: (run: number) => Promise<unknown>): Promise<number> {
  const taken: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    const begunMs = performance.now();
    await work(run);
    taken.push(performance.now() - begunMs);
  }
  return Math.min(...taken);
}

async function figures(t: TestContext, jobs: number): Promise<Figures> {
  const cli = new CommandLine(t);
  const { daemon } = cli;
  daemon.env.CORRAL_RETENTION_MAX_JOBS = 'off'; // Else most of them would be deleted.
  fs.mkdirSync(daemon.stateDir, { mode: 0o700 });
  const file = `${daemon.stateDir}/corral.db`;
  makeFinishedJobs(file, jobs);
  const found: Figures = {};
  found['start-up'] = await fastestMs(5, async () => {
    await daemon.start();
    await daemon.kill();
  });
  await daemon.start();
  const client = await daemon.client();
  const call = async (name: string, work: (run: number) => Promise<unknown>) => {
    await work(0);
    found[name] = await fastestMs(15, work);
  };
  await call('daemon.status', () => client.status());
  await call('list, newest', () => client.list({ order: 'newest', limit: 20 }));
  await call('list, ended, newest', () =>
    client.list({ statuses: ['completed', 'failed', 'cancelled'], order: 'newest', limit: 20 }),
  );
  await call('list, a status and group', () => client.list({ statuses: ['failed'], group: 'other', limit: 20 }));
  await call('list, a group', () => client.list({ group: 'other', order: 'newest', limit: 20 }));
  await call('list, a status that is rare', () => client.list({ statuses: ['cancelled', 'queued'] }));
  await call('list, a page in the middle', () => client.list({ statuses: ['completed'], cursor: jobs / 2, limit: 20 }));
  await call('show', () => client.get(jobs / 2));
  await call('submit', () => client.submit({ command: ['true'] }));
  await call('submit, a known key', () =>
    client.submit({ command: ['true', 'job 1'], env: { PATH: '/usr/bin:/bin' }, cwd: '/', idempotencyKey: 'key 1' }),
  );
  await call('submit and remove', async () => {
    const { id } = await client.submit({ command: ['true'] });
    await client.wait(id);
    assert.equal((await client.remove(id)).done, 1);
  });
  found['corral ls'] = await fastestMs(5, () => cli.run(['ls']));
  const { jobs: counts } = await client.status();
  assert.ok(Object.values(counts).reduce((sum, count) => sum + count) >= jobs);
  const status = fs.readFileSync(`/proc/${daemon.pid}/status`, 'utf8');
  found['RSS, MiB'] = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024;
  return found;
}

test('a million finished jobs cost nobody anything', { timeout: 300_000 }, async (t) => {
  const few = await figures(t, 100);
  const many = await figures(t, million);
  for (const [name, figure] of Object.entries(many))
    t.diagnostic(`${name}: ${few[name]?.toFixed(1) ?? '-'} with a hundred, ${figure.toFixed(1)} with a million`);
  for (const [name, before] of Object.entries(few)) {
    const after = many[name] ?? Number.NaN;
    // A scan of a million rows takes 50 ms at the very least; a busy machine may take 20 more for anything.
    assert.ok(after < before * 2 + 20, `${name}: ${before} with a hundred, ${after} with a million`);
  }
});
