import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  apply,
  decide,
  definitionFrom,
  type Effect,
  type Event,
  emptyState,
  type Group,
  type GroupSettings,
  groupEnters,
  groupView,
  type Instant,
  type Job,
  nextDeadline,
  schedule,
  waitingFor,
} from '../../src/daemon/core/index.ts';
import { type JobSpec, maxGroups, type RunPending } from '../../src/protocol/index.ts';
import { groupOf, instant } from '../support/records.ts';

const at = (monoMs: number): Instant => instant(monoMs, Date.parse('2027-01-31T06:00:00Z') + monoMs);

class Daemon {
  readonly state = emptyState();
  nowMs = 0;

  constructor(...groups: Group[]) {
    for (const group of [groupOf('default'), ...groups]) apply(this.state, groupEnters(group, at(0)));
  }

  turn(...events: Event[]): Effect[] {
    const now = at(this.nowMs);
    const steps = [
      ...events.map((event) => () => decide(this.state, event, now)),
      () => schedule(this.state, 'scan', now),
    ];
    return steps.flatMap((step) => {
      const { changes, effects } = step();
      apply(this.state, changes);
      return effects;
    });
  }

  /** Lets the alarm ring until nothing is left to wait for. Returns when each job started. */
  startsUntil(endMs: number): number[] {
    const startsMs: number[] = [];
    for (let due = nextDeadline(this.state); due !== null && due <= endMs; due = nextDeadline(this.state)) {
      assert.ok(due >= this.nowMs);
      this.nowMs = due;
      startsMs.push(...this.turn({ type: 'tick' }).flatMap((effect) => (effect.type === 'launch' ? [due] : [])));
    }
    this.nowMs = endMs;
    return startsMs.map((ms) => ms ?? 0);
  }

  set(name: string, settings: GroupSettings): Effect[] {
    return this.turn({ type: 'setGroup', request: 1, name, settings });
  }

  add(name: string, settings: GroupSettings = {}): string {
    return told(this.turn({ type: 'addGroup', request: 1, name, settings }));
  }

  remove(name: string): string {
    return told(this.turn({ type: 'removeGroup', request: 1, name }));
  }

  submit(...specs: Partial<JobSpec>[]): number[] {
    const definitions = specs.map((spec) => definitionFrom({ command: ['true'], env: {}, cwd: '/', ...spec }));
    return started(this.turn({ type: 'submit', request: 1, definitions, known: new Map(), ended: new Map() }));
  }

  ends(jobId: number): number[] {
    return started(this.turn({ type: 'launchFailed', jobId, message: '', exit: { code: 127, signal: null } }));
  }

  runPending(name: string): RunPending | string {
    const [effect] = this.turn({ type: 'runPending', request: 1, name, tier: 'scan' }).filter(
      ({ type }) => type === 'reply' || type === 'refuse',
    );
    if (effect?.type === 'refuse') return `${effect.code}: ${effect.message}`;
    return (effect?.type === 'reply' ? effect.result : null) as RunPending;
  }

  job(id: number): Job {
    return this.state.live.get(id) as Job;
  }

  why(id: number, detail: 'brief' | 'full' = 'full'): string | null {
    return waitingFor(this.state, this.job(id), detail);
  }

  view(name: string) {
    const found = this.state.groups.get(name);
    return found && groupView(found);
  }
}

function started(effects: readonly Effect[]): number[] {
  return effects.flatMap((effect) => (effect.type === 'launch' ? [effect.job.id] : []));
}

function told(effects: readonly Effect[]): string {
  return effects
    .flatMap((effect) => (effect.type === 'refuse' ? [`${effect.code}: ${effect.message}`] : effect.type))
    .join();
}

