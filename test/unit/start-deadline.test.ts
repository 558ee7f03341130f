/** The start deadline of jobs that wait: it stands still while the job or its group is paused, and goes on with what was left. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  apply,
  builtInDefaults,
  type Change,
  decide,
  definitionFrom,
  type Effect,
  type Event,
  emptyState,
  hasEnded,
  type Instant,
  isLasting,
  type Job,
  nextDeadline,
  recover,
  revived,
  schedule,
} from '../../src/daemon/core/index.ts';
import type { JobEdit, JobSpec } from '../../src/protocol/index.ts';
import { groupOf, instant } from '../support/records.ts';

const dayMs = 86_400_000;

/** Groups without slots, so that jobs wait, and a store that is given only what is lasting. */
class Queues {
  state = emptyState();
  readonly stored = new Map<number, Job>();
  /** When jobs ended, and for what. */
  readonly ends = new Map<number, { atMs: number; cause: string }>();
  /** Since the begin, on a clock that nobody sets. */
  nowMs = 0;
  bootId = 'first';
  #bootMs = 0;
  #jumpMs = 0;

  constructor() {
    for (const name of ['default', 'b'])
      apply(this.state, [{ kind: 'group', before: null, after: groupOf(name, { parallel: 0 }) }]);
  }

  get now(): Instant {
    const wallMs = 1_800_000_000_000 + this.nowMs + this.#jumpMs;
    return { ...instant(this.nowMs - this.#bootMs, wallMs), bootId: this.bootId };
  }

  do(...events: Event[]): Effect[] {
    const effects: Effect[] = [];
    for (const event of events) effects.push(...this.#take(decide(this.state, this.#withFacts(event), this.now)));
    effects.push(...this.#take(schedule(this.state, 'scan', this.now)));
    return effects;
  }

  #withFacts(event: Event): Event {
    if (!('ended' in event)) return event;
    return { ...event, ended: new Map([...this.stored].filter(([id]) => !this.state.live.has(id))) };
  }

  #take({ changes, effects }: { changes: readonly Change[]; effects: readonly Effect[] }): readonly Effect[] {
    apply(this.state, changes);
    for (const change of changes) {
      if (change.kind !== 'job') continue;
      const { id, phase } = change.after;
      if (isLasting(change)) this.stored.set(id, change.after);
      if (hasEnded(phase)) this.ends.set(id, { atMs: this.nowMs, cause: phase.cause });
    }
    return effects;
  }

  /** The alarm rings whenever it is due. */
  pass(ms: number): this {
    const untilMs = this.nowMs + ms;
    for (let due = this.#due(); due !== null && due <= untilMs; due = this.#due()) {
      this.nowMs = Math.max(this.nowMs, due);
      this.do({ type: 'tick' });
    }
    this.nowMs = untilMs;
    return this;
  }

  #due(): number | null {
    const monoMs = nextDeadline(this.state);
    return monoMs === null ? null : monoMs + this.#bootMs;
  }

  setClock(byMs: number): void {
    this.#jumpMs += byMs;
  }

  /** SIGKILL, and a daemon that comes so much later, perhaps after a boot, and finds what the store kept. */
  restart({ downMs, boots = false }: { downMs: number; boots?: boolean }): void {
    const groups = [...this.state.groups.values()].map(({ group }) => group);
    this.nowMs += downMs;
    if (boots) {
      this.#bootMs = this.nowMs - 7;
      this.bootId += '+';
    }
    this.state = emptyState(this.state.nextJobId);
    const kept = [...this.stored.values()].filter(({ phase }) => !hasEnded(phase));
    const jobs = revived(kept.map(withoutTimes), this.now);
    apply(this.state, [
      ...groups.map((after): Change => ({ kind: 'group', before: null, after })),
      ...jobs.map((after): Change => ({ kind: 'job', before: null, after })),
    ]);
    this.#take({ changes: recover(this.state, jobs, () => 0, this.now), effects: [] });
    this.pass(0);
  }

  submit(spec: Partial<JobSpec>): void {
    const definitions = [definitionFrom({ command: ['true'], env: {}, cwd: '/', ...spec })];
    this.do({ type: 'submit', request: 1, definitions, known: new Map(), ended: new Map() });
  }

  pauseGroup(name = 'default', running: 'pause' | 'letRun' = 'pause'): void {
    this.do({ type: 'pauseGroup', request: 1, name, running });
  }

  resumeGroup(name = 'default'): void {
    this.do({ type: 'resumeGroup', request: 1, name });
  }

  set(settings: { parallel?: number; paused?: boolean }, name = 'default'): void {
    this.do({ type: 'setGroup', request: 1, name, settings });
  }

  edit(edit: JobEdit, jobId = 1): void {
    this.do({ type: 'edit', request: 1, jobIds: [jobId], ended: new Map(), edit, defaults: builtInDefaults });
  }

  move(group: string, jobId = 1): void {
    this.do({ type: 'move', request: 1, jobIds: [jobId], ended: new Map(), group });
  }

  pause(jobId = 1): void {
    this.do({ type: 'pause', request: 1, jobIds: [jobId], ended: new Map() });
  }

  resume(jobId = 1): void {
    this.do({ type: 'resume', request: 1, jobIds: [jobId], ended: new Map() });
  }

  /** In how long the job fails, if nothing else happens; `null`: it does not. */
  leftMs(jobId = 1): number | null {
    const phase = this.state.live.get(jobId)?.phase;
    assert.equal(phase?.status, 'queued');
    return phase?.status === 'queued' && phase.startByMonoMs !== null ? phase.startByMonoMs - this.now.monoMs : null;
  }
}

/** Of a phase, a store keeps the status. */
function withoutTimes(job: Job): Job {
  const { phase, ...rest } = JSON.parse(JSON.stringify(job)) as Job;
  const times = { readyAtMonoMs: null, startByMonoMs: null, waitsFor: [] };
  return { ...rest, phase: phase.status === 'queued' ? { status: 'queued', ...times } : phase };
}

const leader = { pid: 100, startTicks: 7, bootId: 'b' };
const usage = { cpuMs: null, peakRssBytes: null, outputBytes: null };
const killed: Event = { type: 'leaderExited', jobId: 1, exit: { code: null, signal: 'SIGKILL' }, remaining: 0, usage };

const ways: { name: string; pause: (queues: Queues) => void; resume: (queues: Queues) => void }[] = [
  { name: 'is paused', pause: (queues) => queues.pauseGroup(), resume: (queues) => queues.resumeGroup() },
  {
    name: 'is paused and lets its jobs run',
    pause: (queues) => queues.pauseGroup('default', 'letRun'),
    resume: (queues) => queues.resumeGroup(),
  },
  {
    name: 'is set so',
    pause: (queues) => queues.set({ paused: true }),
    resume: (queues) => queues.set({ paused: false }),
  },
];

describe('while a group', () => {
  for (const { name, pause, resume } of ways) {
    test(`${name}, the start deadlines in it stand still, across a restart and a boot too, and go on with what was left`, () => {
      const queues = new Queues();
      queues.submit({ startDeadlineMs: 1_000 });
      queues.submit({ startDeadlineMs: 1_000, group: 'b' });
      queues.pass(400);
      pause(queues);
      queues.pass(dayMs);
      assert.deepEqual(queues.ends.get(2), { atMs: 1_000, cause: 'start-deadline' }, 'control: another group');
      queues.restart({ downMs: dayMs });
      queues.setClock(dayMs);
      queues.pass(5).restart({ downMs: 5, boots: true });
      assert.equal(queues.leftMs(), null);
      resume(queues);
      assert.equal(queues.leftMs(), 600);
      queues.pass(100).restart({ downMs: 100 });
      assert.equal(queues.leftMs(), 400, 'from then on the time without a daemon counts again');
      queues.pass(1_000);
      assert.equal(queues.ends.get(1)?.cause, 'start-deadline');
    });
  }
});

const arrivals: { name: string; spec?: Partial<JobSpec>; arrive: (queues: Queues) => void; leftMs?: number }[] = [
  {
    name: 'is submitted to it',
    arrive: (queues) => {
      queues.pauseGroup();
      queues.submit({ startDeadlineMs: 1_000 });
    },
  },
  {
    name: 'is moved to it',
    leftMs: 900,
    arrive: (queues) => {
      queues.submit({ startDeadlineMs: 1_000, group: 'b' });
      queues.pauseGroup();
      queues.pass(100).move('default');
    },
  },
  {
    name: 'is moved to it from one that is paused as well',
    leftMs: 900,
    arrive: (queues) => {
      queues.submit({ startDeadlineMs: 1_000, group: 'b' });
      queues.pass(100).pauseGroup('b');
      queues.pauseGroup();
      queues.pass(dayMs).move('default');
      queues.resumeGroup('b');
    },
  },
  {
    name: 'is run again by a client',
    arrive: (queues) => {
      queues.submit({ startDeadlineMs: 1_000 });
      queues.pass(5_000).pauseGroup();
      assert.equal(queues.ends.size, 1);
      queues.do({ type: 'retry', request: 1, jobIds: [1], ended: new Map() });
    },
  },
  {
    name: 'comes back because its supervisor was lost',
    arrive: (queues) => {
      queues.set({ parallel: 1 });
      queues.submit({ startDeadlineMs: 1_000, onSupervisorLost: 'retry' });
      queues.do({ type: 'launched', jobId: 1, leader });
      queues.pauseGroup();
      queues.restart({ downMs: 10 });
    },
  },
  {
    name: 'comes back from a daemon that stops',
    arrive: (queues) => {
      queues.set({ parallel: 1 });
      queues.submit({ startDeadlineMs: 1_000, onSupervisorLost: 'retry' });
      queues.do({ type: 'launched', jobId: 1, leader });
      queues.pauseGroup('default', 'letRun');
      queues.do({ type: 'shutdown' }, killed);
    },
  },
  {
    name: 'found no room on the disk when it was to start',
    leftMs: 800,
    arrive: (queues) => {
      queues.set({ parallel: 1 });
      queues.submit({ startDeadlineMs: 1_000 });
      queues.pass(100).pauseGroup();
      queues.pass(100).do({ type: 'launchLackedSpace', jobId: 1, shortage: 'Full.' });
    },
  },
  {
    name: 'gets its first deadline there',
    arrive: (queues) => {
      queues.submit({});
      queues.pass(100).pauseGroup();
      queues.pass(dayMs).edit({ startDeadlineMs: 1_000 });
    },
  },
];

describe('the start deadline stands still, and begins when the group goes on, of a job in a paused group that', () => {
  for (const { name, arrive, leftMs = 1_000 } of arrivals) {
    test(name, () => {
      const queues = new Queues();
      arrive(queues);
      assert.equal(queues.leftMs(), null);
      queues.pass(dayMs).restart({ downMs: dayMs });
      queues.set({ parallel: 0 });
      queues.resumeGroup();
      assert.equal(queues.leftMs(), leftMs);
    });
  }
});

describe('a job in a paused group', () => {
  test('keeps what is left of its start deadline where it goes when it is moved to an open one', () => {
    const queues = new Queues();
    queues.submit({ startDeadlineMs: 1_000 });
    queues.pass(400).pauseGroup();
    queues.pass(dayMs).move('b');
    assert.equal(queues.leftMs(), 600);
    queues.resumeGroup();
    assert.equal(queues.leftMs(), 600);
  });

  test('goes on only when both are resumed, in whatever order they were paused', () => {
    for (const first of ['job', 'group']) {
      for (const last of ['job', 'group']) {
        const queues = new Queues();
        queues.submit({ startDeadlineMs: 1_000 });
        queues.pass(100);
        if (first === 'job') queues.pause();
        queues.pauseGroup();
        if (first === 'group') queues.pause();
        queues.pass(5_000);
        if (last === 'group') queues.resume();
        else queues.resumeGroup();
        queues.pass(5_000).restart({ downMs: 5_000 });
        assert.equal(queues.leftMs(), null, `${first} was paused first, and ${last} is not resumed yet`);
        if (last === 'group') queues.resumeGroup();
        else queues.resume();
        assert.equal(queues.leftMs(), 900, `${first} was paused first, and ${last} resumed last`);
      }
    }
  });

  test('goes on with what is left of the deadline that an edit gives it', () => {
    const left = (edit: JobEdit) => {
      const queues = new Queues();
      queues.submit({ startDeadlineMs: 1_000 });
      queues.pass(400).pauseGroup();
      queues.pass(5_000).edit(edit);
      queues.pass(5_000).resumeGroup();
      return queues.leftMs();
    };
    assert.equal(left({ startDeadlineMs: 5_000 }), 4_600);
    assert.equal(left({ startDeadlineMs: 100 }), 0);
    assert.equal(left({ startDeadlineMs: null }), null);
    assert.equal(left({ delayMs: 60_000 }), 55_000 + 1_000, 'counted from the end of the new delay, which goes on');
    assert.equal(left({ delayMs: 10 }), 1_000, 'whose end has come: all of it is left');
    assert.equal(left({ priority: 1 }), 600, 'control: another edit changes nothing');
  });

  test('has all of its start deadline from the end of its delay, or from when the group goes on if that is later', () => {
    const left = (spec: Partial<JobSpec>, resumedAtMs: number) => {
      const queues = new Queues();
      queues.submit({ startDeadlineMs: 1_000, ...spec });
      queues.pass(100).pauseGroup();
      queues.pass(resumedAtMs - 100).resumeGroup();
      return queues.leftMs();
    };
    assert.equal(left({ delayMs: 10_000 }, 4_000), 6_000 + 1_000);
    assert.equal(left({ delayMs: 10_000 }, 40_000), 1_000);
    const startAt = new Date(1_800_000_000_000 + 10_000).toISOString();
    assert.equal(left({ startAt }, 4_000), null, 'before its time on the wall clock it has none');
    assert.equal(left({ startAt }, 40_000), 1_000);
  });

  test('is written down only where it has a start deadline, and no event tells of it', () => {
    const queues = new Queues();
    queues.submit({ startDeadlineMs: 1_000 });
    queues.submit({});
    const { changes } = decide(
      queues.state,
      { type: 'pauseGroup', request: 1, name: 'default', running: 'pause' },
      queues.now,
    );
    assert.deepEqual(
      changes.map((change) => (change.kind === 'job' ? `job ${change.after.id}` : change.kind)),
      ['group', 'job 1'],
    );
  });
});

test('10,000 jobs with start deadlines stand still and go on in a moment', (t) => {
  const queues = new Queues();
  const spec = { command: ['true'], env: {}, cwd: '/', startDeadlineMs: dayMs };
  const definitions = Array.from({ length: 10_000 }, () => definitionFrom(spec));
  queues.do({ type: 'submit', request: 1, definitions, known: new Map(), ended: new Map() });
  assert.equal(queues.state.live.size, 10_000);
  const before = process.cpuUsage();
  queues.pauseGroup();
  queues.resumeGroup();
  const { user, system } = process.cpuUsage(before); // Not the time of a machine that does other things beside.
  const cpuMs = (user + system) / 1_000;
  t.diagnostic(`${Math.round(cpuMs)} ms of CPU for both`);
  assert.ok(cpuMs < 1_000, `${cpuMs} ms`);
});

describe('a job that its group froze', () => {
  const backInQueue = () => {
    const queues = new Queues();
    queues.set({ parallel: 1 });
    queues.submit({ retry: { limit: 1, delayMs: 0, causes: ['signal'] } });
    queues.do({ type: 'launched', jobId: 1, leader });
    queues.pauseGroup();
    assert.equal(queues.state.live.get(1)?.queue.held?.by, 'group');
    queues.do(killed);
    assert.equal(queues.state.live.get(1)?.phase.status, 'queued');
    queues.pass(1);
    return queues;
  };
  const starts = (effects: readonly Effect[]) => effects.filter(({ type }) => type === 'launch').length;

  test('and that goes back to its queue is not left behind when it is moved to an open group', () => {
    const queues = backInQueue();
    queues.set({ parallel: 1 }, 'b');
    const effects = queues.do({ type: 'move', request: 1, jobIds: [1], ended: new Map(), group: 'b' });
    assert.equal(starts(effects), 1);
    assert.equal(queues.state.live.get(1)?.queue.held, null);
  });

  test('and that goes back to its queue waits there until the group goes on', () => {
    const queues = backInQueue();
    queues.pass(dayMs);
    assert.equal(starts(queues.do({ type: 'tick' })), 0);
    assert.equal(starts(queues.do({ type: 'resumeGroup', request: 1, name: 'default' })), 1);
  });

  test('goes on when the group is set open, as when it is resumed; one that was paused by itself does not', () => {
    const queues = new Queues();
    queues.set({ parallel: 2 });
    queues.submit({});
    queues.submit({});
    queues.do({ type: 'launched', jobId: 1, leader }, { type: 'launched', jobId: 2, leader: { ...leader, pid: 200 } });
    queues.pause(2);
    queues.pauseGroup();
    const effects = queues.do({ type: 'setGroup', request: 1, name: 'default', settings: { paused: false } });
    assert.deepEqual(
      effects.flatMap((effect) => (effect.type === 'thaw' ? effect.jobId : [])),
      [1],
    );
    assert.deepEqual(
      [1, 2].map((jobId) => queues.state.live.get(jobId)?.queue.held),
      [null, { by: 'job' }],
    );
  });
});

type Step = { readonly afterMs: number } & (
  | { readonly do: 'submit'; readonly group: number; readonly limitMs: number; readonly delayMs: number | null }
  | { readonly do: 'pauseGroup' | 'letRun' | 'setPaused' | 'resumeGroup' | 'setOpen'; readonly group: number }
  | { readonly do: 'pause' | 'resume'; readonly pick: number }
  | { readonly do: 'move'; readonly pick: number; readonly group: number }
  | { readonly do: 'limit' | 'delay'; readonly pick: number; readonly ms: number }
  | { readonly do: 'restart'; readonly downMs: number }
  | { readonly do: 'clock'; readonly byMs: number }
);

const ms = fc.integer({ min: 1, max: 300 });
const group = fc.nat({ max: 1 });
const afterMs = fc.integer({ min: 0, max: 150 });
const just = <T extends string>(value: T) => fc.constant(value);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ afterMs, do: just('submit'), group, limitMs: ms, delayMs: fc.option(ms) }) },
  {
    weight: 3,
    arbitrary: fc.record({ afterMs, do: fc.constantFrom('pauseGroup' as const, 'letRun', 'setPaused'), group }),
  },
  { weight: 3, arbitrary: fc.record({ afterMs, do: fc.constantFrom('resumeGroup' as const, 'setOpen'), group }) },
  { weight: 2, arbitrary: fc.record({ afterMs, do: fc.constantFrom('pause' as const, 'resume'), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ afterMs, do: just('move'), pick: fc.nat(), group }) },
  { weight: 2, arbitrary: fc.record({ afterMs, do: fc.constantFrom('limit' as const, 'delay'), pick: fc.nat(), ms }) },
  { weight: 1, arbitrary: fc.record({ afterMs, do: just('restart'), downMs: fc.nat({ max: 100 }) }) },
  { weight: 1, arbitrary: fc.record({ afterMs, do: just('clock'), byMs: fc.constantFrom(-dayMs, 5_000, dayMs) }) },
);

