import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  apply,
  type Change,
  decide,
  definitionFrom,
  dependenciesOf,
  type Effect,
  type Event,
  emptyState,
  hasEnded,
  type Job,
  noUsage,
  recover,
  revived,
  type State,
  schedule,
  settleDependents,
} from '../../src/daemon/core/index.ts';
import type { BulkReport, JobSpec } from '../../src/protocol/index.ts';
import { groupOf, instant } from '../support/records.ts';

const now = instant(0);

/** A daemon without its shells; its store is a map. A restart takes everything from there. */
class World {
  state = emptyState();
  readonly stored = new Map<number, Job>();

  constructor({ parallel = 1_000, maxQueued = 1_000 } = {}) {
    apply(this.state, [{ kind: 'group', before: null, after: groupOf('default', { parallel, maxQueued }) }]);
  }

  /** Takes a turn, and says what it answered. */
  turn(...events: Event[]): Effect[] {
    return this.#take(events).effects;
  }

  /** A turn that could not be committed. */
  undoneTurn(...events: Event[]): void {
    this.#take(events, { isUndone: true });
  }

  /** SIGKILL: what ran is lost, all else is as it was written down. */
  restart(): void {
    const { groups } = this.state;
    this.state = emptyState(Math.max(0, ...this.stored.keys()) + 1);
    const known = [...groups.values()].map(({ group }): Change => ({ kind: 'group', before: null, after: group }));
    const live = [...this.stored.values()].filter(({ phase }) => !hasEnded(phase));
    const jobs = revived(live, now);
    apply(this.state, [...known, ...jobs.map((after): Change => ({ kind: 'job', before: null, after }))]);
    const { changes } = settleDependents(
      this.state,
      { changes: recover(this.state, jobs, () => 0, now), effects: [] },
      now,
    );
    apply(this.state, changes);
    this.#write(changes);
    this.turn();
  }

  /** `1 completed, 2 failed dependency, 3 queued [1 2]`, where the brackets have what is still waited for. */
  get told(): string {
    return [...this.stored.keys()].map((jobId) => this.tell(jobId)).join(', ');
  }

  tell(jobId: number): string {
    const { phase } = this.state.live.get(jobId) ?? (this.stored.get(jobId) as Job);
    if (hasEnded(phase)) return `${jobId} ${phase.status}${phase.cause === 'dependency' ? ' dependency' : ''}`;
    const waits = phase.status === 'queued' && phase.waitsFor.length > 0 ? ` [${phase.waitsFor.join(' ')}]` : '';
    return `${jobId} ${phase.status}${waits}`;
  }

  #take(events: Event[], { isUndone = false } = {}): { effects: Effect[] } {
    const effects: Effect[] = [];
    const changes: Change[] = [];
    const undos: (() => void)[] = [];
    const newest = new Map(this.stored);
    const steps: (Event | null)[] = [...events, null];
    for (const next of steps) {
      const ended = new Map([...newest].filter(([jobId]) => !this.state.live.has(jobId)));
      const event = next !== null && 'ended' in next ? { ...next, ended } : next;
      const decision = event === null ? schedule(this.state, 'scan', now) : decide(this.state, event, now);
      undos.push(apply(this.state, decision.changes));
      changes.push(...decision.changes);
      effects.push(...decision.effects);
      if (decision.effects.some(({ type }) => type === 'goOn')) steps.push(null); // There was more to start.
      for (const change of decision.changes) if (change.kind === 'job') newest.set(change.after.id, change.after);
    }
    if (isUndone) for (const undo of undos.reverse()) undo();
    else this.#write(changes);
    return { effects };
  }

  #write(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === 'job') this.stored.set(change.after.id, change.after);
      if (change.kind === 'jobRemoved') this.stored.delete(change.jobId);
    }
  }
}

const facts = { request: 1, ended: new Map<number, Job>() };
const submit = (...specs: Partial<JobSpec>[]): Event => ({
  type: 'submit',
  ...facts,
  definitions: specs.map((spec) => definitionFrom({ command: ['true'], env: {}, cwd: '/', ...spec })),
  known: new Map(),
});
const after = (...jobIds: number[]): Partial<JobSpec> => ({ after: jobIds });
const afterAny = (...jobIds: number[]): Partial<JobSpec> => ({ after: jobIds, afterMode: 'any' });
const retry = (...jobIds: number[]): Event => ({ type: 'retry', ...facts, jobIds });
const cancel = (...jobIds: number[]): Event => ({ type: 'cancel', ...facts, jobIds, mode: 'kill' });
const remove = (...jobIds: number[]): Event => ({ type: 'remove', ...facts, jobIds });
const exits = (jobId: number, code = 0): Event[] => [
  { type: 'launched', jobId, leader: { pid: jobId, startTicks: 1, bootId: 'b' } },
  { type: 'leaderExited', jobId, exit: { code, signal: null }, remaining: 0, usage: noUsage },
];
const completes = (jobId: number) => exits(jobId, 0);
const fails = (jobId: number) => exits(jobId, 1);

