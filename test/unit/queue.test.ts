import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  apply,
  type Change,
  deadlineOf,
  decide,
  definitionFrom,
  type Effect,
  type Event,
  emptyState,
  holdsSlot,
  type Instant,
  type Job,
  type JobDefinition,
  nextDeadline,
  noUsage,
  type State,
  schedule,
} from '../../src/daemon/core/index.ts';
import type { Cause, JobSpec } from '../../src/protocol/index.ts';
import { groupOf, instant } from '../support/records.ts';

const at = (monoMs: number): Instant => instant(monoMs);

function definition(spec: Partial<JobSpec> = {}): JobDefinition {
  return definitionFrom({ command: ['true'], env: {}, cwd: '/', killGraceMs: 50, ...spec });
}

function stateWith(groups: Record<string, number>): State {
  const state = emptyState();
  apply(
    state,
    Object.entries(groups).map(
      ([name, parallel]): Change => ({
        kind: 'group',
        before: null,
        after: groupOf(name, { parallel, maxQueued: 1_000 }),
      }),
    ),
  );
  return state;
}

/** Decides one event after another and fills the slots, as one turn of the supervisor does. Returns how to take it back. */
function turn(
  state: State,
  now: Instant,
  ...events: Event[]
): { effects: Effect[]; changes: Change[]; undo: () => void } {
  const effects: Effect[] = [];
  const changes: Change[] = [];
  const undos: (() => void)[] = [];
  for (const decideNext of [
    ...events.map((event) => () => decide(state, event, now)),
    () => schedule(state, 'scan', now),
  ]) {
    const decision = decideNext();
    undos.push(apply(state, decision.changes));
    changes.push(...decision.changes);
    effects.push(...decision.effects);
  }
  const undo = () => {
    for (const one of undos.reverse()) one();
  };
  return { effects, changes, undo };
}

function submit(...specs: Partial<JobSpec>[]): Event {
  return { type: 'submit', request: 1, definitions: specs.map(definition), known: new Map(), ended: new Map() };
}

function cancel(jobId: number, mode: 'graceful' | 'kill' = 'graceful'): Event {
  return { type: 'cancel', request: 1, jobIds: [jobId], mode, ended: new Map() };
}

function setParallel(name: string, parallel: number): Event {
  return { type: 'setGroup', request: 1, name, settings: { parallel } };
}

function launchFailed(jobId: number): Event {
  return { type: 'launchFailed', jobId, message: '', exit: { code: 127, signal: null } };
}

function started(effects: readonly Effect[]): number[] {
  return effects.flatMap((effect) => (effect.type === 'launch' ? [effect.job.id] : []));
}

describe('order', () => {
  const cases: { name: string; priorities: number[]; order: number[] }[] = [
    { name: 'equal jobs start by age', priorities: [0, 0, 0], order: [1, 2, 3] },
    { name: 'a higher priority starts first', priorities: [0, 10, 5], order: [2, 3, 1] },
    { name: 'among equal priorities age decides', priorities: [1, 2, 1, 2], order: [2, 4, 1, 3] },
    { name: 'a negative priority starts last', priorities: [-1, 0, -2, 1], order: [4, 2, 1, 3] },
  ];
  for (const { name, priorities, order } of cases) {
    test(name, () => {
      const state = stateWith({ default: 0 });
      turn(state, at(0), submit(...priorities.map((priority) => ({ priority }))));
      const { effects } = turn(state, at(0), setParallel('default', 99));
      assert.deepEqual(started(effects), order);
    });
  }

  test('the jobs of one group do not wait for those of another', () => {
    const state = stateWith({ full: 0, default: 1 });
    const { effects } = turn(state, at(0), submit({ group: 'full', priority: 9 }, {}));
    assert.deepEqual(started(effects), [2]);
  });

  test('a job that goes back to the queue has its age', () => {
    const state = stateWith({ default: 1 });
    turn(state, at(0), submit({ onSupervisorLost: 'retry' }, {}));
    turn(state, at(0), { type: 'shutdown' }, launchFailed(1));
    apply(state, [{ kind: 'admission', before: 'closing', after: 'open' }]);
    assert.deepEqual(started(turn(state, at(0)).effects), [1]);
  });

  test('nothing is started while the daemon stops', () => {
    const state = stateWith({ default: 1 });
    assert.deepEqual(started(turn(state, at(0), submit({}), { type: 'shutdown' }).effects), []);
  });
});

