import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  apply,
  backoffMs,
  type Change,
  chanceOf,
  type Decision,
  decide,
  definitionFrom,
  type Effect,
  type Event,
  emptyState,
  type Instant,
  type Job,
  nextDeadline,
  noUsage,
  recover,
  retriesHeldBack,
  revived,
  type State,
  schedule,
} from '../../src/daemon/core/index.ts';
import { type Cause, type JobSpec, retryableCauses } from '../../src/protocol/index.ts';
import { groupOf, instant } from '../support/records.ts';

const dayMs = 86_400_000;

/** A daemon without its shells: time passes when a test says so, and processes do what it says. */
class Daemon {
  state: State = emptyState();
  monoMs = 0;
  /** How far somebody has set the wall clock. */
  shiftMs = 0;
  /** When this daemon started, on a wall clock that nobody set. */
  epochMs = 1_700_000_000_000;
  readonly launches: { jobId: number; atMs: number }[] = [];
  readonly ended: Job[] = [];

  constructor(parallel = 1_000) {
    apply(this.state, [{ kind: 'group', before: null, after: groupOf('default', { parallel, maxQueued: 100_000 }) }]);
  }

  get now(): Instant {
    const steadyMs = this.epochMs + this.monoMs;
    return instant(this.monoMs, steadyMs + this.shiftMs, steadyMs);
  }

  job(id: number): Job | undefined {
    return this.state.live.get(id);
  }

  emit(...events: Event[]): Effect[] {
    const effects: Effect[] = [];
    const take = ({ changes, effects: more }: Decision) => {
      apply(this.state, changes);
      effects.push(...more);
    };
    for (const event of events) take(decide(this.state, event, this.now));
    // So many are started in a turn; the others in the turns that follow at once.
    for (let started = -1; started < effects.length; ) {
      started = effects.length;
      take(schedule(this.state, 'scan', this.now));
    }
    for (const effect of effects) {
      if (effect.type === 'launch') this.launches.push({ jobId: effect.job.id, atMs: this.monoMs });
      if (effect.type === 'finished') this.ended.push(effect.job);
    }
    return effects;
  }

  submit(...specs: Partial<JobSpec>[]): void {
    const definitions = specs.map((spec) => definitionFrom({ command: ['false'], env: {}, cwd: '/', ...spec }));
    this.emit({ type: 'submit', request: 1, definitions, known: new Map(), ended: new Map() });
  }

  /** The process that was launched for the job runs. */
  run(jobId: number): void {
    this.emit({ type: 'launched', jobId, leader: { pid: jobId, startTicks: 1, bootId: 'b' } });
  }

  exit(jobId: number, code = 1): void {
    this.emit({ type: 'leaderExited', jobId, exit: { code, signal: null }, remaining: 0, usage: noUsage });
  }

  fail(jobId: number): void {
    this.run(jobId);
    this.exit(jobId);
  }

  cancel(jobId: number): void {
    this.emit({ type: 'cancel', request: 1, jobIds: [jobId], mode: 'graceful', ended: new Map() });
  }

  /** Time passes; the alarm rings whenever it is due. */
  pass(ms: number): void {
    const untilMs = this.monoMs + ms;
    for (;;) {
      const next = nextDeadline(this.state);
      if (next === null || next > untilMs) break;
      assert.ok(next >= this.monoMs - 1, 'the alarm never rings for the past');
      this.monoMs = Math.max(this.monoMs, next);
      this.emit({ type: 'tick' });
      const later = nextDeadline(this.state);
      assert.ok(later === null || later > this.monoMs || later !== next, 'what was due has been looked after');
    }
    this.monoMs = untilMs;
  }

  /** SIGKILL, a while, and a new daemon that finds what the store kept: no phase but its status. */
  restart(downMs: number): void {
    const kept = [...this.state.live.values()].map(
      (job): Job => ({
        ...JSON.parse(JSON.stringify(job)),
        phase:
          job.phase.status === 'queued' ? { status: 'queued', readyAtMonoMs: null, startByMonoMs: null } : job.phase,
      }),
    );
    this.epochMs += this.monoMs + downMs + this.shiftMs;
    this.shiftMs = 0;
    this.monoMs = 0;
    const groups = [...this.state.groups.values()].map(
      ({ group }): Change => ({ kind: 'group', before: null, after: group }),
    );
    this.state = emptyState(this.state.nextJobId);
    const jobs = revived(kept, this.now);
    apply(this.state, [...groups, ...jobs.map((after): Change => ({ kind: 'job', before: null, after }))]);
    const changes = recover(this.state, jobs, () => 0, this.now);
    apply(this.state, changes);
    for (const change of changes)
      if (change.kind === 'job' && 'cause' in change.after.phase) this.ended.push(change.after);
    this.emit();
  }
}