const stories: { name: string; events: readonly (Event | Event[] | 'restart')[]; told: string }[] = [
  {
    name: 'a job waits for another',
    events: [submit({}), submit(after(1))],
    told: '1 starting, 2 queued [1]',
  },
  {
    name: 'and starts when that is completed',
    events: [submit({}), submit(after(1)), completes(1)],
    told: '1 completed, 2 starting',
  },
  {
    name: 'it fails when that fails, without having run',
    events: [submit({}), submit(after(1)), fails(1)],
    told: '1 failed, 2 failed dependency',
  },
  {
    name: 'it fails when that is cancelled, queued or not',
    events: [submit({}), submit(after(1)), submit(after(1, 2)), cancel(1), fails(1)],
    told: '1 cancelled, 2 failed dependency, 3 failed dependency',
  },
  {
    name: 'with `any`, it starts however that ends',
    events: [submit({}), submit(afterAny(1)), fails(1)],
    told: '1 failed, 2 starting',
  },
  {
    name: 'a diamond comes together at its foot',
    events: [submit({}), submit(after(1), after(1)), submit(after(2, 3)), completes(1), completes(2)],
    told: '1 completed, 2 completed, 3 starting, 4 queued [3]',
  },
  {
    name: 'one failed side of a diamond is enough',
    events: [submit({}), submit(after(1), after(1)), submit(after(2, 3)), completes(1), fails(3)],
    told: '1 completed, 2 starting, 3 failed, 4 failed dependency',
  },
  {
    name: 'a job after one that is completed already waits for nothing',
    events: [submit({}), completes(1), submit(after(1))],
    told: '1 completed, 2 starting',
  },
  {
    name: 'a job after one that has failed already fails at once',
    events: [submit({}), fails(1), submit(after(1))],
    told: '1 failed, 2 failed dependency',
  },
  {
    name: 'with `any` it starts at once',
    events: [submit({}), fails(1), submit(afterAny(1))],
    told: '1 failed, 2 starting',
  },
  {
    name: 'a restart keeps who waits for whom, and who has to wait no more',
    events: [submit({}, {}), submit(afterAny(1, 2)), completes(1), 'restart'],
    told: '1 completed, 2 failed, 3 starting',
  },
  {
    name: 'what a restart ends takes down what waits for it',
    events: [submit({}), submit(after(1)), submit(after(2)), 'restart'],
    told: '1 failed, 2 failed dependency, 3 failed dependency',
  },
  {
    name: 'a job that goes back to the queue has not ended',
    events: [submit({ onSupervisorLost: 'retry' }), submit(after(1)), 'restart'],
    told: '1 starting, 2 queued [1]',
  },
  {
    name: 'the record of a dependency that has ended may go',
    events: [submit({}, {}), submit(after(1, 2)), completes(1), remove(1), 'restart'],
    told: '2 failed, 3 failed dependency',
  },
  {
    name: 'a chain that fell is run again as a whole, in whatever order it is named',
    events: [submit({}), submit(after(1)), submit(after(2)), fails(1), retry(3, 2, 1), completes(1)],
    told: '1 completed, 2 starting, 3 queued [2]',
  },
  {
    name: 'a job that fell is not run again without the one that it needs',
    events: [submit({}), submit(after(1)), submit(after(2)), fails(1), retry(2, 3)],
    told: '1 failed, 2 failed dependency, 3 failed dependency',
  },
  {
    name: 'unless that one has no record any more',
    events: [submit({}), submit(after(1)), fails(1), remove(1), retry(2)],
    told: '2 starting',
  },
  {
    name: 'a job that is run again is waited for again by whoever has not started',
    events: [submit({}, {}), submit(after(1, 2)), completes(1), retry(1)],
    told: '1 starting, 2 starting, 3 queued [2 1]',
  },
  {
    name: 'and not by whoever has',
    events: [submit({}), submit(after(1)), completes(1), fails(2), retry(2), retry(1)],
    told: '1 starting, 2 starting',
  },
];

describe('stories of jobs that wait for others', () => {
  for (const { name, events, told } of stories) {
    test(name, () => {
      const world = new World();
      for (const event of events) {
        if (event === 'restart') world.restart();
        else world.turn(...[event].flat());
      }
      assert.equal(world.told, told);
    });
  }
});