/** What a random run does next. Numbers pick among the jobs that it can be done to. */
type Command =
  | { readonly do: 'submit'; readonly group: string; readonly priority: number }
  | { readonly do: 'cancel' | 'finish'; readonly pick: number }
  | { readonly do: 'slots'; readonly group: string; readonly parallel: number };

const group = fc.constantFrom('a', 'b');
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('submit' as const), group, priority: fc.integer({ min: -2, max: 2 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('cancel' as const, 'finish' as const), pick: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('slots' as const), group, parallel: fc.integer({ min: 0, max: 4 }) }),
  },
);

/** The queue as anyone would write it without caring what it costs. */
class NaiveQueue {
  readonly slots: Record<string, number>;
  readonly jobs: { id: number; group: string; priority: number; status: 'queued' | 'active' | 'ended' }[] = [];

  constructor(slots: Record<string, number>) {
    this.slots = slots;
  }

  start(): number[] {
    return Object.entries(this.slots).flatMap(([name, slots]) => {
      const here = this.jobs.filter((job) => job.group === name);
      const free = Math.max(0, slots - here.filter((job) => job.status === 'active').length);
      const next = here
        .filter((job) => job.status === 'queued')
        .sort((a, b) => b.priority - a.priority || a.id - b.id)
        .slice(0, free);
      for (const job of next) job.status = 'active';
      return next.map((job) => job.id);
    });
  }

  pick(status: 'queued' | 'active', index: number) {
    const jobs = this.jobs.filter((job) => job.status === status);
    return jobs[index % jobs.length];
  }
}

function eventFor(command: Command, model: NaiveQueue): Event | null {
  switch (command.do) {
    case 'submit':
      model.jobs.push({
        id: model.jobs.length + 1,
        group: command.group,
        priority: command.priority,
        status: 'queued',
      });
      return submit({ group: command.group, priority: command.priority });
    case 'slots':
      model.slots[command.group] = command.parallel;
      return setParallel(command.group, command.parallel);
    case 'cancel':
    case 'finish': {
      const job = model.pick(command.do === 'cancel' ? 'queued' : 'active', command.pick);
      if (job === undefined) return null;
      job.status = 'ended';
      return command.do === 'cancel' ? cancel(job.id) : launchFailed(job.id);
    }
  }
}

test('jobs start in the order of a naive model, whatever is submitted, cancelled and finished in between', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60, size: 'max' }), (commands) => {
      const slots = { a: 1, b: 2 };
      const state = stateWith(slots);
      const model = new NaiveQueue(slots);
      for (const next of commands) {
        const event = eventFor(next, model);
        if (event === null) continue;
        assert.deepEqual(started(turn(state, at(0), event).effects), model.start());
      }
    }),
    { numRuns: 300 },
  );
});

test('jobs start in the order of a naive model, whichever turns could not be committed in between', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(command, fc.boolean()), { maxLength: 60, size: 'max' }), (commands) => {
      const slots = { a: 1, b: 2 };
      const state = stateWith(slots);
      let model = new NaiveQueue(slots);
      for (const [next, fails] of commands) {
        const before = structuredClone({ slots: model.slots, jobs: model.jobs });
        const event = eventFor(next, model);
        if (event === null) continue;
        // A job that could not be committed leaves a gap in the ids, so its model is an ended one.
        if (fails && event.type === 'submit')
          before.jobs.push(...model.jobs.slice(-1).map((job) => ({ ...job, status: 'ended' as const })));
        const { effects, undo } = turn(state, at(0), event);
        assert.deepEqual(started(effects), model.start());
        if (!fails) continue;
        undo();
        model = Object.assign(new NaiveQueue(before.slots), { jobs: before.jobs });
      }
    }),
    { numRuns: 300 },
  );
});

/** Something that could happen to the state as it is: processes report only what processes do. */
interface Roll {
  readonly kind: number;
  readonly pick: number;
  readonly afterMs: number;
}

