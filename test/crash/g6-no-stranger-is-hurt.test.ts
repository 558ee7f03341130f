import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import {
  beginAttempt,
  type Change,
  justRunning,
  type ProcessIdentity,
  withAttempt,
  withPhase,
} from '../../src/daemon/core/index.ts';
import { readBootId, readStat } from '../../src/daemon/linux/index.ts';
import { SqliteStore } from '../../src/daemon/store/index.ts';
import { DaemonUnderTest, tiers } from '../support/daemon.ts';
import { endAll, pidsWith, sleepToken } from '../support/processes.ts';
import { groupOf, jobOf } from '../support/records.ts';
import { waitFor } from '../support/wait-for.ts';

/** Processes that have nothing to do with corral: a session leader with two children, one in a session of its own. */
async function bystander(token: string): Promise<ProcessIdentity> {
  const child = spawn('sh', ['-c', `sleep ${token} & setsid sleep ${token} & exec sleep ${token}`], {
    detached: true,
    stdio: 'ignore',
  });
  await waitFor('the bystander is up', () => pidsWith(token).length === 3);
  const stat = readStat(child.pid ?? 0);
  assert.ok(stat);
  return { pid: stat.pid, startTicks: stat.startTicks, bootId: readBootId() };
}

/** What a daemon that was killed would have left: a running job with this leader. */
function plantRunningJob(stateDir: string, leader: ProcessIdentity): void {
  fs.mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const store = new SqliteStore(`${stateDir}/corral.db`);
  const attempt = { leader, startedWallMs: 0 };
  const job = withPhase(withAttempt(beginAttempt(jobOf(1, { command: ['sleep', '1'] }), 'scan'), attempt), justRunning);
  const changes: Change[] = [
    { kind: 'group', before: null, after: groupOf('default') },
    { kind: 'job', before: null, after: job },
  ];
  store.commit(changes, 0);
  store.close();
}

const cases: { name: string; change: Partial<ProcessIdentity>; survivors: number }[] = [
  {
    name: 'a record with another start time leaves the bystander and its children alone',
    change: { startTicks: 1 },
    survivors: 3,
  },
  {
    name: 'a record of another boot leaves them alone',
    change: { bootId: '00000000-0000-0000-0000-000000000000' },
    survivors: 3,
  },
  { name: 'control: a record that is right ends them all', change: {}, survivors: 0 },
];

for (const { tier, skip } of tiers) {
  for (const { name, change, survivors } of cases) {
    test(`G6: ${name} (tier ${tier})`, { skip }, async (t) => {
      const token = sleepToken();
      t.after(() => endAll(pidsWith(token)));
      const identity = await bystander(token);
      const daemon = new DaemonUnderTest(t, { tier });
      plantRunningJob(daemon.stateDir, { ...identity, ...change });
      await daemon.start();
      const client = await daemon.client();
      assert.equal((await client.get(1)).cause, 'supervisor-lost');
      assert.equal(pidsWith(token).length, survivors);
    });
  }
}
