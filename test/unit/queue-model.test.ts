/** The queue, with groups, priorities, delays, start deadlines, rates, pauses, moves and modes, against one that anyone would write without caring what it costs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  apply,
  beginAttempt,
  decide,
  definitionFrom,
  type Effect,
  type Event,
  emptyState,
  groupEnters,
  type Job,
  nextDeadline,
  type State,
  schedule,
} from '../../src/daemon/core/index.ts';
import type { GroupMode, RunPending } from '../../src/protocol/index.ts';
import { groupOf, instant } from '../support/records.ts';

interface Settings {
  readonly parallel: number;
  /** Between two tokens; `null`: no rate. Powers of two, so that no sum is rounded and the model must agree to the bit. */
  readonly intervalMs: 32 | 64 | 128 | null;
  readonly burst: number;
  readonly mode: GroupMode;
  readonly paused: boolean;
}

const plain: Settings = { parallel: 1, intervalMs: null, burst: 1, mode: 'auto', paused: false };
/** What the groups begin with: one of them has a rate from the first, so that many runs hold to one for long. */
const initial: Readonly<Record<string, Settings>> = {
  a: plain,
  b: { ...plain, parallel: 3, intervalMs: 64, burst: 2 },
};

type Command =
  | {
      readonly do: 'submit';
      readonly group: string;
      readonly priority: number;
      readonly delayMs: number | null;
      readonly limitMs: number | null;
    }
  | { readonly do: 'move'; readonly pick: number; readonly group: string }
  | { readonly do: 'cancel' | 'finish'; readonly pick: number }
  | { readonly do: 'set'; readonly group: string; readonly settings: Partial<Settings> }
  | { readonly do: 'runPending'; readonly group: string }
  | { readonly do: 'nothing' };

interface Step {
  readonly afterMs: number;
  readonly command: Command;
  /** The turn cannot be committed, and is taken back. */
  readonly fails: boolean;
}

const group = fc.constantFrom('a', 'b');
const setting: fc.Arbitrary<Partial<Settings>> = fc.oneof(
  fc.record({ parallel: fc.integer({ min: 0, max: 3 }) }),
  fc.record({ intervalMs: fc.constantFrom(null, 32 as const, 64 as const, 128 as const) }),
  fc.record({ burst: fc.constantFrom(1, 2, 4) }),
  fc.record({ mode: fc.constantFrom('auto' as const, 'manual' as const) }),
  { weight: 3, arbitrary: fc.record({ paused: fc.boolean() }) },
);
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('submit' as const),
      group,
      priority: fc.integer({ min: -1, max: 1 }),
      delayMs: fc.option(fc.integer({ min: 1, max: 100 }), { freq: 4 }),
      limitMs: fc.option(fc.integer({ min: 1, max: 400 })),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('move' as const), pick: fc.nat(), group }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('cancel' as const, 'finish', 'finish'), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('set' as const), group, settings: setting }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('runPending' as const), group }) },
  { weight: 2, arbitrary: fc.constant({ do: 'nothing' as const }) },
);
const step: fc.Arbitrary<Step> = fc.record({
  afterMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 150 })),
  command,
  fails: fc.integer({ min: 0, max: 5 }).map((roll) => roll === 0),
});

interface ModelJob {
  readonly id: number;
  group: string;
  readonly priority: number;
  readonly readyAtMs: number;
  /** It fails when it could have started for so long, and has not. */
  readonly limitMs: number | null;
  waitedMs: number;
  status: 'queued' | 'active' | 'ended';
}

interface ModelGroup extends Settings {
  name: string;
  /** What it has of tokens, in time: `intervalMs` is one. */
  creditMs: number;
  /** Since the last turn a job waits for nothing but a token: then a burst of 1 saves up one more. */
  isAwaited: boolean;
}

/** So many tokens can be saved up. */
function mostTokens({ burst, isAwaited }: Pick<ModelGroup, 'burst' | 'isAwaited'>): number {
  return burst === 1 && isAwaited ? 2 : burst;
}

class Model {
  groups: Record<string, ModelGroup>;
  jobs: ModelJob[] = [];

  constructor() {
    const groups = Object.entries(initial).map(([name, one]) => [
      name,
      { ...one, name, creditMs: one.intervalMs ?? 0, isAwaited: false },
    ]);
    this.groups = Object.fromEntries(groups);
  }

