import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client, JobView } from '../../src/client/index.ts';
import { DaemonUnderTest, type Tier } from './daemon.ts';
import { waitFor } from './wait-for.ts';

/** Submits without a pause while the daemon is killed so many times, at random moments: no acknowledged job is lost or made twice. */
export async function acknowledgedIsDurable(t: TestContext, tier: Tier, kills: number): Promise<void> {
  const daemon = await new DaemonUnderTest(t, { tier }).start();
  const client = await daemon.client();
  await client.setGroup('default', { parallel: 0 });
  const acknowledged: { id: number; key: string }[] = [];
  let isOver = false;

  const submitter = (async () => {
    for (let n = 0; !isOver; n += 1) {
      const key = `key-${n}`;
      // The client repeats an unanswered submit after the restart, with the same key.
      const { id } = await client.submit({ command: ['true'], idempotencyKey: key });
      acknowledged.push({ id, key });
    }
  })();
  for (let n = 0; n < kills; n += 1) {
    const before = acknowledged.length;
    await waitFor('a submit is acknowledged', () => acknowledged.length > before);
    await delay(Math.random() * 30);
    await daemon.kill();
    await daemon.start();
  }
  isOver = true;
  await submitter;

  const jobs = await allJobs(client);
  t.diagnostic(`${acknowledged.length} submits acknowledged over ${kills} kills, ${jobs.length} jobs in the store`);
  assert.deepEqual(missing(acknowledged, jobs), []);
  assert.equal(new Set(jobs.map((job) => job.idempotencyKey)).size, jobs.length, 'no key has two jobs');
  assert.ok(jobs.every((job) => job.status === 'queued'));

  await client.setGroup('default', { parallel: 8 });
  const ended = await client.wait(
    jobs.map((job) => job.id),
    { timeoutMs: 60_000 },
  );
  assert.ok(ended.every((job) => job.status === 'completed' && job.attempt === 1));

  const first = acknowledged[0];
  assert.ok(first);
  await client.remove(first.id);
  assert.deepEqual(missing(acknowledged, await allJobs(client)), [first], 'control: a lost job is noticed');
}

/** The acknowledged submits whose job is not there, or not with its key, or out of order. */
function missing(acknowledged: readonly { id: number; key: string }[], jobs: readonly JobView[]) {
  const byId = new Map(jobs.map((job) => [job.id, job]));
  return acknowledged.filter(({ id, key }, index) => {
    const before = acknowledged[index - 1];
    return byId.get(id)?.idempotencyKey !== key || (before !== undefined && before.id >= id);
  });
}

async function allJobs(client: Client): Promise<JobView[]> {
  const jobs: JobView[] = [];
  for (let cursor: number | null = 0; cursor !== null; ) {
    const page = await client.list(cursor === 0 ? {} : { cursor });
    jobs.push(...page.jobs);
    cursor = page.nextCursor;
  }
  return jobs;
}
