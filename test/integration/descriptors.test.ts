/** A daemon with few file descriptors, which are what connections and launches compete for. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { startDaemon } from '../support/daemon.ts';
import { RawClient } from '../support/raw-client.ts';

test('with 128 descriptors the daemon refuses clients beyond what they allow, and goes on launching jobs', async (t) => {
  const { daemon, client } = await startDaemon(t, { prelude: 'ulimit -n 128', parallel: 16 });
  const crowd = Array.from({ length: 200 }, () => new RawClient(daemon.socket));
  t.after(() => {
    for (const raw of crowd) raw.socket.destroy();
  });
  const answers = await Promise.all(
    crowd.map(async (raw) => {
      raw.request(1, 'hello', { protocols: [1] });
      const answer = await raw.next();
      return answer === null ? 'closed' : (answer.error?.data.code ?? 'served');
    }),
  );
  const served = answers.filter((answer) => answer === 'served').length;
  assert.equal(served, 128 - 96 - 1, 'all but the one that the library has');
  assert.ok(answers.includes('TOO_MANY_CONNECTIONS'));
  const jobs = await client.submitBatch(Array.from({ length: 100 }, () => ({ command: ['true'] })));
  const ended = await client.wait(jobs.map(({ id }) => id));
  assert.deepEqual([...new Set(ended.map((job) => job.message ?? job.status))], ['completed']);
});

test('the daemon has as many descriptors as the hard limit allows', async (t) => {
  const { daemon } = await startDaemon(t, { prelude: 'ulimit -Sn 200 && ulimit -Hn 700' });
  assert.match(fs.readFileSync(`/proc/${daemon.pid}/limits`, 'utf8'), /Max open files\s+700\s+700/);
});
