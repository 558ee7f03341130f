import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import type { TestContext } from 'node:test';
import { startDaemon } from './daemon.ts';
import { waitFor } from './wait-for.ts';

const batch = 10;

/**
 * Many jobs fail at once, and are to be run again at once. Their retries must come at the pace that is configured, every one of
 * them, while the daemon goes on reacting.
 */
export async function retryStorm(
  t: TestContext,
  { jobs, ...pace }: { jobs: number; perSecond: number; burst: number },
): Promise<void> {
  const { daemon, client } = await startDaemon(t, {
    parallel: jobs,
    env: { CORRAL_RETRY_MAX_PER_SECOND: String(pace.perSecond), CORRAL_RETRY_BURST: String(pace.burst) },
  });
  // To open a FIFO waits for its writer: all first attempts go on, and fail, in one moment. fifo(7)
  const gate = `${daemon.dir}/gate`;
  execFileSync('mkfifo', [gate]);
  const ids: number[] = [];
  // Not all in one turn of the daemon's: it is the storm whose lag is measured, not five hundred launches at once.
  for (let n = 0; n < jobs; n += batch) {
    const submitted = await client.submitBatch(
      // The second attempt of every fifth job succeeds.
      Array.from({ length: batch }, (_, index) => ({
        shell: `[ $CORRAL_ATTEMPT -gt 1 ] || : <${gate}; exit $((CORRAL_ATTEMPT < 2 || ${index % 5}))`,
      })),
      { retry: { limit: 1, delayMs: 1_000, jitter: 0.5 } },
    );
    ids.push(...submitted.map(({ id }) => id));
  }
  await waitFor(
    'all of them run',
    async () =>
      (await client.groups())[0]?.queued === 0 && (await client.list({ statuses: ['starting'] })).jobs.length === 0,
    60_000,
  );
  fs.closeSync(fs.openSync(gate, 'w'));
  const startedMs = performance.now();
  let heldBack = 0;
  let lagMs = 0;
  let answerMs = 0;
  const look = async () => {
    const askedMs = performance.now();
    const { checks, reasons } = await client.health();
    answerMs = Math.max(answerMs, performance.now() - askedMs);
    heldBack = Math.max(heldBack, checks.retriesHeldBack);
    lagMs = Math.max(lagMs, checks.loopLagMs);
    assert.equal(
      reasons.some(({ code }) => code === 'RETRY_STORM'),
      checks.retriesHeldBack > 0,
    );
  };
  const allEnded = client.wait(ids, { timeoutMs: 90_000 });
  let isOver = false;
  const over = allEnded.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    await look();
    await Promise.race([over, new Promise((resolve) => setTimeout(resolve, 100))]);
  }
  const ended = await allEnded;
  await look();
  assert.equal(ended.filter(({ status }) => status === 'completed').length, jobs / 5);
  assert.equal(ended.filter(({ status }) => status === 'failed').length, (jobs * 4) / 5);
  for (const job of ended) assert.deepEqual([job.attempts.length, job.retries], [2, 1], `job ${job.id}`);
  const starts = ended.map(({ attempts }) => Date.parse(attempts[1]?.startedAt ?? '')).sort((a, b) => a - b);
  const spreadMs = (starts.at(-1) ?? 0) - (starts[0] ?? 0);
  const leastMs = ((jobs - pace.burst) * 1_000) / pace.perSecond;
  t.diagnostic(
    `${jobs} retries in ${spreadMs} ms (at this pace at least ${leastMs}), all over after ${Math.round(performance.now() - startedMs)} ms; at most ${heldBack} held back; longest lag ${lagMs} ms, slowest answer ${Math.round(answerMs)} ms`,
  );
  // A time stamp is taken a little after the turn.
  assert.ok(spreadMs >= leastMs * 0.9, `${spreadMs} ms`);
  assert.ok(heldBack > 0, 'control: it is a storm');
  assert.equal((await client.health()).checks.retriesHeldBack, 0, 'it passes');
  assert.ok(lagMs < 1_000, `the daemon did not react for ${lagMs} ms`);
  assert.deepEqual(
    (await client.groups()).map(({ queued, active }) => [queued, active]),
    [[0, 0]],
  );
}
