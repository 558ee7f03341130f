import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  apply,
  beginAttempt,
  type Change,
  type Connections,
  type Counts,
  currentAttempt,
  decide,
  type Effect,
  type Event,
  emptyState,
  type IdleCheck,
  type IdleSample,
  type IdleWatch,
  idleReason,
  type Job,
  type Look,
  nextCounter,
  nextDeadline,
  observe,
  type State,
  startWatch,
  type Talk,
  watchAnew,
  withAttempt,
} from '../../src/daemon/core/index.ts';
import type { IdlePolicy, JobSpec } from '../../src/protocol/index.ts';
import { groupOf, instant, jobOf } from '../support/records.ts';

/** The rule of profile `stream`, with its true numbers. */
const stream: IdlePolicy = { cpuMillicores: 4, checks: 5, intervalMs: 10_000, signals: ['cpu'], dryRun: false };
const everySignal: IdlePolicy = { ...stream, signals: ['cpu', 'io', 'output', 'progress', 'client'] };

const at = (monoMs: number) => instant(monoMs);

function started(rule: IdlePolicy, monoMs = 0): IdleWatch {
  const watch = startWatch(rule, at(monoMs));
  assert.ok(watch);
  return watch;
}

/** Looks that follow each other, by time in seconds; a number is CPU time used so far, in ms. */
function verdicts(rule: IdlePolicy, looks: readonly [atS: number, look: number | Counts | 'unseen' | 'heardOf'][]) {
  let watch = started(rule);
  return looks.map(([atS, look]) => {
    const atMonoMs = atS * 1_000;
    const counts = typeof look === 'number' ? { cpu: look * 1_000 } : look;
    const seen = observe(watch, typeof counts === 'string' ? counts : { atMonoMs, counts }, rule, at(atMonoMs));
    watch = seen.watch;
    return `${seen.verdict}${seen.watch.quiet > 0 ? ` ${seen.watch.quiet}` : ''}`;
  });
}

describe('the rule of stream', () => {
  const cases: { name: string; looks: Parameters<typeof verdicts>[1]; says: string[] }[] = [
    {
      name: 'at or below 4 millicores in each of 5 checks 10 s apart: idle 50 s after the start, 40 ms a check included',
      looks: [
        [10, 40],
        [20, 80],
        [30, 120],
        [40, 160],
        [50, 200],
      ],
      says: ['quiet 1', 'quiet 2', 'quiet 3', 'quiet 4', 'idle 5'],
    },
    {
      name: 'one check above the threshold starts the count again',
      looks: [
        [10, 0],
        [20, 0],
        [30, 0],
        [40, 0],
        [50, 41],
        [60, 41],
        [70, 41],
        [80, 41],
        [90, 41],
        [100, 41],
      ],
      says: [
        'quiet 1',
        'quiet 2',
        'quiet 3',
        'quiet 4',
        'active',
        'quiet 1',
        'quiet 2',
        'quiet 3',
        'quiet 4',
        'idle 5',
      ],
    },
    {
      name: 'CPU use is reckoned over the time that has really passed',
      looks: [
        [10, 0],
        [25, 59],
        [30, 80],
      ],
      says: ['quiet 1', 'quiet 2', 'active'],
    },
    {
      name: 'a look that failed is unknown, and so is the one after it',
      looks: [
        [10, 0],
        [20, 'unseen'],
        [30, 0],
        [40, 0],
      ],
      says: ['quiet 1', 'unknown', 'unknown', 'quiet 1'],
    },
    {
      name: 'a count that could not be read is unknown, and so is the check after it',
      looks: [
        [10, 0],
        [20, { cpu: null }],
        [30, 0],
        [40, 0],
      ],
      says: ['quiet 1', 'unknown', 'unknown', 'quiet 1'],
    },
    {
      name: 'a counter that goes backwards is unknown',
      looks: [
        [10, 10],
        [20, 5],
        [30, 5],
      ],
      says: ['quiet 1', 'unknown', 'quiet 1'],
    },
    {
      name: 'so is time in which nobody looked for more than two intervals',
      looks: [
        [10, 0],
        [30.1, 0],
        [50.1, 0],
      ],
      says: ['quiet 1', 'unknown', 'quiet 1'],
    },
    {
      name: 'it is said once for each quiet run',
      looks: [
        [10, 0],
        [20, 0],
        [30, 0],
        [40, 0],
        [50, 0],
        [60, 0],
        [70, 99],
        [80, 99],
      ],
      says: ['quiet 1', 'quiet 2', 'quiet 3', 'quiet 4', 'idle 5', 'quiet 6', 'active', 'quiet 1'],
    },
    {
      name: 'no time at all is no check',
      looks: [
        [10, 0],
        [10, 0],
      ],
      says: ['quiet 1', 'unknown'],
    },
  ];
  for (const { name, looks, says } of cases) test(name, () => assert.deepEqual(verdicts(stream, looks), says));

  test('checks are due at whole intervals from the start, on the beat, also when one came late', () => {
    const watch = started(stream, 123);
    assert.equal(watch.dueMonoMs, 10_500); // The beat of 10 s is half a second.
    const dueAfter = (monoMs: number) => observe(watch, 'unseen', stream, at(monoMs)).watch.dueMonoMs;
    assert.equal(dueAfter(10_500), 20_500);
    assert.equal(dueAfter(14_000), 20_500);
    assert.equal(dueAfter(16_000), 30_500, 'less than half an interval is no check');
    assert.equal(dueAfter(1e9 + 123), 1e9 + 10_500);
  });

  test('many jobs that start at any time share the beats of an interval', () => {
    const due = Array.from({ length: 1_000 }, (_, index) => started(stream, index * 10.7).dueMonoMs);
    assert.ok(new Set(due).size <= 23, `${new Set(due).size} beats in 10.7 s`);
  });

  test('says why, with the samples', () => {
    const looks = [1, 2, 3, 4, 5].map((check) => ({
      atMonoMs: check * 10_000,
      counts: { cpu: check === 1 ? 1_000 : 1_250 },
    }));
    const last = looks.reduce((watch, look) => observe(watch, look, stream, at(look.atMonoMs)).watch, started(stream));
    assert.equal(idleReason(last, stream), '5 checks, 10s apart, at or below 4 millicores: 0.1, 0.0, 0.0, 0.0, 0.0');
    assert.equal(
      idleReason({ ...last, quiet: 99 }, { ...everySignal, intervalMs: 60_000 }),
      '99 checks, 1m apart, without io, output, progress, client, at or below 4 millicores: …, 0.1, 0.0, 0.0, 0.0, 0.0',
    );
    assert.equal(
      idleReason({ ...last, quiet: 1 }, { ...stream, signals: ['output'] }),
      '1 check, 10s apart, without output',
    );
  });
});