describe('groups are made and removed', () => {
  test('a new group has one slot, no rate and mode auto, unless more is said', () => {
    const daemon = new Daemon();
    assert.equal(daemon.add('nightly'), 'reply');
    assert.deepEqual(daemon.view('nightly'), {
      name: 'nightly',
      parallel: 1,
      maxQueued: 10_000,
      rate: null,
      burst: 1,
      mode: 'auto',
      paused: false,
      queued: 0,
      active: 0,
      starts: 0,
      ends: 0,
    });
  });

  test('to make it again just so is no error, and to make it otherwise is one', () => {
    const daemon = new Daemon();
    daemon.add('nightly', { parallel: 2 });
    assert.equal(daemon.add('nightly', { parallel: 2 }), 'reply');
    assert.match(daemon.add('nightly'), /^GROUP_EXISTS: .* corral group set nightly$/);
    assert.match(daemon.add('default', { parallel: 99 }), /^GROUP_EXISTS/);
  });

  test('there is a bound on how many there are', () => {
    const daemon = new Daemon();
    for (let index = 1; index < maxGroups; index += 1) assert.equal(daemon.add(`g${index}`), 'reply');
    assert.match(daemon.add('more'), /^TOO_MANY_GROUPS: There are 1000 groups/);
    assert.equal(daemon.add('g7'), 'reply', 'one that is there');
    assert.equal(daemon.remove('g7'), 'reply');
    assert.equal(daemon.add('more'), 'reply');
  });

  test('a group with jobs that have not ended stays; afterwards it goes, and takes no more jobs', () => {
    const daemon = new Daemon();
    daemon.add('nightly');
    daemon.submit({ group: 'nightly' }, { group: 'nightly' });
    assert.equal(
      daemon.remove('nightly'),
      'GROUP_NOT_EMPTY: Group "nightly" has 2 jobs that have not ended: 1 queued, 1 active. List them: corral ls -g nightly; end them: corral cancel --group nightly; then remove it.',
    );
    daemon.ends(1);
    assert.match(
      daemon.remove('nightly'),
      /^GROUP_NOT_EMPTY: Group "nightly" has a job that has not ended: 0 queued, 1 a/,
    );
    daemon.ends(2);
    assert.equal(daemon.remove('nightly'), 'reply');
    assert.equal(daemon.view('nightly'), undefined);
    const [refused] = daemon.turn({
      type: 'submit',
      request: 1,
      definitions: [definitionFrom({ command: ['true'], env: {}, cwd: '/', group: 'nightly' })],
      known: new Map(),
      ended: new Map(),
    });
    assert.match(told(refused ? [refused] : []), /^GROUP_NOT_FOUND: There is no group "nightly"/);
  });

  test('the default group cannot be removed, and one that is not there neither', () => {
    const daemon = new Daemon();
    assert.match(daemon.remove('default'), /^INVALID_PARAMS: .*corral group set default --parallel 0$/);
    assert.match(daemon.remove('nope'), /^GROUP_NOT_FOUND/);
  });

  test('a refusal names some of many groups', () => {
    const daemon = new Daemon();
    for (let index = 1; index <= 30; index += 1) daemon.add(`g${index}`);
    assert.match(daemon.remove('nope'), /there is: default, g1, g2, .*, g9 and 21 more\.$/);
  });
});