const names = ['default', 'b'];

/** A job as anyone would time it: a stopwatch that is stopped now and then. */
interface ModelJob {
  readonly id: number;
  group: string;
  limitMs: number;
  readyAtMs: number;
  isPaused: boolean;
  waitedMs: number;
  failedAtMs: number | null;
}

class Model {
  readonly jobs: ModelJob[] = [];
  readonly paused = new Set<string>();
  nowMs = 0;

  stands({ isPaused, group }: ModelJob): boolean {
    return isPaused || this.paused.has(group);
  }

  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (const job of this.waiting()) {
      if (this.stands(job)) continue;
      const fromMs = Math.max(this.nowMs, job.readyAtMs);
      const failsAtMs = fromMs + Math.max(0, job.limitMs - job.waitedMs);
      if (failsAtMs <= untilMs) job.failedAtMs = failsAtMs;
      job.waitedMs += Math.max(0, untilMs - fromMs);
    }
    this.nowMs = untilMs;
  }

  waiting(): ModelJob[] {
    return this.jobs.filter(({ failedAtMs }) => failedAtMs === null);
  }

  pick(index: number): ModelJob | undefined {
    const jobs = this.waiting();
    return jobs[index % jobs.length];
  }
}

/** One step, in both. Without a boot the wall clock may be set: it is asked only after one. */
function take(one: Step, queues: Queues, model: Model, clock: 'is set' | 'goes on over boots'): void {
  const name = 'group' in one ? (names[one.group] ?? '') : '';
  const job = 'pick' in one ? model.pick(one.pick) : undefined;
  if ('pick' in one && job === undefined) return;
  const id = job?.id ?? 0;
  switch (one.do) {
    case 'submit': {
      const { limitMs, delayMs } = one;
      const readyAtMs = model.nowMs + (delayMs ?? 0);
      const times = { limitMs, readyAtMs, waitedMs: 0, failedAtMs: null };
      model.jobs.push({ id: model.jobs.length + 1, group: name, isPaused: false, ...times });
      queues.submit({ group: name, startDeadlineMs: limitMs, ...(delayMs === null ? {} : { delayMs }) });
      return;
    }
    case 'pauseGroup':
    case 'letRun':
    case 'setPaused':
      model.paused.add(name);
      if (one.do === 'setPaused') queues.set({ paused: true }, name);
      else queues.pauseGroup(name, one.do === 'letRun' ? 'letRun' : 'pause');
      return;
    case 'resumeGroup':
    case 'setOpen':
      model.paused.delete(name);
      if (one.do === 'setOpen') queues.set({ paused: false }, name);
      else queues.resumeGroup(name);
      return;
    case 'pause':
    case 'resume':
      if (job) job.isPaused = one.do === 'pause';
      if (one.do === 'pause') queues.pause(id);
      else queues.resume(id);
      return;
    case 'move':
      if (job) job.group = name;
      queues.move(name, id);
      return;
    case 'limit':
      if (job) {
        job.limitMs = one.ms;
        // Nobody fails while it stands still, however little it is given.
        if (model.stands(job)) job.waitedMs = Math.min(job.waitedMs, one.ms);
      }
      queues.edit({ startDeadlineMs: one.ms }, id);
      return;
    case 'delay':
      if (job) Object.assign(job, { readyAtMs: model.nowMs + one.ms, waitedMs: 0 });
      queues.edit({ delayMs: one.ms }, id);
      return;
    case 'restart':
      queues.restart({ downMs: one.downMs, boots: clock === 'goes on over boots' });
      return;
    case 'clock':
      if (clock === 'is set') queues.setClock(one.byMs);
      return;
  }
}