test('a chain of 300 falls at once, in the turn in which its first job fails, and each says why', () => {
  const world = new World();
  world.turn(submit({}));
  for (let jobId = 1; jobId < 300; jobId += 1) world.turn(submit(after(jobId)));
  const effects = world.turn(...fails(1));
  assert.equal(effects.filter(({ type }) => type === 'finished').length, 300);
  assert.equal(world.state.live.size, 0);
  assert.equal(world.state.dependents.size, 0);
  assert.deepEqual(
    [2, 3].map((jobId) => world.stored.get(jobId)?.phase).map((phase) => phase && 'message' in phase && phase.message),
    [
      'It was to start after job 1, which failed with exit code 1. To run both again: corral retry 1 2',
      'It was to start after job 2, which failed (dependency). To run both again: corral retry 2 3',
    ],
  );
});

test('a job after one that never was is not accepted, nor is anything beside it', () => {
  const world = new World();
  const [refusal] = world.turn(submit({}, after(7)));
  assert.deepEqual(refusal?.type === 'refuse' && refusal.code, 'JOB_NOT_FOUND');
  assert.equal(world.stored.size, 0);
});

test('one cancel of a whole chain ends each of its jobs once, as cancelled', () => {
  const world = new World();
  world.turn(submit({}));
  world.turn(submit(after(1)));
  world.turn(submit(after(2)));
  const effects = world.turn(cancel(1, 2, 3), ...fails(1));
  assert.equal(world.told, '1 cancelled, 2 cancelled, 3 cancelled');
  assert.equal(effects.filter(({ type }) => type === 'finished').length, 3);
});

describe('retry', () => {
  const reportOf = (effects: readonly Effect[]) => {
    const reports = effects.flatMap((effect) => (effect.type === 'reply' ? [effect.result as BulkReport] : []));
    return reports.flatMap(({ errors }) => errors).map(({ jobId, code }) => `${code} ${jobId}`);
  };

  test('tells apart what has not ended, what is not there and what has no room', () => {
    const world = new World({ maxQueued: 2 });
    world.turn(submit({}, {}));
    world.turn(...fails(1), ...fails(2));
    world.turn(submit({}));
    assert.deepEqual(reportOf(world.turn(retry(3, 9))), ['JOB_RUNNING 3', 'JOB_NOT_FOUND 9']);
    world.turn({ type: 'setGroup', request: 1, name: 'default', settings: { parallel: 0, maxQueued: 1 } });
    assert.deepEqual(reportOf(world.turn(retry(1, 2))), ['QUEUE_FULL 2']);
    assert.equal(world.told, '1 queued, 2 failed, 3 starting');
  });

  test('is refused as a whole while nothing is accepted', () => {
    const world = new World();
    world.turn(submit({}));
    world.turn(...fails(1));
    world.turn({ type: 'diskChecked', shortage: 'Full.' });
    const [low] = world.turn(retry(1));
    assert.equal(low?.type === 'refuse' && low.code, 'DISK_LOW');
    world.turn({ type: 'shutdown' });
    const [closing] = world.turn(retry(1));
    assert.equal(closing?.type === 'refuse' && closing.code, 'SHUTTING_DOWN');
    assert.equal(world.told, '1 failed');
  });

  test('keeps the attempts, and begins a new life in the queue', () => {
    const world = new World();
    world.turn(submit({ delayMs: 1 }));
    world.turn(cancel(1));
    world.turn(retry(1));
    const again = world.stored.get(1);
    assert.deepEqual(
      again?.attempts.map(({ number }) => number),
      [1],
    );
    assert.equal(again?.queue.notBefore, null);
    world.turn(...fails(1));
    world.turn(retry(1));
    const job = world.stored.get(1);
    assert.deepEqual(
      job?.attempts.map(({ number, cause }) => [number, cause]),
      [
        [1, 'exit'],
        [2, null],
      ],
    );
  });

  test('twice in one turn is one attempt; the second is told that it runs', () => {
    const world = new World();
    world.turn(submit({}));
    world.turn(...fails(1));
    const effects = world.turn(retry(1), retry(1));
    assert.equal(effects.filter(({ type }) => type === 'launch').length, 1);
    assert.deepEqual(reportOf(effects), ['JOB_RUNNING 1']);
  });
});

/** The same rules, written down without a thought for cost: a job that was never started asks all of its dependencies. */
class NaiveWorld {
  readonly jobs: { id: number; after: number[]; any: boolean; started: boolean; status: string }[] = [];

  settle(): void {
    for (const job of this.jobs) {
      if (job.status !== 'queued') continue;
      const needed = job.started ? [] : job.after.map((id) => this.jobs[id - 1]);
      const hasFailed = needed.some((one) => one?.status === 'failed' || one?.status === 'cancelled');
      if (hasFailed && !job.any) job.status = 'failed';
      else if (needed.every((one) => one !== undefined && isOver(one.status))) {
        job.started = true;
        job.status = 'active';
      }
    }
  }