  pass(ms: number, nowMs: number): void {
    for (const one of Object.values(this.groups))
      one.creditMs = Math.min(one.creditMs + ms, mostTokens(one) * (one.intervalMs ?? 0));
    for (const job of this.jobs)
      if (!this.group(job.group).paused) job.waitedMs += Math.min(ms, Math.max(0, nowMs - job.readyAtMs));
  }

  /** Jobs whose start deadline is over fail, those of a paused group excepted. Returns of how many it had stood still. */
  giveUp(nowMs: number): number {
    const late = this.jobs.filter(
      ({ group, status, limitMs, waitedMs }) =>
        status === 'queued' && !this.group(group).paused && limitMs !== null && waitedMs >= limitMs,
    );
    for (const job of late) job.status = 'ended';
    return late.filter(({ readyAtMs, waitedMs }) => nowMs - readyAtMs > waitedMs).length;
  }

  set(name: string, settings: Partial<Settings>): void {
    const before = this.group(name);
    const after = { ...before, ...settings };
    if (after.intervalMs === before.intervalMs && after.burst === before.burst) after.creditMs = before.creditMs;
    else if (after.intervalMs === null) after.creditMs = 0;
    else if (before.intervalMs === null) after.creditMs = after.intervalMs;
    else after.creditMs = Math.min(before.creditMs / before.intervalMs, before.burst, after.burst) * after.intervalMs;
    this.groups[name] = after;
  }

  group(name: string): ModelGroup {
    return this.groups[name] as ModelGroup;
  }

  /** What would start first, and whether it is only the rate that it waits for. */
  next(name: string, nowMs: number): { job: ModelJob; inMs: number } | null {
    const { parallel, intervalMs, paused, creditMs } = this.group(name);
    const here = this.jobs.filter((job) => job.group === name);
    const active = here.filter((job) => job.status === 'active').length;
    const [job] = here
      .filter((one) => one.status === 'queued' && one.readyAtMs <= nowMs)
      .sort((a, b) => b.priority - a.priority || a.id - b.id);
    if (paused || active >= parallel || job === undefined) return null;
    return { job, inMs: intervalMs === null ? 0 : Math.max(0, intervalMs - creditMs) };
  }

  startOne(name: string, nowMs: number): number[] {
    const next = this.next(name, nowMs);
    if (next === null || next.inMs > 0) return [];
    next.job.status = 'active';
    const one = this.group(name);
    one.creditMs -= one.intervalMs ?? 0;
    return [next.job.id];
  }

  startAll(nowMs: number): number[] {
    return Object.values(this.groups).flatMap((one) => {
      const { name, mode } = one;
      const started: number[] = [];
      for (let ids = ['']; mode === 'auto' && ids.length > 0; ) {
        const now = this.startOne(name, nowMs);
        started.push(...now);
        ids = now.map(String);
      }
      one.isAwaited = mode === 'auto' && this.next(name, nowMs) !== null;
      one.creditMs = Math.min(one.creditMs, mostTokens(one) * (one.intervalMs ?? 0));
      return started;
    });
  }

  /** When the first group has a token that a job waits for. */
  wakesInMs(nowMs: number): number | null {
    const waits = Object.values(this.groups).flatMap(({ name, mode }) =>
      mode === 'manual' ? [] : (this.next(name, nowMs)?.inMs ?? []),
    );
    return waits.length === 0 ? null : Math.min(...waits);
  }

  pick(status: 'queued' | 'active', index: number): ModelJob | undefined {
    const jobs = this.jobs.filter((job) => job.status === status);
    return jobs[index % jobs.length];
  }
}

/** The event of a command, with what it does to the model; `null` where there is nothing to do it to. */
function carryOut(command: Command, model: Model, nowMs: number): Event | null {
  switch (command.do) {
    case 'submit': {
      const { delayMs, limitMs, priority } = command;
      const id = model.jobs.length + 1;
      const readyAtMs = nowMs + (delayMs ?? 0);
      model.jobs.push({ id, group: command.group, priority, readyAtMs, limitMs, waitedMs: 0, status: 'queued' });
      const spec = { command: ['true'], env: {}, cwd: '/', group: command.group, priority };
      const times = {
        ...(delayMs === null ? {} : { delayMs }),
        ...(limitMs === null ? {} : { startDeadlineMs: limitMs }),
      };
      const definitions = [definitionFrom({ ...spec, ...times })];
      return { type: 'submit', request: 1, definitions, known: new Map(), ended: new Map() };
    }
    case 'set': {
      model.set(command.group, command.settings);
      const { intervalMs, ...rest } = command.settings;
      const rate = intervalMs === undefined ? {} : { ratePerSecond: intervalMs === null ? null : 1_000 / intervalMs };
      return { type: 'setGroup', request: 1, name: command.group, settings: { ...rest, ...rate } };
    }
    case 'runPending':
      return { type: 'runPending', request: 1, name: command.group, tier: 'scan' };
    case 'cancel':
    case 'finish': {
      const job = model.pick(command.do === 'cancel' ? 'queued' : 'active', command.pick);
      if (job === undefined) return null;
      job.status = 'ended';
      return command.do === 'cancel'
        ? { type: 'cancel', request: 1, jobIds: [job.id], mode: 'graceful', ended: new Map() }
        : { type: 'launchFailed', jobId: job.id, message: '', exit: { code: 127, signal: null } };
    }
    case 'move': {
      const job = model.pick('queued', command.pick);
      if (job === undefined) return null;
      job.group = command.group;
      return { type: 'move', request: 1, jobIds: [job.id], group: command.group, ended: new Map() };
    }
    case 'nothing':
      return null;
  }
}

