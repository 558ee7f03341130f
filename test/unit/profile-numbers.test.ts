/** What the numbers of the built-in profiles come to, for a job that fails. Chance is that of the pauses. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { builtInProfiles, nextDeadline } from '../../src/daemon/core/index.ts';
import type { JobSpec } from '../../src/protocol/index.ts';
import { BareDaemon } from '../support/bare-daemon.ts';

const secondMs = 1_000;
const minuteMs = 60 * secondMs;

/** From no pause shortened at all to each as short as it can be. */
const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const chances = fc.oneof(
  fc.constant([0]),
  fc.constant([1 - Number.EPSILON]),
  fc.array(chance, { minLength: 1, maxLength: 40 }),
);

/** A job in a daemon of its own, that fails again and again. */
class FailingJob {
  readonly #daemon = new BareDaemon();
  readonly #chances: readonly number[];
  #failures = 0;
  /** When it failed first, and last. */
  firstMs = 0;
  lastMs = 0;

  constructor(spec: Partial<JobSpec>, chances: readonly number[]) {
    this.#chances = chances;
    this.#daemon.submit({ idle: null, ...spec });
  }

  get nowMs(): number {
    return this.#daemon.monoMs;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Why it is not run again; `undefined`: it is. */
  get end(): string | null | undefined {
    return this.#daemon.ended[0]?.attempts.at(-1)?.message;
  }

  /** Runs so long, fails, and waits for its next attempt, if there is one. */
  fail(runMs = 0): void {
    const wanted = this.#chances[this.#failures % this.#chances.length] ?? 0;
    this.#daemon.run(1);
    this.#daemon.pass(runMs);
    // The chance of a turn is another for each job in it.
    this.#daemon.unitRandom = (wanted + 1 - 0.618_033_988_749_895) % 1;
    this.#daemon.exit(1);
    this.#failures += 1;
    this.lastMs = this.nowMs;
    if (this.#failures === 1) this.firstMs = this.nowMs;
    while (this.#daemon.job(1)?.phase.status === 'queued')
      this.#daemon.pass((nextDeadline(this.#daemon.state) ?? assert.fail('it waits for nothing')) - this.nowMs);
  }

  failUntilGivenUp(runMs: number, untilMs: number): void {
    while (this.end === undefined && this.nowMs - this.firstMs <= untilMs) this.fail(runMs);
  }
}

function atAnyJitter(holds: (chances: readonly number[], runMs: number) => void, longestRunMs = 0): void {
  fc.assert(fc.property(chances, fc.integer({ min: 0, max: longestRunMs }), holds), { numRuns: 100 });
}

describe('a service as it is shipped', () => {
  const spec = { profile: 'service' };
  const gaveUp = 'gave up: 16 failures within 20m; last: exit 1';

  test('that fails at once each time is given up after five to eleven minutes, and it is said', () => {
    const seen = { leastMs: Number.POSITIVE_INFINITY, mostMs: 0 };
    atAnyJitter((some) => {
      const job = new FailingJob(spec, some);
      job.failUntilGivenUp(0, 60 * minuteMs);
      assert.equal(job.end, gaveUp);
      const tookMs = job.lastMs - job.firstMs;
      assert.ok(tookMs >= 5 * minuteMs && tookMs <= 11 * minuteMs, `${tookMs} ms`);
      seen.leastMs = Math.min(seen.leastMs, tookMs);
      seen.mostMs = Math.max(seen.mostMs, tookMs);
    });
    assert.ok(seen.leastMs < 302 * secondMs && seen.mostMs > 602 * secondMs, `control: ${JSON.stringify(seen)}`);
  });

  test('also if the job says another jitter: no later', () => {
    for (const jitter of [0, 0.25, 1])
      atAnyJitter((some) => {
        const job = new FailingJob({ ...spec, retry: { jitter } }, some);
        job.failUntilGivenUp(0, 60 * minuteMs);
        assert.equal(job.end, gaveUp);
        assert.ok(job.lastMs - job.firstMs <= 11 * minuteMs);
      });
  });

  test('that fails within 39 s of each start is given up within 20 minutes', () =>
    atAnyJitter((some, runMs) => {
      const job = new FailingJob(spec, some);
      job.failUntilGivenUp(runMs, 60 * minuteMs);
      assert.equal(job.end, gaveUp);
      assert.ok(job.lastMs - job.firstMs <= 20 * minuteMs);
    }, 39 * secondMs));

  test('whose pauses are long already is given up within 20 minutes from when it fails at once', () =>
    atAnyJitter((some) => {
      const job = new FailingJob(spec, some);
      for (let n = 0; n < 10; n += 1) job.fail(59 * secondMs);
      const sinceMs = job.nowMs;
      assert.equal(job.end, undefined);
      job.failUntilGivenUp(0, 120 * minuteMs);
      assert.equal(job.end, gaveUp);
      assert.ok(job.lastMs - sinceMs <= 20 * minuteMs);
    }));

  test('that needs something which is away for five minutes is there when that is back', () =>
    atAnyJitter((some) => {
      const job = new FailingJob(spec, some);
      do job.fail();
      while (job.end === undefined && job.nowMs - job.firstMs < 5 * minuteMs);
      assert.equal(job.end, undefined, `given up after ${job.failures} failures`);
      assert.ok(job.nowMs - job.firstMs < 6 * minuteMs, 'and no more than a minute later');
    }));

  for (const { name, runMs, times } of [
    { name: 'every 81 s', runMs: 80 * secondMs, times: 100 },
    { name: 'once an hour', runMs: 60 * minuteMs, times: 100 },
  ])
    test(`that fails ${name} is run again for ever`, () =>
      atAnyJitter((some) => {
        const job = new FailingJob(spec, some);
        for (let n = 0; n < times; n += 1) job.fail(runMs);
        assert.equal(job.end, undefined);
        assert.equal(job.failures, times);
      }));
});

describe('a job that fails at once', () => {
  const attempts: Record<string, number> = { default: 1, stream: 1, batch: 3, test: 1, service: 16 };

  for (const { name } of builtInProfiles)
    test(`fails for good after ${attempts[name]} attempts with profile ${name} as it is shipped`, () =>
      atAnyJitter((some) => {
        const job = new FailingJob({ profile: name }, some);
        job.failUntilGivenUp(0, 60 * minuteMs);
        assert.equal(job.failures, attempts[name]);
      }));

  // Pauses of up to ten minutes are damper enough; the breaker that all profiles have is for jobs that want shorter ones.
  for (const { name } of builtInProfiles.filter(({ settings }) => settings.retry?.limit !== null))
    test(`again and again, 5 s apart at most, is given up within a minute with profile ${name}`, () =>
      atAnyJitter((some) => {
        const job = new FailingJob({ profile: name, retry: { limit: null, maxDelayMs: 5_000 } }, some);
        job.failUntilGivenUp(0, 60 * minuteMs);
        assert.equal(job.end, 'gave up: 10 failures within 1m; last: exit 1');
        assert.ok(job.lastMs - job.firstMs <= minuteMs);
      }));
});