describe('a rate', () => {
  const rated = (settings: Partial<Group> = {}) => groupOf('r', { parallel: 99, ratePerSecond: 10, ...settings });
  const many = (count: number) => Array.from({ length: count }, () => ({ group: 'r' }));

  test('lets one job start at once and then one in each interval, by one alarm', () => {
    const daemon = new Daemon(rated());
    assert.deepEqual(daemon.submit(...many(5)), [1]);
    assert.equal(nextDeadline(daemon.state), 100);
    assert.deepEqual(daemon.startsUntil(10_000), [100, 200, 300, 400]);
    assert.equal(nextDeadline(daemon.state), null, 'nothing more is waited for');
  });

  test('lets a burst through, but only one after a start of the daemon', () => {
    const daemon = new Daemon(rated({ burst: 3 }));
    assert.deepEqual(daemon.submit(...many(2)), [1]);
    assert.deepEqual(daemon.startsUntil(1_000), [100]);
    assert.deepEqual(daemon.submit(...many(5)), [3, 4, 5]);
    assert.deepEqual(daemon.startsUntil(2_000), [1_100, 1_200]);
  });

  describe('with a burst of 1, a start that comes late does not put off those after it', () => {
    /** When the daemon gets to it, and which jobs start then. */
    type Turns = readonly (readonly [atMs: number, starts: readonly number[]])[];
    const cases: { name: string; jobs?: number; turns: Turns; nextMs: number | null }[] = [
      {
        name: 'in time',
        turns: [
          [100, [2]],
          [200, [3]],
        ],
        nextMs: 300,
      },
      {
        name: 'late by less than an interval, again and again',
        turns: [
          [130, [2]],
          [299, [3]],
          [399, [4]],
        ],
        nextMs: 400,
      },
      { name: 'late by an interval: two at once', turns: [[200, [2, 3]]], nextMs: 300 },
      { name: 'late by more: no more than that is made up for', turns: [[950, [2, 3]]], nextMs: 1_050 },
      {
        name: 'nothing is saved up where no job waits',
        jobs: 2,
        turns: [
          [130, [2]],
          [5_000, []],
        ],
        nextMs: null,
      },
    ];
    for (const { name, jobs = 9, turns, nextMs } of cases)
      test(name, () => {
        const daemon = new Daemon(rated());
        daemon.submit(...many(jobs));
        for (const [atMs, starts] of turns) {
          daemon.nowMs = atMs;
          assert.deepEqual(started(daemon.turn({ type: 'tick' })), starts, `at ${atMs} ms`);
        }
        assert.equal(nextDeadline(daemon.state), nextMs);
      });

    test('a job that comes when the token has been there for long, or that waited for a slot, is not late', () => {
      const daemon = new Daemon(rated({ parallel: 1 }));
      daemon.submit(...many(3));
      daemon.nowMs = 190;
      assert.deepEqual(daemon.ends(1), [2]);
      assert.deepEqual(daemon.ends(2), []);
      assert.equal(nextDeadline(daemon.state), 290);
    });

    test('with a larger burst the bucket makes up for it, and no more start than that', () => {
      const daemon = new Daemon(rated({ burst: 2 }));
      daemon.submit(...many(9));
      daemon.nowMs = 950;
      assert.deepEqual(started(daemon.turn({ type: 'tick' })), [2, 3]);
      assert.equal(nextDeadline(daemon.state), 1_050);
    });
  });

  test('does not ring the alarm where a slot is what is missing', () => {
    const daemon = new Daemon(rated({ parallel: 1 }));
    daemon.submit(...many(2));
    assert.equal(nextDeadline(daemon.state), null);
    daemon.nowMs = 30;
    assert.deepEqual(daemon.ends(1), []);
    assert.equal(nextDeadline(daemon.state), 100);
    assert.deepEqual(daemon.startsUntil(100), [100]);
  });

  test('does not ring the alarm while the group is paused, and none while the daemon stops', () => {
    const daemon = new Daemon(rated());
    daemon.submit(...many(3));
    daemon.set('r', { paused: true });
    assert.equal(nextDeadline(daemon.state), null);
    daemon.set('r', { paused: false });
    assert.equal(nextDeadline(daemon.state), 100);
    daemon.turn({ type: 'shutdown' });
    assert.equal(nextDeadline(daemon.state), null);
  });

  test('rings the alarm once where nothing can be started then, because the store fails', () => {
    const daemon = new Daemon(rated());
    daemon.submit(...many(2));
    const { changes } = decide(daemon.state, { type: 'tick' }, at(100));
    apply(daemon.state, changes);
    assert.equal(nextDeadline(daemon.state), null);
    daemon.nowMs = 300;
    assert.deepEqual(started(daemon.turn()), [2], 'and the job starts when it works again');
  });

  test('that is changed keeps what had been saved up, and one that is set anew begins with one', () => {
    const daemon = new Daemon(rated({ burst: 4 }));
    daemon.nowMs = 10_000;
    daemon.set('r', { ratePerSecond: 1 });
    assert.equal(daemon.submit(...many(9)).length, 4);
    daemon.set('r', { ratePerSecond: null });
    const other = new Daemon(groupOf('r', { parallel: 99, burst: 4 }));
    other.nowMs = 10_000;
    other.set('r', { ratePerSecond: 1 });
    assert.equal(other.submit(...many(9)).length, 1);
  });

  test('below one in an hour is kept too', () => {
    const daemon = new Daemon(rated({ ratePerSecond: 1 / 86_400 }));
    daemon.submit(...many(2));
    assert.equal(Math.round(nextDeadline(daemon.state) ?? 0), 86_400_000);
  });

  test('counts a job that goes back to its queue', () => {
    const daemon = new Daemon(rated());
    daemon.submit({ group: 'r' });
    daemon.turn({ type: 'launchLackedSpace', jobId: 1, shortage: 'no room' }, { type: 'diskChecked', shortage: null });
    assert.equal(daemon.job(1).phase.status, 'queued');
    assert.deepEqual(daemon.startsUntil(1_000), [100]);
  });
});