describe('the other signals', () => {
  const quiet: Counts = { cpu: 0, output: 0, io: 0, talk: new Map() };
  const cases: { name: string; look: Counts | 'heardOf'; says: string }[] = [
    { name: 'nothing at all', look: quiet, says: 'quiet 1' },
    { name: 'one byte of output', look: { ...quiet, output: 1 }, says: 'active' },
    { name: 'one byte read', look: { ...quiet, io: 1 }, says: 'active' },
    { name: 'output that cannot be looked at', look: { ...quiet, output: null }, says: 'unknown' },
    { name: 'CPU, with nothing else looked at', look: { cpu: 1e6 }, says: 'active' },
    { name: 'a report or a client', look: 'heardOf', says: 'active' },
  ];
  for (const { name, look, says } of cases)
    test(`${name}: ${says}`, () => assert.deepEqual(verdicts(everySignal, [[10, look]]), [says]));

  const last: IdleSample = { atMonoMs: 0, counts: quiet };
  const reads = (rule: IdlePolicy, found: Counts, before: IdleSample | null = last) => {
    const order: string[] = [];
    let counts: Counts = {};
    for (let next = nextCounter({ rule, last: before }, counts, 10_000); next !== null; ) {
      order.push(next);
      counts = { ...counts, [next]: found[next] ?? null };
      next = nextCounter({ rule, last: before }, counts, 10_000);
    }
    return order.join(' ');
  };

  test('are read from cheap to costly, and only while no cheaper one shows activity', () => {
    assert.equal(reads(everySignal, quiet), 'cpu output io talk');
    assert.equal(reads(everySignal, { ...quiet, cpu: 1e6 }), 'cpu');
    assert.equal(reads(everySignal, { ...quiet, output: 1 }), 'cpu output');
    assert.equal(reads(stream, quiet), 'cpu');
    assert.equal(reads({ ...stream, signals: ['io'] }, quiet), 'io talk');
    assert.equal(reads(everySignal, { ...quiet, io: 1 }), 'cpu output io');
    assert.equal(reads({ ...stream, signals: ['client'] }, quiet), '');
    assert.equal(reads(everySignal, { ...quiet, cpu: null }), 'cpu output io talk', 'unknown is no activity');
    assert.equal(
      reads(everySignal, quiet, null),
      'cpu output io talk',
      'so that the next check has something to compare with',
    );
  });
});

