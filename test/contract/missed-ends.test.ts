/** An end that nobody tells of is found: on real processes, with a launcher, a reaper and a hold that keep it to themselves. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { beginAttempt, type Event, type Job } from '../../src/daemon/core/index.ts';
import { becomeSubreaper, ChildReaper, spawnSession } from '../../src/daemon/linux/index.ts';
import type { Containment, Hold } from '../../src/daemon/process/containment.ts';
import { chooseContainment, MissedEnds, OutputFiles, OutputWatch, Runner } from '../../src/daemon/process/index.ts';
import type { Launcher } from '../../src/daemon/process/launcher.ts';
import { PosixLauncher } from '../../src/daemon/process/posix-launcher.ts';
import { tiers } from '../support/daemon.ts';
import { isAlive } from '../support/processes.ts';
import { jobOf } from '../support/records.ts';
import { waitFor } from '../support/wait-for.ts';

const awake = setInterval(() => {}, 60_000); // SIGCHLD alone does not keep Node awake.
before(() => becomeSubreaper());
after(() => clearInterval(awake));

type Ended = Extract<Event, { type: 'leaderExited' | 'emptied' }>;

interface Parts {
  readonly launcher?: (reaper: ChildReaper) => Launcher;
  readonly hold?: (hold: Hold) => Hold;
}

/** What carries attempts out, put together as the daemon does. */
class Stage {
  readonly events: Event[] = [];
  readonly missed: number[] = [];
  readonly reaper = new ChildReaper();
  readonly ends: MissedEnds;
  readonly runner: Runner;
  #nowMs = performance.now();
  #hears = false;