for (const clock of ['is set', 'goes on over boots'] as const) {
  test(`a stopwatch that is stopped while a job or its group is paused fails jobs at the same moments, where the wall clock ${clock}`, () => {
    let failed = 0;
    let failedAfterPause = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
        const queues = new Queues();
        const model = new Model();
        const late = new Set<number>();
        for (const one of [...steps, { do: 'clock', byMs: 0, afterMs: 1_000 } as const]) {
          queues.pass(one.afterMs);
          model.pass(one.afterMs);
          take(one, queues, model, clock);
          if (one.do === 'restart') model.pass(one.downMs);
          // What is over by now, because of an edit, fails at once.
          queues.pass(0);
          model.pass(0);
          const told = JSON.stringify({ ...one, nowMs: model.nowMs });
          for (const job of model.jobs) {
            const end = queues.ends.get(job.id);
            assert.equal(end === undefined, job.failedAtMs === null, `job ${job.id} after ${told}`);
            // One whose time is over while there is no daemon fails when there is one.
            if (end && end.atMs === model.nowMs && one.do === 'restart') late.add(job.id);
            if (end && one.do !== 'restart')
              assert.ok(end.atMs >= (job.failedAtMs ?? 0), `job ${job.id} after ${told}`);
          }
        }
        failed += queues.ends.size;
        failedAfterPause += model.jobs.filter((job) => (job.failedAtMs ?? 0) > job.readyAtMs + job.limitMs).length;
      }),
      { numRuns: 300 },
    );
    assert.ok(failed > 500 && failedAfterPause > 100, `control: ${failed} failed, ${failedAfterPause} after a pause`);
  });
}