test('a group with many free slots fills them over several turns, so that others are served in between', () => {
  const daemon = new Daemon(groupOf('wide', { parallel: 70 }), groupOf('other'));
  const wide = Array.from({ length: 80 }, () => ({ group: 'wide' }));
  const definitions = [...wide, { group: 'other' }].map((spec) =>
    definitionFrom({ command: ['true'], env: {}, cwd: '/', ...spec }),
  );
  const turns: [starts: number[], goesOn: boolean][] = [];
  for (
    let events: Event[] = [{ type: 'submit', request: 1, definitions, known: new Map(), ended: new Map() }];
    ;
    events = []
  ) {
    const effects = daemon.turn(...events);
    const goesOn = effects.some(({ type }) => type === 'goOn');
    turns.push([started(effects), goesOn]);
    if (!goesOn) break;
  }
  const ids = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
  assert.deepEqual(turns, [
    [[...ids(1, 32), 81], true],
    [ids(33, 64), true],
    [ids(65, 70), false],
  ]);
});

test('the figures of a group add up: what was submitted is queued, active or ended', () => {
  const daemon = new Daemon(groupOf('g', { parallel: 3 }));
  const figures = () => {
    const { queued = 0, active = 0, starts = 0, ends = 0 } = daemon.view('g') ?? {};
    assert.equal(queued + active + ends, 10);
    return { queued, active, starts, ends };
  };
  daemon.submit(...Array.from({ length: 10 }, () => ({ group: 'g' })));
  assert.deepEqual(figures(), { queued: 7, active: 3, starts: 3, ends: 0 });
  daemon.ends(1);
  assert.deepEqual(figures(), { queued: 7 - 1, active: 3, starts: 4, ends: 1 });
  daemon.turn({ type: 'cancel', request: 1, jobIds: [10], mode: 'graceful', ended: new Map() });
  assert.deepEqual(figures(), { queued: 5, active: 3, starts: 4, ends: 2 });
});

describe('sequential mode', () => {
  const manual = (settings: Partial<Group> = {}) => groupOf('seq', { mode: 'manual', ...settings });
  const cannot = (pending: number, message: string) => ({
    total_pending: pending,
    started: 0,
    job_ids: [],
    message: `Cannot start new job: ${message}`,
  });

  test('the next job by priority, then age, starts when it is asked for, and only one at a time', () => {
    const daemon = new Daemon(manual());
    assert.deepEqual(daemon.submit({ group: 'seq' }, { group: 'seq', priority: 5 }, { group: 'seq', priority: 5 }), []);
    assert.deepEqual(daemon.runPending('seq'), {
      total_pending: 3,
      started: 1,
      job_ids: [2],
      message: 'Started job 2; 2 more are pending.',
    });
    assert.deepEqual(daemon.runPending('seq'), cannot(2, '1 job(s) already running. Only one job can run at a time.'));
    assert.deepEqual(daemon.ends(2), [], 'the end of one does not start the next');
    assert.deepEqual((daemon.runPending('seq') as RunPending).job_ids, [3]);
    daemon.ends(3);
    assert.deepEqual(daemon.runPending('seq'), {
      total_pending: 1,
      started: 1,
      job_ids: [1],
      message: 'Started job 1; no more are pending.',
    });
    daemon.ends(1);
    assert.deepEqual(daemon.runPending('seq'), cannot(0, 'no job is pending in group "seq".'));
  });

  test('with several slots as many run', () => {
    const daemon = new Daemon(manual({ parallel: 3 }));
    daemon.submit(...Array.from({ length: 5 }, () => ({ group: 'seq' })));
    for (const id of [1, 2, 3]) assert.deepEqual((daemon.runPending('seq') as RunPending).job_ids, [id]);
    assert.deepEqual(daemon.runPending('seq'), cannot(2, '3 job(s) already running. Only 3 jobs can run at a time.'));
  });

  test('a group that starts its jobs by itself is not run by hand, and one that is not there neither', () => {
    const daemon = new Daemon();
    assert.match(String(daemon.runPending('default')), /^INVALID_PARAMS: .*corral group set default --mode manual$/);
    assert.match(String(daemon.runPending('nope')), /^GROUP_NOT_FOUND/);
  });

  const refusals: {
    name: string;
    group?: Partial<Group>;
    jobs?: Partial<JobSpec>[];
    before?: (daemon: Daemon) => void;
    message: string;
  }[] = [
    {
      name: 'no slots',
      group: { parallel: 0 },
      message: 'group "seq" has no slots. Give it some: corral group set seq --parallel 1',
    },
    {
      name: 'a paused group',
      group: { paused: true },
      message: 'group "seq" is paused. Let it go on: corral group resume seq',
    },
    {
      name: 'a daemon without room',
      before: (daemon) => daemon.turn({ type: 'diskChecked', shortage: 'The disk is full.' }),
      message: 'The disk is full. Nothing is started until there is room.',
    },
    {
      name: 'a daemon that stops',
      before: (daemon) => daemon.turn({ type: 'shutdown' }),
      message: 'the daemon is stopping.',
    },
    {
      name: 'a delay',
      jobs: [{ delayMs: 5_000 }, { delayMs: 5_000 }],
      message: 'no pending job of group "seq" is ready: 2 wait for their time.',
    },
    {
      name: 'a rate',
      group: { ratePerSecond: 0.1 },
      before: (daemon) => {
        daemon.submit({ group: 'seq', priority: 1 });
        daemon.runPending('seq');
        daemon.ends(2);
      },
      message: 'the rate of group "seq" allows the next start in 10s.',
    },
  ];
  for (const { name, group = {}, jobs = [{}], before, message } of refusals) {
    test(`${name} is respected, and named`, () => {
      const daemon = new Daemon(manual(group));
      daemon.submit(...jobs.map((spec) => ({ ...spec, group: 'seq' })));
      before?.(daemon);
      assert.deepEqual(daemon.runPending('seq'), cannot(jobs.length, message));
    });
  }
});

