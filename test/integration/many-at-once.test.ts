import assert from 'node:assert/strict';
import fs from 'node:fs';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startDaemon } from '../support/daemon.ts';
import { endAll, pidsWith, sleepToken } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

const shedsEveryMark = fileURLToPath(new URL('../programs/sheds-every-mark', import.meta.url));

const few = 50;
const many = 4 * few;

/** Four times the jobs cost four times as much at most. Where each job looked at the orphans of all, it was 13 to 45 times. */
const mostGrowth = 8;

interface Cost {
  /** Those of /proc included: what looking for processes costs, however busy the machine is. */
  readonly bytesRead: number;
  /** Of the event loop's thread. */
  readonly cpuMs: number;
}

function costSoFar(pid: number): Cost {
  const io = fs.readFileSync(`/proc/${pid}/io`, 'latin1');
  const schedule = fs.readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'latin1');
  return { bytesRead: Number(/^rchar: (\d+)$/m.exec(io)?.[1]), cpuMs: Number(schedule.split(' ')[0]) / 1e6 };
}

/** What so many jobs cost the daemon that are paused, resumed and ended together, each with an orphan that resists. */
async function costOf(t: TestContext, jobs: number): Promise<Record<'pause' | 'resume' | 'cancel', Cost>> {
  const { daemon, client } = await startDaemon(t, { tier: 'scan', parallel: jobs + 1 });
  const token = sleepToken();
  const shed = sleepToken();
  t.after(() => endAll(pidsWith(shed)));
  const stranger = await client.submit({ command: [shedsEveryMark, shed], killGraceMs: null });
  const shell = `(trap "" TERM; setsid sleep ${token} &); exec sleep ${token}`;
  const submitted = await client.submitBatch(Array.from({ length: jobs }, () => ({ shell, killGraceMs: 500 })));
  const ids = submitted.map(({ id }) => id);
  await waitFor('all run', () => pidsWith(`sleep\0${token}`).length === 2 * jobs, 60_000);
  await waitFor('one has no mark', () => pidsWith(`sleep\0${shed}`).length === 2);
  const measure = async (act: () => Promise<unknown>): Promise<Cost> => {
    const before = costSoFar(daemon.pid);
    await act();
    const { bytesRead, cpuMs } = costSoFar(daemon.pid);
    return { bytesRead: bytesRead - before.bytesRead, cpuMs: cpuMs - before.cpuMs };
  };
  const pauses: Cost[] = [];
  const resumes: Cost[] = [];
  for (let time = 0; time < 3; time += 1) {
    pauses.push(await measure(() => client.pause(ids)));
    resumes.push(await measure(() => client.resume(ids)));
  }
  const cancel = await measure(async () => {
    await client.cancel(ids);
    const ended = await client.wait(ids, { timeoutMs: 60_000 });
    assert.deepEqual(new Set(ended.map(({ status }) => status)), new Set(['cancelled']));
  });
  assert.deepEqual(pidsWith(token), []);
  await client.cancel(stranger.id);
  await client.wait(stranger.id, { timeoutMs: 20_000 });
  assert.equal(pidsWith(shed).length, 1, 'control: it was of unknown origin all the time');
  await daemon.signal('SIGTERM');
  return { pause: cheapest(pauses), resume: cheapest(resumes), cancel };
}

/** Young jobs are looked at for their peak memory as well, now and then. */
function cheapest(costs: readonly Cost[]): Cost {
  return costs.reduce((a, b) => (b.bytesRead < a.bytesRead ? b : a));
}

test('what it costs to pause, resume and end jobs together grows with their number, not with its square (tier scan)', {
  timeout: 120_000,
}, async (t) => {
  const [ofFew, ofMany] = [await costOf(t, few), await costOf(t, many)];
  for (const what of ['pause', 'resume', 'cancel'] as const) {
    const growth = ofMany[what].bytesRead / ofFew[what].bytesRead;
    const cpu = [ofFew, ofMany].map((cost) => cost[what].cpuMs.toFixed(0)).join(' and ');
    t.diagnostic(`${what}: ${growth.toFixed(1)} times the bytes read; ${cpu} ms of CPU for ${few} and ${many} jobs`);
    assert.ok(growth < mostGrowth, `${what} of ${many} jobs read ${growth} times as much as of ${few}`);
  }
});