interface Turn {
  readonly effects: readonly Effect[];
  readonly undo: () => void;
}

/** A turn as the supervisor takes it. The alarm has rung where the next deadline has come. */
function turn(state: State, nowMs: number, event: Event | null): Turn {
  const now = instant(nowMs);
  const due = nextDeadline(state);
  const events: Event[] = [
    ...(due !== null && due <= nowMs ? [{ type: 'tick' as const }] : []),
    ...(event === null ? [] : [event]),
  ];
  const effects: Effect[] = [];
  const undos: (() => void)[] = [];
  for (const one of [...events.map((next) => () => decide(state, next, now)), () => schedule(state, 'scan', now)]) {
    const decision = one();
    undos.push(apply(state, decision.changes));
    effects.push(...decision.effects);
  }
  return {
    effects,
    undo: () => {
      for (const undo of undos.reverse()) undo();
    },
  };
}

function started(effects: readonly Effect[]): number[] {
  return effects.flatMap((effect) => (effect.type === 'launch' ? [effect.job.id] : []));
}

/** Seen from outside, whatever the model thinks: what a group may never do. */
class Watch {
  readonly #starts: Record<string, { atMs: number; epoch: number }[]> = { a: [], b: [] };
  readonly #epochs: Record<string, number> = { a: 0, b: 0 };
  mostInARow = 0;

  newSettings(name: string): void {
    this.#epochs[name] = (this.#epochs[name] ?? 0) + 1;
  }

