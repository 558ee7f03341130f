/** Which orphan belongs to which attempt, and that it stays so: on real processes, with the reaper and the holds of tier scan. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import {
  becomeSubreaper,
  ChildReaper,
  childrenOf,
  makeFifo,
  readMark,
  readStat,
} from '../../src/daemon/linux/index.ts';
import { type Hold, markVariable } from '../../src/daemon/process/containment.ts';
import type { Leader } from '../../src/daemon/process/launcher.ts';
import { Marker } from '../../src/daemon/process/marks.ts';
import { Orphans } from '../../src/daemon/process/orphans.ts';
import { PosixLauncher } from '../../src/daemon/process/posix-launcher.ts';
import { ScanContainment } from '../../src/daemon/process/scan.ts';
import { endAll, pidsWith, sleepToken } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

const instance = 0xd000_0000 + process.pid;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-orphans-'));
const reaper = new ChildReaper();
const containment = new ScanContainment('a test asks for it', new Marker(instance), reaper);
const launcher = new PosixLauncher(reaper);
const awake = setInterval(() => {}, 60_000); // SIGCHLD alone does not keep Node awake.

before(() => {
  becomeSubreaper();
  reaper.onExits = () => containment.onExits();
  reaper.start();
});
afterEach(async () => {
  containment.close();
  for (const pid of childrenOf('self')) endAll([pid]);
  await waitFor('no child is left', () => childrenOf('self').length === 0);
});
after(() => {
  reaper.stop();
  clearInterval(awake);
  fs.rmSync(dir, { recursive: true });
});

interface Attempt {
  readonly hold: Hold;
  readonly leader: Leader;
}

/** Starts `sh -c script`. */
async function start(script: string, hold = containment.open('', null)): Promise<Attempt> {
  const fd = fs.openSync('/dev/null', 'r+');
  const env = { PATH: process.env.PATH ?? '/usr/bin:/bin', ...hold.env };
  const argv = ['sh', '-c', script];
  const leader = await launcher.launch({ file: '/bin/sh', argv, env, cwd: '/', stdio: [fd, fd, fd] }, (launch) =>
    hold.launchInside(launch),
  );
  fs.closeSync(fd);
  hold.setLeader(leader.pid, readStat(leader.pid)?.startTicks ?? 0);
  return { hold, leader };
}

/** Kills all that the hold finds, and waits until it says that there is nothing more. */
async function end({ hold, leader }: Attempt): Promise<void> {
  hold.killAll();
  await leader.ended;
  let isEmpty = false;
  hold.whenEmpty(() => {
    isEmpty = true;
  });
  // The last may have died below somebody who is not ours: then the next SIGCHLD tells.
  await waitFor('it is empty', async () => {
    if (!isEmpty) await once(spawn('true'), 'exit');
    return isEmpty;
  });
  hold.release();
}

let fifos = 0;

/** A fifo on which a script waits, and what lets it go on. */
function gate(): { file: string; open: () => void } {
  fifos += 1;
  const file = `${dir}/gate.${fifos}`;
  makeFifo(file);
  return { file, open: () => fs.writeFileSync(file, '\n') };
}

const shed = 'env -i setsid prlimit --rttime=unlimited';
const one = (token: string) => waitFor('it is up', () => pidsWith(`sleep\0${token}`).length === 1);
const stateOf = (pid: number) => readStat(pid)?.state;

