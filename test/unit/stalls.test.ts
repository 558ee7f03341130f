import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  apply,
  beginAttempt,
  decide,
  definitionFrom,
  emptyState,
  type Group,
  Heap,
  type Job,
  justRunning,
  loadOf,
  noUsage,
  QueueWatch,
  type State,
  stalledLaunches,
  withAttempt,
  withPhase,
} from '../../src/daemon/core/index.ts';
import { SlidingMax, SlidingSum } from '../../src/daemon/loop/sliding.ts';
import type { Log, ProcessShell } from '../../src/daemon/shells.ts';
import { SqliteStore } from '../../src/daemon/store/index.ts';
import { Supervisor } from '../../src/daemon/supervisor.ts';
import { groupOf, instant, jobOf } from '../support/records.ts';

function stateWith(jobs: readonly Job[], settings: Partial<Group> = {}): State {
  const state = emptyState();
  apply(state, [
    { kind: 'group', before: null, after: groupOf('default', { parallel: 2, ...settings }) },
    ...jobs.map((after) => ({ kind: 'job', before: null, after }) as const),
  ]);
  return state;
}

/** Beats of the daemon from one second to another. Returns what has stalled at the last. */
function beats(watch: QueueWatch, state: State, fromS: number, toS: number) {
  let found = watch.look(state, instant(fromS * 1_000));
  for (let second = fromS + 1; second <= toS; second += 1) found = watch.look(state, instant(second * 1_000));
  return found.map(({ group, jobId }) => [group, jobId]);
}

describe('a queue that stands still', () => {
  test('is found after 5 s, and not before', () => {
    const state = stateWith([jobOf(1), jobOf(2)]);
    const watch = new QueueWatch();
    assert.deepEqual(beats(watch, state, 0, 5), []);
    assert.deepEqual(beats(watch, state, 6, 6), [['default', 1]]);
    apply(state, [{ kind: 'job', before: jobOf(1), after: beginAttempt(jobOf(1), 'scan') }]);
    assert.deepEqual(beats(watch, state, 7, 12), [], 'a start is movement');
    assert.deepEqual(beats(watch, state, 13, 13), [['default', 2]]);
  });

  const running = (id: number) => withPhase(beginAttempt(jobOf(id), 'scan'), justRunning);
  const late = (id: number) => jobOf(id, { delayMs: 60_000 });
  const fine: readonly {
    name: string;
    jobs: readonly Job[];
    settings?: Partial<Group>;
    admission?: State['admission'];
  }[] = [
    { name: 'nothing is queued', jobs: [running(1)] },
    { name: 'no slot is free', jobs: [running(1), running(2), jobOf(3)] },
    { name: 'the group has no slots', jobs: [jobOf(1)], settings: { parallel: 0 } },
    { name: 'the group is paused', jobs: [jobOf(1)], settings: { paused: true } },
    { name: 'the group is manual', jobs: [jobOf(1)], settings: { mode: 'manual' } },
    { name: 'the job waits for its time', jobs: [late(1)] },
    {
      name: 'the job is paused',
      jobs: [{ ...jobOf(1), queue: { ...jobOf(1).queue, held: { by: 'job' } } }],
    },
    { name: 'the disk is full', jobs: [jobOf(1)], admission: { pausedFor: 'No room.' } },
    { name: 'the daemon is stopping', jobs: [jobOf(1)], admission: 'closing' },
  ];
  for (const { name, jobs, settings, admission } of fine) {
    test(`is none where ${name}`, () => {
      const state = stateWith(jobs, settings);
      if (admission !== undefined) state.admission = admission;
      assert.deepEqual(beats(new QueueWatch(), state, 0, 30), []);
    });
  }

  test('is none where the next token is still to come', () => {
    const state = stateWith([jobOf(1)], { ratePerSecond: 0.1 });
    const bucket = { fullAtMonoMs: 8_000, wakeAtMonoMs: 8_000, isAwaited: true };
    apply(state, [
      {
        kind: 'bucket',
        group: 'default',
        before: { fullAtMonoMs: 0, wakeAtMonoMs: null, isAwaited: false },
        after: bucket,
      },
    ]);
    const watch = new QueueWatch();
    assert.deepEqual(beats(watch, state, 0, 13), []);
    assert.deepEqual(beats(watch, state, 14, 14), [['default', 1]], 'there is one, and nobody takes it');
  });

  test('is none where the daemon itself was held up', () => {
    const state = stateWith([jobOf(1)]);
    const watch = new QueueWatch();
    assert.deepEqual(beats(watch, state, 0, 2), []);
    assert.deepEqual(beats(watch, state, 40, 45), []);
    assert.deepEqual(beats(watch, state, 46, 46), [['default', 1]]);
  });
});