describe('what a process has to do with others', () => {
  const none: Connections = { bytes: 0, uncounted: 0 };
  const silent: Connections = { bytes: 7, uncounted: 0 };
  const unix: Connections = { bytes: 0, uncounted: 1 };
  const cases: { name: string; before: Talk | null; now: Talk | null; says: string }[] = [
    {
      name: 'one that has not run, whatever it is connected to',
      before: { waits: 3, connections: unix },
      now: { waits: 3, connections: unix },
      says: 'quiet',
    },
    {
      name: 'one that has run, and only listens',
      before: { waits: 3, connections: none },
      now: { waits: 4, connections: none },
      says: 'quiet',
    },
    {
      name: 'one that has run and is connected, where nobody counts what passes',
      before: { waits: 3, connections: unix },
      now: { waits: 4, connections: unix },
      says: 'active',
    },
    {
      name: 'one that has run, while nothing passed through its connection',
      before: { waits: 3, connections: silent },
      now: { waits: 4, connections: silent },
      says: 'quiet',
    },
    {
      name: 'one through whose connection something passed',
      before: { waits: 3, connections: silent },
      now: { waits: 4, connections: { bytes: 8, uncounted: 0 } },
      says: 'active',
    },
    {
      name: 'one whose connection has closed',
      before: { waits: 3, connections: silent },
      now: { waits: 4, connections: none },
      says: 'active',
    },
    {
      name: 'a thread that has ended took its count along',
      before: { waits: 30, connections: unix },
      now: { waits: 4, connections: unix },
      says: 'active',
    },
    { name: 'a new one, with a connection', before: null, now: { waits: 1, connections: silent }, says: 'active' },
    { name: 'a new one, without', before: null, now: { waits: 1, connections: none }, says: 'quiet' },
    { name: 'one that is gone', before: { waits: 1, connections: unix }, now: null, says: 'quiet' },
    {
      name: 'one that has run, and may not be looked at',
      before: { waits: 3, connections: unix },
      now: { waits: 4, connections: null },
      says: 'unknown',
    },
    {
      name: 'one whose bytes have nothing to be compared with',
      before: { waits: 3, connections: null },
      now: { waits: 4, connections: silent },
      says: 'unknown',
    },
    {
      name: 'one that was not looked at before, and has no connection',
      before: { waits: 3, connections: null },
      now: { waits: 4, connections: none },
      says: 'quiet',
    },
  ];
  const rule: IdlePolicy = { ...stream, signals: ['io'] };
  const counts = (one: Talk | null): Counts => ({ io: 0, talk: new Map(one === null ? [] : [[7, one]]) });
  for (const { name, before, now, says } of cases)
    test(`${name}: ${says}`, () => {
      const last: IdleSample = { atMonoMs: 0, counts: counts(before) };
      const look = { atMonoMs: 10_000, counts: counts(now) };
      assert.equal(observe({ ...started(rule), last }, look, rule, at(10_000)).verdict, says);
    });

  test('of several, one that is active decides', () => {
    const talk = new Map<number, Talk>([
      [1, { waits: 9, connections: null }],
      [2, { waits: 9, connections: unix }],
    ]);
    const look = { atMonoMs: 10_000, counts: { io: 0, talk } };
    assert.equal(observe(started(rule), look, rule, at(10_000)).verdict, 'active');
  });

  test('what could not be read is unknown, and so is the check after it', () => {
    assert.deepEqual(
      verdicts(rule, [
        [10, { io: 0, talk: null }],
        [20, counts(null)],
        [30, counts(null)],
      ]),
      ['unknown', 'unknown', 'quiet 1'],
    );
  });
});