/** Pauses without chance. */
const steady = { delayMs: 1_000, jitter: 0, breakerFailures: null } as const;

describe('backoff', () => {
  const cases: { name: string; doublings: number; jitter?: number; unitRandom?: number; pauseMs: number }[] = [
    { name: 'the first pause is the delay', doublings: 0, pauseMs: 100 },
    { name: 'the next is twice as long', doublings: 1, pauseMs: 200 },
    { name: 'and so on', doublings: 5, pauseMs: 3_200 },
    { name: 'up to the longest', doublings: 7, pauseMs: 10_000 },
    { name: 'for ever', doublings: 5_000, pauseMs: 10_000 },
    { name: 'chance takes away up to its share', doublings: 1, jitter: 0.5, unitRandom: 0.999_999, pauseMs: 100 },
    { name: 'or nothing', doublings: 1, jitter: 0.5, unitRandom: 0, pauseMs: 200 },
  ];
  for (const { name, doublings, jitter = 0, unitRandom = 0.5, pauseMs } of cases)
    test(name, () =>
      assert.equal(backoffMs({ doublings, delayMs: 100, maxDelayMs: 10_000, jitter, unitRandom }), pauseMs),
    );

  test('it stays within its bounds, whatever the numbers', () => {
    const numbers = fc.record({
      doublings: fc.nat({ max: 2_000 }),
      delayMs: fc.integer({ min: 1, max: 10 ** 12 }),
      maxDelayMs: fc.integer({ min: 1, max: 10 ** 12 }),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
      unitRandom: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    });
    fc.assert(
      fc.property(numbers, (input) => {
        const pauseMs = backoffMs(input);
        const longest = Math.min(input.maxDelayMs, input.delayMs * 2 ** input.doublings);
        assert.ok(Number.isInteger(pauseMs));
        assert.ok(pauseMs >= Math.floor(longest * (1 - input.jitter)) && pauseMs <= longest, `${pauseMs}`);
      }),
    );
  });

  test('a thousand jobs that fail in one turn come back spread over the whole share of chance', () => {
    const chances = Array.from({ length: 1_000 }, (_, id) => chanceOf(id + 1, 0.3)).sort((a, b) => a - b);
    const gaps = chances.map((chance, index) => chance - (chances[index - 1] ?? 0));
    assert.ok(Math.max(...gaps) < 0.005, `a gap of ${Math.max(...gaps)}`);
    assert.ok(chances.every((chance) => chance >= 0 && chance < 1));
  });
});