describe('a queue that forgets a job', () => {
  /** As in the daemon, with processes that are never there, and a clock by hand. */
  function supervisorAt(clock: { monoMs: number }): { supervisor: Supervisor; launched: number[]; errors: string[] } {
    const launched: number[] = [];
    const errors: string[] = [];
    const never = () => {};
    const processes = new Proxy({ tier: 'scan' } as ProcessShell, {
      get: (shell, name) => (name === 'launch' ? (job: Job) => launched.push(job.id) : Reflect.get(shell, name)),
    });
    const log: Log = { debug: never, info: never, warn: never, error: (message) => void errors.push(message) };
    const store = new SqliteStore(':memory:');
    const supervisor = new Supervisor({
      store,
      processes,
      output: { facts: () => ({ files: [], bytes: 0 }), drop: () => null, remove: never },
      clock: () => instant(clock.monoMs),
      log,
      onWritten: never,
      onDrained: never,
    });
    supervisor.recover(store.load(), [groupOf('default', { parallel: 2 })]);
    return { supervisor, launched, errors };
  }

  const submit = (supervisor: Supervisor) =>
    supervisor.ask({ type: 'submit', definitions: [definitionFrom({ command: ['true'], env: {}, cwd: '/' })] });

  const pulse = (supervisor: Supervisor, clock: { monoMs: number }, seconds: number) => {
    for (let second = 0; second < seconds; second += 1) {
      clock.monoMs += 1_000;
      supervisor.lookForStalls();
    }
  };

  test('is found in the running loop, named, logged once, and over when it goes on', async (t) => {
    const clock = { monoMs: 0 };
    const { supervisor, launched, errors } = supervisorAt(clock);
    await submit(supervisor);
    pulse(supervisor, clock, 10);
    assert.deepEqual([launched, supervisor.vitals().stalledQueues, errors], [[1], [], []], 'all is well');

    const lost = t.mock.method(Heap.prototype, 'push', () => {});
    await submit(supervisor);
    lost.mock.restore();
    pulse(supervisor, clock, 5);
    assert.deepEqual(supervisor.vitals().stalledQueues, []);
    pulse(supervisor, clock, 3);
    assert.deepEqual(
      supervisor.vitals().stalledQueues.map(({ group, jobId }) => [group, jobId]),
      [['default', 2]],
    );
    assert.deepEqual(errors, ['queue stalled']);

    await supervisor.ask({ type: 'cancel', jobIds: [2], mode: 'kill' });
    pulse(supervisor, clock, 1);
    assert.deepEqual(supervisor.vitals().stalledQueues, []);
  });
});

test('a launch that does not answer is found after 30 s', () => {
  const state = stateWith([jobOf(1), beginAttempt(jobOf(2), 'scan', 1_000), beginAttempt(jobOf(3), 'scan', 2_000)]);
  assert.deepEqual(stalledLaunches(state, instant(31_000)), []);
  assert.deepEqual(stalledLaunches(state, instant(31_500)), [2]);
});

test('a job whose end was found, and not told, says so', () => {
  const job = withPhase(beginAttempt(jobOf(1), 'scan'), justRunning);
  const exit = { code: null, signal: null };
  const event = { type: 'leaderExited', jobId: 1, exit, remaining: 0, usage: noUsage } as const;
  const [change] = decide(stateWith([job]), event, instant(9)).changes;
  assert.ok(change?.kind === 'job');
  assert.match(change.after.attempts[0]?.message ?? '', /^its leader has ended, and how is not known/);
});

describe('figures of the load', () => {
  const started = (id: number, startedWallMs: number) =>
    withPhase(withAttempt(beginAttempt(jobOf(id, {}, 0), 'scan'), { startedWallMs }), justRunning);

  test('name the oldest of what waits and of what runs', () => {
    const state = stateWith([jobOf(1, {}, 500), jobOf(2, {}, 100), started(3, 900), started(4, 700)]);
    apply(state, [{ kind: 'group', before: null, after: groupOf('night', { parallel: 8, paused: true }) }]);
    assert.deepEqual(loadOf(state, instant(1_000)), {
      queued: 2,
      active: 2,
      slots: 2,
      groups: [
        { name: 'default', queued: 2, active: 2, slots: 2 },
        { name: 'night', queued: 0, active: 0, slots: 0 },
      ],
      oldestQueued: { jobId: 2, sinceMs: 900 },
      longestRunning: { jobId: 4, sinceMs: 300 },
    });
  });

  test('have no one where there is none, and no time before now where the clock was set back', () => {
    const { oldestQueued, longestRunning } = loadOf(stateWith([]), instant(0));
    assert.deepEqual([oldestQueued, longestRunning], [null, null]);
    assert.equal(loadOf(stateWith([jobOf(1, {}, 5_000)]), instant(0)).oldestQueued?.sinceMs, 0);
  });

  test('slide over a minute', () => {
    const sum = new SlidingSum();
    const max = new SlidingMax();
    assert.deepEqual([sum.lastMinute(0), max.lastMinute(0)], [0, 0]);
    for (const [atMs, value] of [
      [100, 5],
      [900, 7],
      [30_000, 3],
    ] as const) {
      sum.add(value, atMs);
      max.add(value, atMs);
    }
    assert.deepEqual([sum.lastMinute(59_999), max.lastMinute(59_999)], [15, 7]);
    assert.deepEqual([sum.lastMinute(60_000), max.lastMinute(60_000)], [3, 3]);
    assert.deepEqual([sum.lastMinute(90_000), max.lastMinute(90_000)], [0, 0]);
  });
});