function plausibleEvents(state: State, roll: Roll): Event[] {
  const jobs = [...state.live.values()];
  const job = jobs[roll.pick % Math.max(1, jobs.length)];
  const retry = roll.pick % 3 === 0;
  const events: Event[] = [
    submit({
      priority: roll.pick % 5,
      ...(retry ? { onSupervisorLost: 'retry' } : {}),
      maxRuntimeMs: 1 + (roll.pick % 200),
    }),
    { type: 'tick' },
    setParallel('default', roll.pick % 4),
  ];
  if (roll.pick % 40 === 0) events.push({ type: 'shutdown' });
  if (job === undefined) return events;
  const leaderExited = (remaining: number): Event => ({
    type: 'leaderExited',
    jobId: job.id,
    exit: roll.pick % 2 === 0 ? { code: roll.pick % 3, signal: null } : { code: null, signal: 'SIGTERM' },
    remaining,
    usage: noUsage,
  });
  events.push(cancel(job.id), cancel(job.id, 'kill'), {
    type: 'signal',
    request: 1,
    jobIds: [job.id],
    signal: 'SIGHUP',
    ended: new Map(),
  });
  const attempt = job.attempts.at(-1);
  if (job.phase.status === 'starting') {
    events.push(launchFailed(job.id), ...Array<Event>(3).fill(launched(job.id)));
  } else if (holdsSlot(job.phase.status)) {
    const ends = attempt?.exit === null ? [leaderExited(0), leaderExited(2)] : [emptied(job.id)];
    events.push(...ends, ...ends);
  }
  return events;
}

function launched(jobId: number): Event {
  return { type: 'launched', jobId, leader: { pid: jobId, startTicks: 1, bootId: 'b' } };
}

function emptied(jobId: number): Event {
  return { type: 'emptied', jobId, usage: noUsage };
}

test('under any sequence of events: one final status a job, one attempt at a time, one cause an attempt, true counts', () => {
  const roll: fc.Arbitrary<Roll> = fc.record({
    kind: fc.nat(),
    pick: fc.nat({ max: 10_000 }),
    afterMs: fc.nat({ max: 80 }),
  });
  const reached = new Set<string>();
  fc.assert(
    fc.property(fc.array(roll, { maxLength: 120, size: 'max' }), (rolls) => {
      const state = stateWith({ default: 2 });
      const causes = new Map<string, Cause>();
      const finished = new Set<number>();
      const underWay = new Set<number>();
      let monoMs = 0;
      for (const next of rolls) {
        monoMs += next.afterMs;
        const events = plausibleEvents(state, next);
        const { changes, effects } = turn(state, at(monoMs), events[next.kind % events.length] as Event);

        for (const change of changes) {
          if (change.kind !== 'job') continue;
          reached.add(change.after.phase.status);
          checkCause(change.after, causes);
          if (!holdsSlot(change.after.phase.status)) underWay.delete(change.after.id);
        }
        for (const effect of effects) {
          if (effect.type === 'finished') {
            assert.ok(!finished.has(effect.job.id), `job ${effect.job.id} finished twice`);
            finished.add(effect.job.id);
          }
          if (effect.type === 'launch') {
            assert.ok(!underWay.has(effect.job.id), `job ${effect.job.id} runs twice at once`);
            underWay.add(effect.job.id);
          }
        }
        for (const id of finished) assert.ok(!state.live.has(id), `job ${id} lives on after its end`);
        checkCounts(state);
        checkAlarm(state, monoMs);
      }
    }),
    { numRuns: 300 },
  );
  assert.equal(reached.size, 7, `control: the runs reach every status, not only ${[...reached]}`);
});

function checkCause(job: Job, causes: Map<string, Cause>): void {
  for (const { number, cause } of job.attempts) {
    const key = `${job.id}.${number}`;
    const first = causes.get(key);
    if (first !== undefined) assert.equal(cause, first, `the cause of attempt ${key} changed`);
    else if (cause !== null) causes.set(key, cause);
  }
  if ('cause' in job.phase && job.attempts.length > 0 && job.attempts.at(-1)?.cause !== 'supervisor-lost')
    assert.equal(job.phase.cause, job.attempts.at(-1)?.cause);
}

function checkCounts(state: State): void {
  const jobs = [...state.live.values()];
  for (const {
    group: { name },
    queued,
    active,
  } of state.groups.values()) {
    const here = jobs.filter((job) => job.definition.group === name).map((job) => job.phase.status);
    assert.equal(active, here.filter(holdsSlot).length);
    assert.equal(queued, here.filter((status) => status === 'queued').length);
  }
}

function checkAlarm(state: State, monoMs: number): void {
  const deadlines = [...state.live.values()].map(deadlineOf).filter((deadline) => deadline !== null);
  assert.equal(nextDeadline(state), deadlines.length === 0 ? null : Math.min(...deadlines), `at ${monoMs} ms`);
}