describe('a failed attempt', () => {
  test('is run again after its pause, as often as the policy says, and then fails as it did', () => {
    const daemon = new Daemon();
    daemon.submit({ retry: { ...steady, limit: 2 } });
    daemon.fail(1);
    assert.equal(daemon.state.groups.get('default')?.active, 0, 'the slot is free while it waits');
    assert.equal(daemon.job(1)?.queue.retries, 1);
    daemon.pass(999);
    assert.equal(daemon.launches.length, 1, 'not before its time');
    daemon.pass(1);
    daemon.fail(1);
    daemon.pass(2_000);
    daemon.run(1);
    daemon.exit(1, 3);
    assert.deepEqual(
      daemon.launches.map(({ atMs }) => atMs),
      [0, 1_000, 3_000],
    );
    const [end] = daemon.ended;
    assert.deepEqual([end?.phase.status, end?.attempts.length, end?.attempts.at(-1)?.exit?.code], ['failed', 3, 3]);
    assert.equal(end?.attempts.at(-1)?.message, null);
  });

  test('is not run again where nobody asked for it', () => {
    const daemon = new Daemon();
    daemon.submit({});
    daemon.fail(1);
    assert.equal(daemon.ended.length, 1);
  });

  test('that succeeds ends the job', () => {
    const daemon = new Daemon();
    daemon.submit({ retry: { ...steady, limit: 5 } });
    daemon.fail(1);
    daemon.pass(1_000);
    daemon.run(1);
    daemon.exit(1, 0);
    assert.deepEqual([daemon.ended[0]?.phase.status, daemon.ended[0]?.queue.retries], ['completed', 1]);
  });

  const codes: { name: string; retry: JobSpec['retry']; code: number; again: boolean }[] = [
    { name: 'any exit code that is no success', retry: {}, code: 9, again: true },
    { name: 'a listed exit code', retry: { exitCodes: [7, 9] }, code: 9, again: true },
    { name: 'an exit code that is not listed', retry: { exitCodes: [7] }, code: 9, again: false },
    { name: 'a cause that is not listed', retry: { causes: ['oom', 'signal'] }, code: 9, again: false },
  ];
  for (const { name, retry, code, again } of codes) {
    test(`${name}: ${again ? 'again' : 'not again'}`, () => {
      const daemon = new Daemon();
      daemon.submit({ retry: { ...steady, limit: 1, ...retry } });
      daemon.run(1);
      daemon.exit(1, code);
      assert.equal(daemon.ended.length, again ? 0 : 1);
    });
  }

  test('after a cancel that came while it was ending for another reason is not run again', () => {
    const daemon = new Daemon();
    daemon.submit(
      { maxRuntimeMs: 1_000, retry: { ...steady, limit: 5 } },
      { maxRuntimeMs: 1_000, retry: { ...steady, limit: 5 } },
    );
    daemon.run(1);
    daemon.run(2);
    daemon.pass(1_000);
    assert.equal(daemon.job(1)?.phase.status, 'stopping');
    daemon.cancel(1);
    daemon.exit(1);
    daemon.exit(2);
    assert.deepEqual(
      daemon.ended.map(({ id, phase }) => [id, phase.status, 'cause' in phase && phase.cause]),
      [[1, 'failed', 'max-runtime']],
    );
    assert.equal(daemon.job(2)?.phase.status, 'queued', 'control: without the cancel it is run again');
  });

  test('also where the daemon dies between that cancel and the end', () => {
    const daemon = new Daemon();
    daemon.submit({ maxRuntimeMs: 1_000, retry: { ...steady, limit: 5 } });
    daemon.run(1);
    daemon.pass(1_000);
    daemon.cancel(1);
    daemon.restart(10);
    assert.deepEqual(
      daemon.ended.map(({ phase }) => phase.status),
      ['failed'],
    );
  });

  test('a cancel while the job waits for its retry ends it', () => {
    const daemon = new Daemon();
    daemon.submit({ retry: { ...steady, limit: null } });
    daemon.fail(1);
    daemon.cancel(1);
    daemon.pass(100_000);
    assert.deepEqual([daemon.ended[0]?.phase.status, daemon.launches.length], ['cancelled', 1]);
  });

  test('that ran well for longer than the longest pause begins again with the shortest; the count goes on', () => {
    const daemon = new Daemon();
    daemon.submit({ retry: { ...steady, limit: null, maxDelayMs: 4_000 } });
    for (const pauseMs of [1_000, 2_000, 4_000, 4_000]) {
      daemon.fail(1);
      daemon.pass(pauseMs - 1);
      assert.equal(daemon.job(1)?.phase.status, 'queued');
      daemon.pass(1);
      assert.equal(daemon.job(1)?.phase.status, 'starting', `after ${pauseMs}`);
    }
    daemon.run(1);
    daemon.pass(4_001);
    daemon.exit(1);
    assert.equal(daemon.job(1)?.queue.retries, 5);
    daemon.pass(1_000);
    assert.equal(daemon.job(1)?.phase.status, 'starting');
  });
});

test('a service is run again for ever, a minute apart at most; the breaker is for one that fails far more often', () => {
  const daemon = new Daemon();
  daemon.submit({ profile: 'service' });
  for (let n = 0; n < 200; n += 1) {
    daemon.fail(1);
    daemon.pass(60_000);
    assert.equal(daemon.job(1)?.phase.status, 'starting', `after failure ${n + 1}`);
  }
  assert.equal(daemon.job(1)?.queue.retries, 200);
});