  constructor(t: TestContext, tier: 'cgroup' | 'scan', { launcher, hold }: Parts = {}) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-missed-'));
    const instance = 0xe000_0000 + process.pid * 8 + Stage.#made++;
    const real = chooseContainment({ wanted: tier, instance, uid: process.getuid?.() ?? 0, reaper: this.reaper });
    const containment: Containment = new Proxy(real, {
      get: (target, name) => {
        if (name === 'open' && hold !== undefined) return (attempt: string) => hold(real.open(attempt, null));
        const value = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const output = new OutputFiles(dir);
    this.reaper.onExits = () => real.onExits();
    this.ends = new MissedEnds({
      lookAgain: () => process.kill(process.pid, 'SIGCHLD'),
      onMissed: ({ jobId }) => this.missed.push(jobId),
    });
    this.runner = new Runner({
      containment,
      launcher: launcher?.(this.reaper) ?? new PosixLauncher(this.reaper),
      output,
      watch: new OutputWatch({ output, emit: () => {}, total: { maxBytes: () => null, retainedBytes: () => 0 } }),
      missedEnds: this.ends,
      socket: '',
      reportPipe: '',
      emit: (event) => this.events.push(event),
    });
    t.after(async () => {
      this.hear();
      for (const id of [1, 2]) this.runner.kill(id);
      await waitFor('no child is left', () => {
        this.reaper.reap();
        return this.reaper.adoptedChildren().length === 0;
      });
      this.reaper.stop();
      real.close();
      fs.rmSync(dir, { recursive: true, force: true });
    });
  }

  static #made = 0;

  hear(): void {
    if (!this.#hears) this.reaper.start();
    this.#hears = true;
  }

  /** As if the kernel did not send SIGCHLD. Returns how to hear it again. */
  loseSignals(): () => void {
    const listeners = process.listeners('SIGCHLD');
    const deaf = () => {};
    process.on('SIGCHLD', deaf);
    for (const listener of listeners) process.off('SIGCHLD', listener);
    return () => {
      for (const listener of listeners) process.on('SIGCHLD', listener);
      process.off('SIGCHLD', deaf);
    };
  }

  async launch(id: number, command: string): Promise<{ job: Job; pid: number }> {
    const spec = { command: ['/bin/sh', '-c', command], cwd: '/', env: { PATH: process.env.PATH ?? '' } };
    const job = beginAttempt(jobOf(id, spec), 'scan');
    await this.runner.launch(job);
    const launched = this.events.findLast((event) => event.type === 'launched');
    assert.ok(launched?.type === 'launched' && launched.jobId === id, JSON.stringify(this.events));
    return { job, pid: launched.leader.pid };
  }

  /** One look, so much later. Signals that it sends are heard when this resolves. */
  async lookAfter(seconds: number): Promise<void> {
    this.#nowMs += seconds * 1_000;
    this.ends.look(this.#nowMs);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }

  ended(): Ended[] {
    return this.events.filter((event): event is Ended => event.type === 'leaderExited' || event.type === 'emptied');
  }
}

/** Starts programs and tells nobody that they have ended: the reaper takes their status for an orphan's, and forgets it. */
const silentLauncher = (): Launcher => ({
  name: 'posix_spawn',
  launch: async ({ file, argv, env, cwd, stdio }, inside) => {
    const pid = inside(() => spawnSession({ path: file, argv, env, cwd, stdio }));
    return { pid, ended: new Promise(() => {}) };
  },
});

/** A hold that never says that it is empty. */
const silentHold = (hold: Hold): Hold =>
  new Proxy(hold, {
    get: (target, name) => {
      if (name === 'whenEmpty') return () => {};
      const value = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });

for (const { tier, skip } of tiers) {
  describe(`tier ${tier}: an end that was missed`, { skip }, () => {
    test('a lost SIGCHLD: the leader is found dead, and ends as it would have', async (t) => {
      const stage = new Stage(t, tier);
      stage.hear();
      const hearAgain = stage.loseSignals();
      const { pid } = await stage.launch(1, 'exit 3');
      await waitFor('it is a zombie', () => !isAlive(pid));
      await stage.lookAfter(29);
      await stage.lookAfter(2);
      assert.deepEqual([stage.ended(), stage.missed], [[], []], 'it may be told at this moment');
      hearAgain(); // Only the one signal was lost.
      await stage.lookAfter(2);
      assert.deepEqual(stage.missed, [1]);
      const [end] = stage.ended();
      assert.ok(end?.type === 'leaderExited');
      assert.deepEqual([end.exit, end.remaining], [{ code: 3, signal: null }, 0]);
    });

    test('a lost exit status: it ends, and how is not known; its strays are reported', async (t) => {
      const stage = new Stage(t, tier, { launcher: silentLauncher });
      stage.hear();
      const { pid } = await stage.launch(1, 'sleep 60 & exit 3');
      await waitFor('it has gone', () => !fs.existsSync(`/proc/${pid}`));
      await stage.lookAfter(31);
      await stage.lookAfter(2);
      assert.deepEqual([stage.ended(), stage.missed], [[], [1]]);
      await stage.lookAfter(2);
      const [end] = stage.ended();
      assert.ok(end?.type === 'leaderExited');
      assert.deepEqual([end.exit, end.remaining], [{ code: null, signal: null }, 1]);
      stage.runner.kill(1);
      await waitFor('it is empty', () => stage.ended().length === 2);
      assert.equal(stage.ended()[1]?.type, 'emptied');
    });

    test('a hold that does not say that it is empty', async (t) => {
      const stage = new Stage(t, tier, { hold: silentHold });
      stage.hear();
      await stage.launch(1, 'sleep 60 & exit 0');
      await waitFor('its leader ends', () => stage.ended().length === 1);
      await stage.lookAfter(31);
      await stage.lookAfter(31);
      assert.equal(stage.ended().length, 1, 'its stray is alive');
      stage.runner.kill(1);
      await waitFor('it has gone', async () => {
        await stage.lookAfter(31);
        return stage.ended().length === 2;
      });
      assert.deepEqual([stage.ended()[1]?.type, stage.missed], ['emptied', [1]]);
    });

    test('what lives, and what was told, is left alone', async (t) => {
      const stage = new Stage(t, tier);
      stage.hear();
      await stage.launch(1, 'exec sleep 60');
      await stage.launch(2, 'exit 0');
      await waitFor('it is told', () => stage.ended().length === 1);
      for (const _ of [1, 2, 3, 4]) await stage.lookAfter(31);
      assert.deepEqual([stage.ended().length, stage.missed], [1, []]);
    });
  });
}