  pick(kind: 'queued' | 'active' | 'over', index: number) {
    const fitting = this.jobs.filter(({ status }) => status === kind || (kind === 'over' && isOver(status)));
    return fitting[index % fitting.length];
  }
}

function isOver(status: string): boolean {
  return ['completed', 'failed', 'cancelled'].includes(status);
}

type Command =
  | { readonly do: 'submit'; readonly picks: readonly number[]; readonly any: boolean }
  | { readonly do: 'complete' | 'fail' | 'cancel' | 'retry'; readonly pick: number }
  | { readonly do: 'retryAll' | 'restart' };

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('submit' as const),
      picks: fc.array(fc.nat(), { maxLength: 4 }),
      any: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('complete' as const, 'complete', 'fail', 'cancel', 'retry'),
      pick: fc.nat(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('retryAll' as const, 'restart') }) },
);

/** What the command means to the model, and the events that it is for the world; `null`: it cannot be done now. */
function carryOut(next: Command, model: NaiveWorld): Event[] | null {
  const { jobs } = model;
  switch (next.do) {
    case 'submit': {
      const ids = jobs.length === 0 ? [] : [...new Set(next.picks.map((pick) => 1 + (pick % jobs.length)))];
      jobs.push({ id: jobs.length + 1, after: ids, any: next.any, started: false, status: 'queued' });
      return [submit(ids.length === 0 ? {} : next.any ? afterAny(...ids) : after(...ids))];
    }
    case 'complete':
    case 'fail': {
      const job = model.pick('active', next.pick);
      if (job === undefined) return null;
      job.status = next.do === 'complete' ? 'completed' : 'failed';
      return next.do === 'complete' ? completes(job.id) : fails(job.id);
    }
    case 'cancel': {
      const job = model.pick('queued', next.pick);
      if (job === undefined) return null;
      job.status = 'cancelled';
      return [cancel(job.id)];
    }
    case 'retry': {
      const job = model.pick('over', next.pick);
      if (job === undefined) return null;
      job.status = 'queued';
      return [retry(job.id)];
    }
    case 'retryAll': {
      const over = jobs.filter(({ status }) => isOver(status));
      if (over.length === 0) return null;
      for (const job of over) job.status = 'queued';
      return [retry(...over.map(({ id }) => id))];
    }
    case 'restart':
      for (const job of jobs) if (job.status === 'active') job.status = 'failed';
      return [];
  }
}

function statusOf(job: Job): string {
  return job.phase.status === 'starting' ? 'active' : job.phase.status;
}

test('random graphs of jobs, ends, retries, restarts and failed commits go as in a naive model', () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(fc.array(fc.tuple(command, fc.nat({ max: 4 })), { maxLength: 80, size: 'max' }), (commands) => {
      const world = new World();
      const model = new NaiveWorld();
      for (const [next, chance] of commands) {
        const events = carryOut(next, model);
        if (events === null) continue;
        // A submit that could not be committed leaves a gap in the ids, which the model has not.
        if (chance === 0 && next.do !== 'submit') world.undoneTurn(...events);
        if (next.do === 'restart') world.restart();
        else world.turn(...events);
        model.settle();
        for (const job of model.jobs) {
          const known = world.state.live.get(job.id) ?? (world.stored.get(job.id) as Job);
          assert.equal(statusOf(known), job.status, `job ${job.id} after ${next.do}`);
          seen.add(`${job.status}${'cause' in known.phase ? ` ${known.phase.cause}` : ''}`);
        }
        checkIndex(world.state);
      }
    }),
    { numRuns: 200 },
  );
  for (const end of [
    'queued',
    'active',
    'completed exit',
    'failed exit',
    'failed dependency',
    'failed supervisor-lost',
    'cancelled cancel',
  ])
    assert.ok(seen.has(end), `control: the runs reach ${end}, not only ${[...seen]}`);
});

function checkIndex(state: State): void {
  const expected = new Map<number, Set<number>>();
  for (const job of state.live.values()) {
    const needed = dependenciesOf(job);
    for (const jobId of needed) expected.set(jobId, new Set([...(expected.get(jobId) ?? []), job.id]));
    if (job.phase.status !== 'queued') continue;
    const unmet = needed.filter((jobId) => state.live.has(jobId));
    assert.deepEqual(job.phase.waitsFor.toSorted(), unmet.toSorted(), `job ${job.id} waits for those that live`);
  }
  const sorted = (index: ReadonlyMap<number, ReadonlySet<number>>) =>
    [...index].map(([jobId, ids]) => [jobId, [...ids].sort()] as const).sort(([a], [b]) => a - b);
  assert.deepEqual(sorted(state.dependents), sorted(expected));
}