describe('the breaker', () => {
  const spec: Partial<JobSpec> = {
    retry: { limit: null, delayMs: 10, maxDelayMs: 10, jitter: 0, breakerFailures: 3, breakerWindowMs: 60_000 },
  };

  test('gives a job up that fails too often within its window, and says so', () => {
    const daemon = new Daemon();
    daemon.submit(spec);
    for (let n = 0; n < 3; n += 1) {
      daemon.fail(1);
      daemon.pass(10);
    }
    assert.equal(daemon.ended[0]?.attempts.at(-1)?.message, 'gave up: 3 failures within 1m; last: exit 1');
    assert.equal(daemon.ended[0]?.attempts.length, 3);
  });

  test('lets one be that fails as often, but seldom', () => {
    const daemon = new Daemon();
    daemon.submit(spec);
    for (let n = 0; n < 20; n += 1) {
      daemon.run(1);
      daemon.pass(30_001);
      daemon.exit(1);
      daemon.pass(10);
    }
    assert.equal(daemon.ended.length, 0);
    assert.equal(daemon.job(1)?.queue.failuresWallMs.length, 3, 'only as many are kept as it needs');
  });

  test('counts over a restart of the daemon', () => {
    const daemon = new Daemon();
    daemon.submit(spec);
    for (let n = 0; n < 3; n += 1) {
      daemon.fail(1);
      daemon.restart(1_000);
      daemon.pass(20);
    }
    assert.match(daemon.ended[0]?.attempts.at(-1)?.message ?? '', /^gave up: 3 failures/);
  });

  test('does not count failures of a daemon whose clock was ahead: they may be of long ago', () => {
    const daemon = new Daemon();
    daemon.submit(spec);
    daemon.fail(1);
    daemon.pass(10);
    daemon.fail(1);
    daemon.restart(-dayMs);
    daemon.pass(10);
    daemon.fail(1);
    assert.equal(daemon.ended.length, 0);
  });

  for (const shiftMs of [dayMs, -dayMs]) {
    test(`is not fooled by a wall clock that is set by ${shiftMs / dayMs} day`, () => {
      const often = new Daemon();
      const seldom = new Daemon();
      for (const daemon of [often, seldom]) daemon.submit(spec);
      for (let n = 0; n < 3; n += 1) {
        often.fail(1);
        often.shiftMs += shiftMs;
        often.pass(10);
        seldom.run(1);
        seldom.pass(30_001);
        seldom.exit(1);
        seldom.shiftMs += shiftMs;
        seldom.pass(10);
      }
      assert.match(often.ended[0]?.attempts.at(-1)?.message ?? '', /^gave up/);
      assert.equal(seldom.ended.length, 0);
    });
  }
});

describe('clocks that jump', () => {
  for (const shiftMs of [dayMs, -dayMs]) {
    test(`by ${shiftMs / dayMs} day neither start a retry early nor hold it back`, () => {
      const daemon = new Daemon();
      daemon.submit({ retry: { ...steady, limit: 3, delayMs: 5_000 } }, { delayMs: 5_000 }, { maxRuntimeMs: 5_000 });
      daemon.fail(1);
      daemon.run(3);
      daemon.shiftMs = shiftMs;
      daemon.pass(4_999);
      assert.deepEqual(
        [1, 2, 3].map((id) => daemon.job(id)?.phase.status),
        ['queued', 'queued', 'running'],
      );
      daemon.pass(1);
      assert.deepEqual(
        [1, 2, 3].map((id) => daemon.job(id)?.phase.status),
        ['starting', 'starting', 'stopping'],
      );
    });

    test(`by ${shiftMs / dayMs} day while the daemon is down make a pause no longer than it was`, () => {
      const daemon = new Daemon();
      daemon.submit({ retry: { ...steady, limit: 3, delayMs: 5_000, maxDelayMs: 5_000 } });
      daemon.fail(1);
      daemon.restart(shiftMs);
      daemon.pass(5_000);
      assert.equal(daemon.launches.length, 2);
    });
  }

  test('what is left of a pause is waited for after a restart', () => {
    const daemon = new Daemon();
    daemon.submit({ retry: { ...steady, limit: 3, delayMs: 5_000 } });
    daemon.fail(1);
    daemon.pass(1_000);
    daemon.restart(2_000);
    daemon.pass(1_999);
    assert.equal(daemon.launches.length, 1);
    daemon.pass(1);
    assert.equal(daemon.launches.length, 2);
  });
});