describe('whose an orphan is', () => {
  for (const { name, isSeen, survivors } of [
    { name: 'one that was seen before it sheds every mark is ended with its attempt', isSeen: true, survivors: 0 },
    { name: 'control: one that nobody saw before is the hole of the tier', isSeen: false, survivors: 1 },
  ]) {
    test(name, async (t) => {
      const token = sleepToken();
      t.after(() => endAll(pidsWith(token)));
      const { file, open } = gate();
      const sheds = `read -r line <${file}; exec env -i prlimit --rttime=unlimited sleep ${token}`;
      const attempt = await start(`(setsid sh -c '${sheds}' &); exec sleep 3600`);
      await waitFor('it is adopted', () => reaper.adoptedChildren().length === 1);
      const [pid = 0] = reaper.adoptedChildren();
      await waitFor('it has a session of its own', () => readStat(pid)?.session === pid);
      if (isSeen) assert.deepEqual(new Set(attempt.hold.pids()), new Set([attempt.leader.pid, pid]));
      open();
      await one(token);
      assert.equal(readMark(pid), null);
      await end(attempt);
      assert.equal(pidsWith(token).length, survivors);
    });
  }

  test('one without any mark is asked again: it may get one', async (t) => {
    const token = sleepToken();
    t.after(() => endAll(pidsWith(token)));
    const { file, open } = gate();
    const hold = containment.open('', null);
    const late = `read -r line <${file}; ${markVariable}=${hold.env[markVariable]} exec sleep ${token}`;
    const attempt = await start(`(${shed} sh -c "${late}" &); exec sleep 3600`, hold);
    await waitFor('it is adopted', () => reaper.adoptedChildren().length === 1);
    const [pid = 0] = reaper.adoptedChildren();
    await waitFor('it has no mark', () => readMark(pid) === null && readStat(pid)?.session === pid);
    assert.equal(hold.countAlive(), 1);
    open();
    await one(token);
    assert.equal(hold.countAlive(), 2);
    await end(attempt);
    assert.deepEqual(pidsWith(token), []);
  });

  test('a process with a mark is found below one that has none, which is left alone', async (t) => {
    const [marked, unmarked] = [sleepToken(), sleepToken()];
    t.after(() => endAll(pidsWith(unmarked)));
    const parent = `sleep ${marked} & prlimit --rttime=unlimited --pid $$; wait; exec sleep ${unmarked}`;
    const attempt = await start(`(env -i setsid sh -c '${parent}' &); exec sleep 3600`);
    await one(marked);
    await waitFor('its parent is adopted', () => reaper.adoptedChildren().length === 1);
    const [pid = 0] = reaper.adoptedChildren();
    await waitFor('that has no mark', () => readMark(pid) === null);
    assert.equal(attempt.hold.countAlive(), 2);
    await end(attempt);
    assert.deepEqual(pidsWith(`sleep\0${marked}`), []);
    await one(unmarked);
  });

  test('G6: a number that an earlier leader had does not make the processes of a later one its own', async () => {
    const token = sleepToken();
    const later = await start(`(sleep ${token} &); exec sleep ${token}`);
    await waitFor('it is adopted', () => reaper.adoptedChildren().length === 1);
    const earlier = containment.open('', null);
    earlier.setLeader(later.leader.pid, 1);
    assert.equal(earlier.countAlive(), 0);
    earlier.killAll();
    await delay(50);
    assert.equal(pidsWith(`sleep\0${token}`).length, 2);
    await end(later);
    assert.deepEqual(pidsWith(token), [], 'control: they can be killed');
    earlier.release();
  });

  test('what is known of a number is kept until it is reaped, and not beyond', async () => {
    class ReaperOf extends ChildReaper {
      override reap = () => 'all' as const;
      override adoptedChildren = () => (child.pid === undefined ? [] : [child.pid]);
    }
    const child = spawn('sleep', ['3600'], { detached: true });
    const pid = child.pid ?? 0;
    const scripted = new ReaperOf();
    const orphans = new Orphans(scripted, instance);
    const [first, second] = [orphans.open({ instance, launch: 1 }), orphans.open({ instance, launch: 2 })];
    orphans.setLeader(first, pid, 1);
    orphans.list();
    orphans.setLeader(second, pid, 1); // As if the number of the first leader were that of another by now.
    orphans.list();
    assert.deepEqual([[...first.orphans], [...second.orphans]], [[pid], []]);
    scripted.onLeft(pid);
    assert.deepEqual([[...first.orphans], [...second.orphans]], [[], []]);
    orphans.list();
    assert.deepEqual([[...first.orphans], [...second.orphans]], [[], [pid]]);
  });
});

describe('in one go', () => {
  test('what is frozen and thawed goes on', async () => {
    const { hold, leader } = await start('exec sleep 3600');
    hold.freeze();
    await waitFor('control: it stands still', () => stateOf(leader.pid) === 'T');
    hold.thaw();
    containment.together(() => {
      hold.freeze();
      hold.thaw();
    });
    await waitFor('it goes on', () => stateOf(leader.pid) === 'S');
    await delay(50);
    assert.equal(stateOf(leader.pid), 'S');
  });

  test('an orphan that was adopted after the list was made gets the signal all the same', async () => {
    const token = sleepToken();
    const { file, open } = gate();
    const attempt = await start(`setsid sleep ${token} & read -r line <${file}`);
    await one(token);
    containment.together(() => {
      attempt.hold.countAlive();
      open();
      while (stateOf(attempt.leader.pid) !== 'Z');
      attempt.hold.signalAll('SIGTERM');
    });
    await waitFor('it has gone', () => pidsWith(token).length === 0);
  });

  test('what the handler of a signal starts does not get that signal', async (t) => {
    const token = sleepToken();
    t.after(() => endAll(pidsWith(token)));
    const { file, open } = gate();
    const ready = `${dir}/ready`;
    const handler = `trap 'read -r line <${file}; sleep ${token}' TERM`;
    const { hold } = await start(`${handler}; : >${ready}; while :; do sleep 0.01; done`);
    await waitFor('it has its handler', () => fs.existsSync(ready));
    containment.together(() => {
      hold.signalAll('SIGTERM');
      open();
      while (pidsWith(`sleep\0${token}`).length === 0);
    });
    await delay(50);
    assert.equal(pidsWith(`sleep\0${token}`).length, 1);
    hold.signalAll('SIGKILL');
    await waitFor('control: it can be ended', () => pidsWith(token).length === 0);
  });
});

test('the peak of an orphan counts, though its leader has gone', async () => {
  const token = sleepToken();
  const { hold, leader } = await start(`(setsid sleep ${token} &)`);
  await leader.ended;
  await one(token);
  await waitFor('it is seen', () => (hold.seen().peakRssBytes ?? 0) > 100_000);
});