describe('observe, against a model that knows the whole history', () => {
  const look = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constant('seen' as const), usedMs: fc.integer({ min: -20, max: 80 }) }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: 'failed' as const, usedMs: 0 }) },
    {
      weight: 1,
      arbitrary: fc.constantFrom({ kind: 'unseen' as const, usedMs: 0 }, { kind: 'heardOf' as const, usedMs: 0 }),
    },
  );
  const history = fc.array(fc.tuple(fc.integer({ min: 5_000, max: 23_000 }), look), { maxLength: 60 });

  /** Quiet checks in a row up to each look: counted anew from the history each time. */
  function model(looks: { atMonoMs: number; usec: number | null | 'unseen' }[], index: number): number {
    let run = 0;
    for (let i = index; i >= 0; i -= 1) {
      const now = looks[i];
      const before = i === 0 ? { atMonoMs: 0, usec: 0 } : looks[i - 1];
      if (typeof now?.usec !== 'number' || typeof before?.usec !== 'number') return run;
      const elapsedMs = now.atMonoMs - before.atMonoMs;
      const used = (now.usec - before.usec) / elapsedMs;
      if (elapsedMs > 20_000 || used < 0 || used > 4) return run;
      run += 1;
    }
    return run;
  }

  test('agrees', () => {
    fc.assert(
      fc.property(history, (steps) => {
        let watch = started(stream);
        let atMonoMs = 0;
        let usec = 0;
        const looks: Parameters<typeof model>[0] = [];
        for (const [index, [elapsedMs, { kind, usedMs }]] of steps.entries()) {
          atMonoMs += elapsedMs;
          usec += usedMs * 1_000;
          const counts: Counts = { cpu: kind === 'failed' ? null : usec };
          const seen: Look = kind === 'unseen' || kind === 'heardOf' ? kind : { atMonoMs, counts };
          looks.push({ atMonoMs, usec: kind === 'seen' ? usec : kind === 'failed' ? null : 'unseen' });
          const observed = observe(watch, seen, stream, at(atMonoMs));
          watch = observed.watch;
          const run = model(looks, index);
          assert.equal(watch.quiet, run);
          assert.equal(observed.verdict === 'idle', run === stream.checks);
          assert.equal(['quiet', 'idle'].includes(observed.verdict), run > 0);
          assert.ok((watch.dueMonoMs ?? 0) > atMonoMs && (watch.dueMonoMs ?? 0) <= atMonoMs + 16_000);
        }
      }),
    );
  });
});

/** A daemon without shells, with running jobs. */
class Running {
  readonly state: State = emptyState();
  readonly notes: Extract<Change, { kind: 'note' }>[] = [];

  constructor(...specs: Partial<JobSpec>[]) {
    apply(this.state, [{ kind: 'group', before: null, after: groupOf('default', { parallel: 100 }) }]);
    for (const [index, spec] of specs.entries()) {
      const job = jobOf(index + 1, spec);
      apply(this.state, [
        { kind: 'job', before: null, after: job },
        { kind: 'job', before: job, after: beginAttempt(job, 'scan') },
      ]);
      this.turn(0, { type: 'launched', jobId: job.id, leader: { pid: 7, startTicks: 7, bootId: '' } });
    }
  }

  turn(monoMs: number, event: Event): readonly Effect[] {
    const { changes, effects } = decide(this.state, event, at(monoMs));
    apply(this.state, changes);
    this.notes.push(...changes.filter((change) => change.kind === 'note'));
    return effects;
  }

  tick(monoMs: number): readonly IdleCheck[] {
    return this.turn(monoMs, { type: 'tick' }).flatMap((effect) => (effect.type === 'sample' ? effect.checks : []));
  }

  sampled(monoMs: number, checks: readonly IdleCheck[], cpu = 0): readonly Effect[] {
    const samples = checks.map(({ job }) => ({
      jobId: job.id,
      attempt: currentAttempt(job).number,
      atMonoMs: monoMs,
      counts: { cpu },
    }));
    return this.turn(monoMs, { type: 'sampled', samples });
  }

  job(jobId: number): Job {
    const job = this.state.live.get(jobId);
    assert.ok(job);
    return job;
  }

  change(jobId: number, to: (job: Job) => Job): void {
    apply(this.state, [{ kind: 'job', before: this.job(jobId), after: to(this.job(jobId)) }]);
  }

  quiet(jobId: number): number | null {
    const { phase } = this.job(jobId);
    return phase.status === 'running' ? (phase.idle?.quiet ?? null) : null;
  }
}