describe('a storm of retries', () => {
  const spec: Partial<JobSpec> = { retry: { ...steady, limit: 1 } };

  test('is spread out: a burst at once, the others at the pace, in order; all of them come', () => {
    const daemon = new Daemon();
    daemon.emit({ type: 'setRetryPace', perSecond: 20, burst: 100 });
    daemon.submit(...Array<Partial<JobSpec>>(500).fill(spec));
    for (let id = 1; id <= 500; id += 1) daemon.fail(id);
    daemon.launches.length = 0;
    daemon.pass(1_000);
    assert.equal(daemon.launches.length, 100);
    assert.equal(retriesHeldBack(daemon.state.retryPace, daemon.monoMs), 400);
    daemon.pass(1_000);
    assert.equal(daemon.launches.length, 120);
    assert.equal(retriesHeldBack(daemon.state.retryPace, daemon.monoMs), 380);
    daemon.pass(19_000);
    assert.equal(daemon.launches.length, 500);
    assert.equal(retriesHeldBack(daemon.state.retryPace, daemon.monoMs), 0);
    const order = daemon.launches.map(({ jobId }) => jobId);
    assert.equal(new Set(order).size, 500);
  });

  test('is spread out also where the daemon starts into it', () => {
    const daemon = new Daemon();
    daemon.submit(...Array<Partial<JobSpec>>(500).fill(spec));
    for (let id = 1; id <= 500; id += 1) daemon.fail(id);
    daemon.restart(60_000);
    daemon.launches.length = 0;
    daemon.pass(100);
    assert.ok(daemon.launches.length <= 103, `${daemon.launches.length} at once`);
    daemon.pass(21_000);
    assert.equal(daemon.launches.length, 500);
  });

  test('whatever fails when, no window holds more than the bucket', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.nat({ max: 700 }), { minLength: 1, maxLength: 60 }),
        (perSecond, burst, waits) => {
          const daemon = new Daemon();
          daemon.emit({ type: 'setRetryPace', perSecond, burst });
          daemon.submit(...Array<Partial<JobSpec>>(waits.length).fill(spec));
          daemon.launches.length = 0;
          for (const [index, waitMs] of waits.entries()) {
            daemon.fail(index + 1);
            daemon.pass(waitMs);
          }
          daemon.pass(1_000 + (waits.length * 1_000) / perSecond + 1);
          assert.equal(daemon.launches.length, waits.length, 'none is lost');
          for (const [index, first] of daemon.launches.entries())
            for (const [further, last] of daemon.launches.slice(index).entries())
              assert.ok(further + 1 <= burst + ((last.atMs - first.atMs) * perSecond) / 1_000 + 1e-6);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('a turn that could not be committed is taken back: nobody loses a turn by it', () => {
    const daemon = new Daemon();
    daemon.emit({ type: 'setRetryPace', perSecond: 10, burst: 1 });
    daemon.submit(spec, spec, spec);
    for (let id = 1; id <= 3; id += 1) daemon.fail(id);
    daemon.monoMs = 1_000;
    const before = daemon.state.retryPace;
    const undo = apply(daemon.state, decide(daemon.state, { type: 'tick' }, daemon.now).changes);
    assert.notEqual(daemon.state.retryPace, before);
    undo();
    assert.equal(daemon.state.retryPace, before);
    daemon.launches.length = 0;
    daemon.pass(200);
    assert.deepEqual(
      daemon.launches.map(({ atMs }) => atMs),
      [1_000, 1_100, 1_200],
    );
  });

  test('a first start does not wait for retries', () => {
    const daemon = new Daemon();
    daemon.emit({ type: 'setRetryPace', perSecond: 1, burst: 1 });
    daemon.submit(spec, spec, spec);
    for (let id = 1; id <= 3; id += 1) daemon.fail(id);
    daemon.pass(1_000);
    daemon.submit({});
    assert.ok(daemon.launches.some(({ jobId }) => jobId === 4));
  });
});

interface Step {
  readonly do:
    | 'run'
    | 'exit'
    | 'signal'
    | 'strays'
    | 'emptied'
    | 'launchFailed'
    | 'cancel'
    | 'kill'
    | 'pass'
    | 'restart';
  readonly pick: number;
  readonly ms: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom(
    'run',
    'run',
    'run',
    'exit',
    'exit',
    'signal',
    'strays',
    'emptied',
    'launchFailed',
    'cancel',
    'kill',
    'pass',
    'pass',
    'restart',
  ),
  pick: fc.nat({ max: 30 }),
  ms: fc.nat({ max: 3_000 }),
});