  saw(state: State, ids: readonly number[], nowMs: number): void {
    for (const id of ids) {
      const job = state.live.get(id);
      const { name, parallel, ratePerSecond, burst } =
        state.groups.get(job?.definition.group ?? '')?.group ?? groupOf('');
      const here = [...state.live.values()].filter((one) => one.definition.group === name);
      const active = here.filter((one) => one.phase.status !== 'queued').length;
      assert.ok(active <= parallel, `${active} jobs are active in ${parallel} slots`);
      for (const other of here) {
        if (other.phase.status !== 'queued' || other.phase.readyAtMonoMs !== null) continue;
        const better = other.definition.priority - (job?.definition.priority ?? 0) || id - other.id;
        assert.ok(better < 0, `job ${id} started before job ${other.id}, which is better`);
      }
      const starts = this.#starts[name] ?? [];
      starts.push({ atMs: nowMs, epoch: this.#epochs[name] ?? 0 });
      if (ratePerSecond === null) continue;
      const same = starts.filter(({ epoch }) => epoch === this.#epochs[name]);
      for (const [index, { atMs }] of same.entries()) {
        const count = same.length - index;
        // With a burst of 1, a start that came late, and the one that is due.
        const allowed = Math.max(burst, 2) + ((nowMs - atMs) * ratePerSecond) / 1_000;
        assert.ok(count <= allowed, `${count} starts within ${nowMs - atMs} ms, where ${allowed} are allowed`);
        this.mostInARow = Math.max(this.mostInARow, count);
      }
    }
  }
}

test('jobs start when and in the order in which a naive model starts them, whichever turns could not be committed', (t) => {
  const reached = new Map<string, number>();
  const reach = (what: string) => reached.set(what, (reached.get(what) ?? 0) + 1);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
      const state = emptyState();
      for (const [name, { intervalMs, ...settings }] of Object.entries(initial)) {
        const ratePerSecond = intervalMs === null ? null : 1_000 / intervalMs;
        apply(state, groupEnters(groupOf(name, { ...settings, ratePerSecond, maxQueued: 1_000 }), instant(0)));
      }
      let model = new Model();
      const watch = new Watch();
      let nowMs = 0;
      for (const { afterMs, command, fails } of steps) {
        nowMs += afterMs;
        model.pass(afterMs, nowMs);
        const before = structuredClone({ groups: model.groups, jobs: model.jobs });
        if (model.giveUp(nowMs) > 0) reach('a start deadline after a pause');
        const event = carryOut(command, model, nowMs);
        const byHand =
          command.do === 'runPending' && model.group(command.group).mode === 'manual'
            ? model.startOne(command.group, nowMs)
            : [];
        const expected = [...byHand, ...model.startAll(nowMs)];

        const { effects, undo } = turn(state, nowMs, event);
        const told = `at ${nowMs} ms, after ${JSON.stringify(command)}`;
        assert.deepEqual(started(effects), expected, told);
        const waiting = [...state.live.values()].flatMap(({ id, phase }) => (phase.status === 'queued' ? id : []));
        const stillWaiting = model.jobs.flatMap(({ id, status }) => (status === 'queued' ? id : []));
        assert.deepEqual(
          waiting.sort((a, b) => a - b),
          stillWaiting,
          `who waits ${told}`,
        );
        if (command.do === 'set' && !fails) watch.newSettings(command.group);
        if (command.do === 'runPending') checkAnswer(effects, byHand, reach);
        if (fails) {
          undo();
          // A job that could not be committed leaves a gap in the ids, so its model is an ended one.
          const lost = model.jobs.slice(before.jobs.length).map((job) => ({ ...job, status: 'ended' as const }));
          model = Object.assign(new Model(), { groups: before.groups, jobs: [...before.jobs, ...lost] });
          reach('undone');
        } else {
          watch.saw(state, expected, nowMs);
          const inMs = model.wakesInMs(nowMs);
          const due = nextDeadline(state);
          if (inMs !== null) assert.ok(due !== null && due <= nowMs + inMs, `the alarm sleeps through a token`);
          if (inMs !== null && inMs > 0) reach('waits for a token');
          assert.ok(due === null || due > nowMs, 'the alarm rings again and again');
        }
        if (watch.mostInARow > 4) reach('a long run at a rate');
      }
    }),
    { numRuns: 400 },
  );
  t.diagnostic(`reached: ${JSON.stringify(Object.fromEntries(reached))}`);
  for (const what of [
    'undone',
    'waits for a token',
    'a long run at a rate',
    'started by hand',
    'refused by hand',
    'a start deadline after a pause',
  ])
    assert.ok((reached.get(what) ?? 0) > 3, `control: the runs reach "${what}" often: ${[...reached]}`);
});

function checkAnswer(effects: readonly Effect[], started: readonly number[], reach: (what: string) => void): void {
  const reply = effects.find((effect) => effect.type === 'reply');
  if (reply === undefined) {
    assert.ok(effects.some((effect) => effect.type === 'refuse' && effect.code === 'INVALID_PARAMS'));
    return;
  }
  const answer = reply.result as RunPending;
  assert.deepEqual(answer.job_ids, started);
  assert.equal(answer.started, started.length);
  reach(started.length > 0 ? 'started by hand' : 'refused by hand');
}

test('control: a rate that is not kept, and an order that is not, are noticed', () => {
  const state = emptyState();
  const rated = groupOf('a', { parallel: 9, ratePerSecond: 10, burst: 1 });
  apply(state, groupEnters(rated, instant(0)));
  const specs = [0, 5, 0].map((priority) =>
    definitionFrom({ command: ['true'], env: {}, cwd: '/', group: 'a', priority }),
  );
  turn(state, 0, { type: 'setGroup', request: 1, name: 'a', settings: { paused: true } });
  turn(state, 0, { type: 'submit', request: 1, definitions: specs, known: new Map(), ended: new Map() });
  const start = (id: number) => {
    const job = state.live.get(id) as Job;
    apply(state, [{ kind: 'job', before: job, after: beginAttempt(job, 'scan') }]);
  };
  start(1);
  assert.throws(() => new Watch().saw(state, [1], 0), /job 1 started before job 2/);
  start(2);
  start(3);
  assert.throws(() => new Watch().saw(state, [1, 2, 3], 0), /3 starts within 0 ms, where 2 are allowed/);
  apply(state, [{ kind: 'group', before: rated, after: { ...rated, parallel: 1 } }]);
  assert.throws(() => new Watch().saw(state, [1], 0), /3 jobs are active in 1 slots/);
});