describe('a job that is idle', () => {
  test('is stopped for that, with the reason', () => {
    const daemon = new Running({ idle: stream });
    for (let monoMs = 10_000; monoMs < 50_000; monoMs += 10_000)
      assert.deepEqual(daemon.sampled(monoMs, daemon.tick(monoMs)), []);
    const effects = daemon.sampled(50_000, daemon.tick(50_000));
    assert.deepEqual(effects, [{ type: 'terminate', jobId: 1 }]);
    assert.equal(daemon.job(1).phase.status, 'stopping');
    const { cause, message } = currentAttempt(daemon.job(1));
    assert.equal(cause, 'idle');
    assert.match(message ?? '', /^5 checks, 10s apart/);
    assert.deepEqual(
      daemon.notes.map(({ note }) => note),
      ['idle'],
    );
    assert.equal(nextDeadline(daemon.state), 50_000 + 5_000, 'only the grace is left');
  });

  test('with dryRun is told of, once, and runs on', () => {
    const daemon = new Running({ idle: { ...stream, dryRun: true } });
    for (let monoMs = 10_000; monoMs <= 90_000; monoMs += 10_000) daemon.sampled(monoMs, daemon.tick(monoMs));
    assert.equal(daemon.job(1).phase.status, 'running');
    assert.equal(daemon.notes.length, 1);
  });

  test('is looked at together with all others that are due, and nobody twice at once', () => {
    const daemon = new Running(
      { idle: stream },
      { idle: stream },
      { idle: null },
      { idle: { ...stream, intervalMs: 60_000 } },
    );
    assert.equal(nextDeadline(daemon.state), 10_000);
    assert.deepEqual(daemon.tick(9_999), []);
    const checks = daemon.tick(10_000);
    assert.deepEqual(
      checks.map(({ job }) => job.id),
      [1, 2],
    );
    assert.deepEqual(daemon.tick(20_000), [], 'their samples are being taken');
    assert.equal(nextDeadline(daemon.state), 60_000);
    daemon.sampled(20_500, checks);
    assert.equal(nextDeadline(daemon.state), 30_000);
  });

  test('there is no alarm for jobs without a rule', () => {
    assert.equal(nextDeadline(new Running({ idle: null }).state), null);
  });

  test('a deadline in the far future is entered once, however many checks there are', () => {
    const daemon = new Running({ idle: stream, maxRuntimeMs: 1e9 });
    for (let monoMs = 10_000; monoMs < 5e6; monoMs += 10_000)
      daemon.sampled(monoMs, daemon.tick(monoMs), monoMs * 1_000);
    assert.equal(daemon.state.deadlines.size, 1);
    assert.ok(daemon.state.idleChecks.size <= 2);
  });

  test('a job of which a deadline and a check are due at once is stopped for its deadline', () => {
    const daemon = new Running({ idle: stream, maxRuntimeMs: 10_000 });
    assert.deepEqual(daemon.turn(10_000, { type: 'tick' }), [{ type: 'terminate', jobId: 1 }]);
    assert.deepEqual(daemon.tick(10_001), []);
  });

  test('a report of the job is activity, and nothing has to be read for it', () => {
    const daemon = new Running({ idle: everySignal });
    daemon.sampled(10_000, daemon.tick(10_000));
    daemon.change(1, (job) => withAttempt(job, { progress: { percent: 1, message: null, wallMs: 1 } }));
    assert.deepEqual(daemon.tick(20_000), []);
    assert.equal(daemon.quiet(1), 0);
    assert.equal(daemon.tick(30_000).length, 1, 'the same report counts once');
  });

  test('a paused job is neither looked at nor idle, and its count starts anew', () => {
    const daemon = new Running({ idle: { ...stream, checks: 3 } });
    const paused = (value: unknown) => (job: Job) =>
      ({ ...job, phase: { ...job.phase, paused: value } }) as unknown as Job;
    for (const monoMs of [10_000, 20_000]) daemon.sampled(monoMs, daemon.tick(monoMs));
    assert.equal(daemon.quiet(1), 2);
    daemon.change(1, paused({ sinceMonoMs: 21_000 }));
    for (let monoMs = 30_000; monoMs < 200_000; monoMs += 10_000) assert.deepEqual(daemon.tick(monoMs), []);
    daemon.change(1, paused(null));
    daemon.sampled(200_000, daemon.tick(200_000));
    assert.equal(daemon.quiet(1), 0, 'what comes first has nothing to be compared with');
    daemon.sampled(210_000, daemon.tick(210_000));
    assert.equal(daemon.quiet(1), 1);
  });

  test('a pause between two checks does not make the second a quiet one', () => {
    const daemon = new Running({ idle: stream });
    daemon.sampled(10_000, daemon.tick(10_000));
    daemon.change(1, (job) =>
      job.phase.status === 'running' ? { ...job, phase: { ...job.phase, idle: watchAnew(job.phase.idle) } } : job,
    );
    daemon.sampled(20_000, daemon.tick(20_000));
    assert.equal(daemon.quiet(1), 0);
  });

  test('a sample of an earlier attempt, of a job that has ended, or of one that was not asked for changes nothing', () => {
    const daemon = new Running({ idle: stream });
    const checks = daemon.tick(10_000);
    const late = { jobId: 1, attempt: 2, atMonoMs: 10_000, counts: { cpu: 0 } };
    daemon.turn(10_000, { type: 'sampled', samples: [late, { ...late, jobId: 9 }] });
    assert.equal(daemon.quiet(1), 0);
    daemon.sampled(10_000, checks);
    daemon.sampled(10_001, checks);
    assert.equal(daemon.quiet(1), 1);
  });
});