const policy = fc.record({
  limit: fc.option(fc.nat({ max: 4 }), { nil: null }),
  delayMs: fc.integer({ min: 1, max: 500 }),
  maxDelayMs: fc.integer({ min: 1, max: 2_000 }),
  jitter: fc.constantFrom(0, 0.5, 1),
  causes: fc.subarray([...retryableCauses] as Cause[]),
  exitCodes: fc.option(fc.constant<number[]>([1]), { nil: null }),
  breakerFailures: fc.option(fc.integer({ min: 1, max: 4 }), { nil: null }),
  breakerWindowMs: fc.integer({ min: 1, max: 5_000 }),
});

test('whatever happens: never more attempts than the limit allows, and none after a client has asked for the end', () => {
  const reached = { retried: 0, stopped: 0, gaveUp: 0, restartedInBetween: 0 };
  fc.assert(
    fc.property(
      fc.array(policy, { minLength: 1, maxLength: 3 }),
      fc.array(step, { maxLength: 80, size: 'max' }),
      (policies, steps) => {
        const daemon = new Daemon();
        daemon.submit(...policies.map((retry) => ({ retry, maxRuntimeMs: 1_500, killGraceMs: 100 })));
        /** What the jobs had when a client asked for their end. */
        const asked = new Map<number, number>();
        let supervisorLost = 0;
        for (const { do: what, pick, ms } of steps) {
          const jobId = 1 + (pick % policies.length);
          const job = daemon.job(jobId);
          const status = job?.phase.status;
          const isUp = status === 'running' || (status === 'stopping' && job?.attempts.at(-1)?.exit === null);
          const ended = (exit: { code: number | null; signal: string | null }, remaining: number) =>
            daemon.emit({ type: 'leaderExited', jobId, exit, remaining, usage: noUsage });
          if (what === 'run' && status === 'starting') daemon.run(jobId);
          if (what === 'launchFailed' && status === 'starting')
            daemon.emit({ type: 'launchFailed', jobId, message: 'no', exit: { code: 127, signal: null } });
          if (what === 'exit' && isUp) ended({ code: pick % 3, signal: null }, 0);
          if (what === 'signal' && isUp) ended({ code: null, signal: 'SIGSEGV' }, 0);
          if (what === 'strays' && isUp) ended({ code: pick % 3, signal: null }, 2);
          if (what === 'emptied' && status === 'stopping' && !isUp)
            daemon.emit({ type: 'emptied', jobId, usage: noUsage });
          if ((what === 'cancel' || what === 'kill') && job) {
            daemon.emit({
              type: 'cancel',
              request: 1,
              jobIds: [jobId],
              mode: what === 'kill' ? 'kill' : 'graceful',
              ended: new Map(),
            });
            asked.set(jobId, asked.get(jobId) ?? job.attempts.length);
          }
          if (what === 'pass') daemon.pass(ms);
          if (what === 'restart') {
            daemon.restart(ms);
            supervisorLost += 1;
          }
          for (const one of [...daemon.state.live.values(), ...daemon.ended]) {
            const { limit } = policies[one.id - 1] as { limit: number | null };
            assert.ok(
              limit === null || one.attempts.length <= limit + 1,
              `${one.attempts.length} attempts, limit ${limit}`,
            );
            assert.ok(one.queue.retries <= one.attempts.length);
            if (one.attempts.length > 1) reached.retried += 1;
            if (one.queue.stopped) reached.stopped += 1;
            if (one.attempts.at(-1)?.message?.startsWith('gave up')) reached.gaveUp += 1;
            const before = asked.get(one.id);
            if (before !== undefined)
              assert.equal(one.attempts.length, before, `job ${one.id} ran on after a client's stop`);
          }
          const finals = daemon.ended.map(({ id }) => id);
          assert.equal(new Set(finals).size, finals.length, 'one final state a job');
        }
        if (supervisorLost > 0 && reached.retried > 0) reached.restartedInBetween += 1;
      },
    ),
    { numRuns: 500 },
  );
  for (const [what, times] of Object.entries(reached)) assert.ok(times > 0, `control: the runs reach "${what}"`);
});