describe('why a job has not started', () => {
  const two = [{}, {}];
  const cases: {
    name: string;
    group?: Partial<Group>;
    jobs: Partial<JobSpec>[];
    before?: (daemon: Daemon) => void;
    why: string;
  }[] = [
    { name: 'one slot', jobs: [...two, {}], why: 'The slot of group "g" is in use; 1 job is before it.' },
    {
      name: 'several slots',
      group: { parallel: 2 },
      jobs: [...two, ...two, {}],
      why: 'All 2 slots of group "g" are in use; 2 jobs are before it.',
    },
    { name: 'the next in line', jobs: two, why: 'The slot of group "g" is in use.' },
    {
      name: 'a better one',
      jobs: [{}, { priority: 1 }, {}],
      why: 'The slot of group "g" is in use; 1 job is before it.',
    },
    {
      name: 'no slots',
      group: { parallel: 0 },
      jobs: [{}],
      why: 'Group "g" has no slots. Give it some: corral group set g --parallel 1',
    },
    {
      name: 'a pause',
      group: { paused: true },
      jobs: [{}],
      why: 'Group "g" is paused. Let it go on: corral group resume g',
    },
    {
      name: 'mode manual',
      group: { mode: 'manual' },
      jobs: [{}, {}],
      before: (daemon) => daemon.runPending('g'),
      why: 'Group "g" starts a job only when it is told to: corral run-pending -g g',
    },
    {
      name: 'a rate',
      group: { parallel: 9, ratePerSecond: 1 / 12 },
      jobs: [{}, {}, {}],
      why: 'Group "g" starts 5/m at most; 1 job is before it.',
    },
    { name: 'a delay', jobs: [{ delayMs: 90_000 }], why: 'It starts no sooner than 2027-01-31T06:01:30.000Z.' },
    {
      name: 'other jobs',
      group: { parallel: 0 },
      jobs: [{}, {}],
      before: (daemon) => {
        daemon.submit({ after: [1, 2], group: 'g' });
      },
      why: 'It waits for job 1, 2 to end.',
    },
    {
      name: 'no room on the disk',
      group: { paused: false },
      jobs: [{ delayMs: 1 }],
      before: (daemon) => {
        daemon.turn({ type: 'diskChecked', shortage: 'The disk is full.' });
        daemon.startsUntil(1);
      },
      why: 'The disk is full. Nothing is started until there is room.',
    },
  ];
  for (const { name, group = {}, jobs, before, why } of cases) {
    test(name, () => {
      const daemon = new Daemon(groupOf('g', group));
      daemon.submit(...jobs.map((spec) => ({ ...spec, group: 'g' })));
      before?.(daemon);
      assert.equal(daemon.why(daemon.state.nextJobId - 1), why);
    });
  }

  test('a held job is held, whatever else', () => {
    const daemon = new Daemon(groupOf('g', { parallel: 0 }));
    daemon.submit({ group: 'g', delayMs: 50 });
    const job = daemon.job(1);
    apply(daemon.state, [
      { kind: 'job', before: job, after: { ...job, queue: { ...job.queue, held: { by: 'job' } } } },
    ]);
    assert.equal(daemon.why(1), 'It is paused. Let it go on: corral resume 1');
  });

  test('a job that has started waits for nothing, and a brief look counts nobody', () => {
    const daemon = new Daemon();
    daemon.submit({}, {}, {});
    assert.equal(daemon.why(1), null);
    assert.equal(daemon.why(3, 'brief'), 'The slot of group "default" is in use.');
  });
});
