import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { DaemonUnderTest, spawnDaemon } from './daemon.ts';

/** Starts two daemons on one state directory, so many times: each time exactly one wins, and the other says so. */
export async function raceForStateDir(t: TestContext, races: number): Promise<void> {
  const daemon = new DaemonUnderTest(t, { tier: 'scan' });
  for (let n = 0; n < races; n += 1) {
    const racers = [spawnDaemon(daemon.env), spawnDaemon(daemon.env)];
    const reports = await Promise.all(
      racers.map(async ({ child, report }) => ({ child, report: JSON.parse(await report) })),
    );
    t.after(() => reports.map(({ child }) => child.kill('SIGKILL')));
    const winners = reports.filter(({ report }) => report.ok);
    const losers = reports.filter(({ report }) => !report.ok);
    assert.equal(winners.length, 1);
    assert.equal(losers[0]?.report.code, 'DAEMON_RUNNING');
    assert.match(losers[0]?.report.message, /^Another corral daemon.* already serves /);
    const client = await daemon.client();
    assert.equal((await client.status()).pid, winners[0]?.child.pid, 'the winner answers on the socket');
    client.close();
    const exits = reports.map(({ child }) =>
      child.exitCode === null && child.signalCode === null ? once(child, 'exit') : null,
    );
    winners[0]?.child.kill('SIGKILL'); // Not in order: the next pair finds a stale socket and stale locks.
    await Promise.all(exits);
  }
}
