import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  apply,
  decide,
  type Event,
  emptyState,
  type Job,
  lastClientMonoMs,
  nextDeadline,
  noUsage,
  type State,
  schedule,
} from '../../src/daemon/core/index.ts';
import type { BulkReport, JobSpec } from '../../src/protocol/index.ts';
import { groupOf, instant, jobOf } from '../support/records.ts';

const leaseMs = 180_000;
const leader = { pid: 7, startTicks: 7, bootId: 'b' };

/** Applies the events, each at its time, and what follows from them. Returns what the last one was answered with. */
function happen(state: State, ...events: (readonly [atMs: number, event: Event])[]): unknown {
  let answer: unknown;
  for (const [atMs, event] of events) {
    const { changes, effects } = decide(state, event, instant(atMs));
    apply(state, changes);
    answer = effects.find((effect) => effect.type === 'reply')?.result;
  }
  return answer;
}

function queued(spec: Partial<JobSpec>): State {
  const state = emptyState();
  apply(state, [
    { kind: 'group', before: null, after: groupOf('default') },
    { kind: 'job', before: null, after: jobOf(1, { idle: null, ...spec }) },
  ]);
  return state;
}

/** Job 1 was launched at 1,000 ms. */
function running(spec: Partial<JobSpec> = { leaseMs }): State {
  const state = queued(spec);
  apply(state, schedule(state, 'scan', instant(1_000)).changes);
  happen(state, [1_000, { type: 'launched', jobId: 1, leader }]);
  return state;
}

const attached: Event = { type: 'attached', jobIds: [1] };
const detached: Event = { type: 'detached', jobIds: [1] };
const beat: Event = { type: 'heartbeat', request: 1, jobIds: [1], ended: new Map() };
const tick: Event = { type: 'tick' };

function job(state: State): Job {
  const found = state.live.get(1);
  assert.ok(found);
  return found;
}

describe('a lease', () => {
  test('begins with the launch where nobody is attached', () => {
    assert.equal(nextDeadline(running()), 1_000 + leaseMs);
  });

  test('does not run while a client is attached, and begins anew when the last one leaves', () => {
    const state = running();
    happen(state, [2_000, attached], [3_000, attached], [4_000, detached]);
    assert.equal(nextDeadline(state), null);
    happen(state, [leaseMs * 10, tick], [leaseMs * 10, detached]);
    assert.equal(nextDeadline(state), leaseMs * 11);
  });

  test('of a client that came while the job was queued or starting does not run either', () => {
    const state = queued({ leaseMs });
    happen(state, [10, attached]);
    apply(state, schedule(state, 'scan', instant(1_000)).changes);
    happen(state, [1_000, { type: 'launched', jobId: 1, leader }]);
    assert.equal(nextDeadline(state), null);
    happen(state, [5_000, detached]);
    assert.equal(nextDeadline(state), 5_000 + leaseMs);
  });

  test('does not run in the queue', () => {
    assert.equal(nextDeadline(queued({ leaseMs })), null);
  });

  test('is begun anew by a heartbeat, which changes nothing while a client is attached', () => {
    const state = running();
    assert.deepEqual(happen(state, [9_000, beat]), { requested: 1, done: 1, failed: 0, errors: [] });
    assert.equal(nextDeadline(state), 9_000 + leaseMs);
    happen(state, [10_000, attached], [11_000, beat]);
    assert.equal(nextDeadline(state), null);
  });

  test('that is over cancels the job, and says when a client was last seen', () => {
    const state = running();
    happen(state, [2_000, beat], [2_000 + leaseMs, tick]);
    assert.equal(job(state).phase.status, 'stopping');
    assert.equal(job(state).attempts[0]?.cause, 'lease');
    assert.equal(
      job(state).attempts[0]?.message,
      'The last client was seen at 1970-01-01T00:00:02.000Z, and its lease is 3m.',
    );
    happen(state, [2_000 + leaseMs, { type: 'emptied', jobId: 1, usage: noUsage }]);
    assert.equal(state.live.size, 0);
  });

  test('that is over without any client says that', () => {
    const state = running();
    happen(state, [1_000 + leaseMs, tick]);
    assert.equal(
      job(state).attempts[0]?.message,
      'No client ever attached to it or sent a heartbeat, and its lease is 3m.',
    );
  });

  test('and a max runtime: the earlier one ends the job', () => {
    const state = running({ leaseMs, maxRuntimeMs: leaseMs - 1 });
    happen(state, [1_000 + leaseMs - 1, tick]);
    assert.equal(job(state).attempts[0]?.cause, 'max-runtime');
  });

  test('stands still while the job is paused, and what clients do meanwhile counts when it goes on', () => {
    const pause: Event = { type: 'pause', request: 1, jobIds: [1], ended: new Map() };
    const resume: Event = { ...pause, type: 'resume' };
    const state = running();
    happen(state, [61_000, pause], [61_000 + 10 * leaseMs, tick]);
    assert.equal(nextDeadline(state), null);
    happen(state, [61_000 + 10 * leaseMs, resume]);
    assert.equal(nextDeadline(state), 1_000 + 11 * leaseMs, '60 s of it were over');
    const later = 100 * leaseMs;
    const again = running();
    happen(again, [2_000, pause], [3_000, attached], [later, detached], [later + 5_000, resume]);
    assert.equal(nextDeadline(again), later + 5_000 + leaseMs);
  });

  test('control: a job without one lives on', () => {
    const state = running({});
    happen(state, [2_000, attached], [3_000, detached], [3_000 + 100 * leaseMs, tick]);
    assert.equal(job(state).phase.status, 'running');
    assert.equal(nextDeadline(state), null);
  });

  test('is as before when a turn is taken back', () => {
    const state = running();
    const before = job(state);
    const undo = apply(state, decide(state, attached, instant(2_000)).changes);
    assert.equal(nextDeadline(state), null);
    undo();
    assert.equal(job(state), before);
    assert.equal(nextDeadline(state), 1_000 + leaseMs);
  });
});

function exited(jobId: number): Event {
  return { type: 'leaderExited', jobId, exit: { code: 0, signal: null }, remaining: 0, usage: noUsage };
}

/** Ends job `id`, has it run again and starts it, all at one time. */
function rerun(state: State, id: number, atMs: number): void {
  happen(state, [atMs, exited(id)]);
  comeBack(state, id, atMs);
}

/** As the store has it: nothing is known of its clients. */
function comeBack(state: State, id: number, atMs: number): void {
  assert.ok(!state.live.has(id));
  const phase = { status: 'completed', cause: 'exit', finishedWallMs: atMs } as const;
  const ended = { ...jobOf(id, { idle: null, leaseMs }), phase };
  happen(state, [atMs, { type: 'retry', request: 1, jobIds: [id], ended: new Map([[id, ended]]) }]);
  start(state, id, atMs);
}

function start(state: State, id: number, atMs: number): void {
  apply(state, schedule(state, 'scan', instant(atMs)).changes);
  happen(state, [atMs, { type: 'launched', jobId: id, leader }]);
}

describe('the lease of a job that has ended and is run again', () => {
  test('does not run when a call of its first life ends while a client is attached to its second', () => {
    const state = running();
    happen(state, [2_000, attached]);
    rerun(state, 1, 3_000);
    happen(state, [4_000, attached], [5_000, detached]);
    assert.equal(nextDeadline(state), null);
    happen(state, [6_000, detached]);
    assert.equal(nextDeadline(state), 6_000 + leaseMs);
  });

  test('does not run while a call is held that was begun in its first life', () => {
    const state = running();
    happen(state, [2_000, attached]);
    rerun(state, 1, 3_000);
    assert.equal(nextDeadline(state), null);
    assert.equal(lastClientMonoMs(state, job(state), instant(9_000)), 9_000);
    happen(state, [10_000, beat], [11_000, detached]);
    assert.equal(nextDeadline(state), 11_000 + leaseMs);
  });

  test('does not run while a call is held that was begun between its lives', () => {
    const state = running();
    happen(state, [2_000, exited(1)], [3_000, attached]);
    comeBack(state, 1, 4_000);
    assert.equal(nextDeadline(state), null);
  });

  test('begins with its launch when the calls of its first life ended before', () => {
    const state = running();
    happen(state, [2_000, attached], [3_000, exited(1)], [4_000, detached]);
    comeBack(state, 1, 5_000);
    assert.equal(nextDeadline(state), 5_000 + leaseMs);
  });
});

test('a call that names a job twice is one call, and nothing is kept of calls that are over, whatever they named', () => {
  const state = running();
  const twice = [1, 1, 99];
  happen(state, [2_000, { type: 'attached', jobIds: twice }], [2_500, attached]);
  assert.deepEqual(
    [...state.calls],
    [
      [1, 2],
      [99, 1],
    ],
  );
  happen(state, [3_000, { type: 'detached', jobIds: twice }]);
  assert.equal(nextDeadline(state), null);
  happen(state, [4_000, exited(1)]);
  happen(
    state,
    [5_000, { type: 'remove', request: 1, jobIds: [1], ended: new Map([[1, jobOf(1)]]) }],
    [6_000, detached],
  );
  assert.deepEqual([...state.calls], []);
  happen(state, [7_000, detached]);
  assert.deepEqual([...state.calls], [], 'control: one that was never counted is not taken away');
});

test('when a client was last seen: now while one is attached, else the last detach or heartbeat, else never', () => {
  const state = running();
  const at = (monoMs: number) => lastClientMonoMs(state, job(state), instant(monoMs));
  assert.equal(at(5_000), null);
  happen(state, [6_000, attached]);
  assert.equal(at(7_000), 7_000);
  happen(state, [8_000, detached]);
  assert.equal(at(9_000), 8_000);
  happen(state, [9_500, beat]);
  assert.equal(at(20_000), 9_500);
});

test('a heartbeat for a job that has ended, or never was, is refused by name', () => {
  const state = emptyState();
  const event: Event = { ...beat, jobIds: [1, 2], ended: new Map([[1, jobOf(1)]]) };
  const report = happen(state, [1, event]) as BulkReport;
  assert.deepEqual(
    report.errors.map(({ jobId, code }) => [jobId, code]),
    [
      [1, 'JOB_NOT_RUNNING'],
      [2, 'JOB_NOT_FOUND'],
    ],
  );
});

test('a thousand clients that come to a queued job and go leave one entry in the queue', () => {
  const state = queued({});
  for (let at = 0; at < 1_000; at += 1) happen(state, [at, attached], [at, detached]);
  assert.equal(state.groups.get('default')?.ready.size, 1);
});

test('whatever clients do, the lease is what a small model says', () => {
  const steps = fc.array(fc.tuple(fc.constantFrom('attached', 'detached', 'heartbeat'), fc.nat(leaseMs - 1)), {
    maxLength: 40,
  });
  fc.assert(
    fc.property(steps, (taken) => {
      const state = running();
      let nowMs = 1_000;
      let clients = 0;
      let renewedMs = 1_000;
      for (const [what, laterMs] of taken) {
        nowMs += laterMs;
        if (clients === 0 && nowMs >= renewedMs + leaseMs) return; // It would have ended by then.
        if (what === 'detached' && clients === 0) continue;
        happen(state, [nowMs, what === 'attached' ? attached : what === 'detached' ? detached : beat]);
        if (what !== 'heartbeat') clients += what === 'attached' ? 1 : -1;
        renewedMs = nowMs;
        assert.equal(nextDeadline(state), clients > 0 ? null : renewedMs + leaseMs);
      }
    }),
  );
});

type Step = { readonly laterMs: number } & (
  | { readonly do: 'begin'; readonly jobIds: readonly number[] }
  | { readonly do: 'end' | 'beat' | 'over' | 'again'; readonly pick: number }
);

const jobIds = [1, 2, 3];
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    laterMs: fc.nat(1_000),
    do: fc.constant('begin' as const),
    jobIds: fc.subarray(jobIds, { minLength: 1 }),
  }),
  fc.record({ laterMs: fc.nat(1_000), do: fc.constantFrom('end' as const, 'beat', 'over', 'again'), pick: fc.nat() }),
);

test('calls begin and end, jobs end and are run again: a lease runs exactly where no call is held', () => {
  let overOldCalls = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const state = emptyState();
      const jobs = jobIds.map((id) => jobOf(id, { idle: null, leaseMs }));
      apply(state, [{ kind: 'group', before: null, after: groupOf('default', { parallel: jobIds.length }) }]);
      apply(
        state,
        jobs.map((after) => ({ kind: 'job', before: null, after })),
      );
      let nowMs = 0;
      for (const id of jobIds) start(state, id, nowMs);
      const renewedMs = new Map(jobIds.map((id) => [id, nowMs]));
      const calls: (readonly number[])[] = [];
      const isHeld = (id: number) => calls.some((named) => named.includes(id));
      for (const one of steps) {
        nowMs += one.laterMs;
        const id = 'pick' in one ? (jobIds[one.pick % jobIds.length] ?? 1) : 1;
        if (one.do === 'begin') {
          calls.push(one.jobIds);
          happen(state, [nowMs, { type: 'attached', jobIds: one.jobIds }]);
          for (const named of one.jobIds) renewedMs.set(named, nowMs);
        } else if (one.do === 'end') {
          const [call] = calls.splice(one.pick % Math.max(1, calls.length), 1);
          if (call === undefined) continue;
          happen(state, [nowMs, { type: 'detached', jobIds: call }]);
          for (const named of call) renewedMs.set(named, nowMs);
        } else if (one.do === 'over') {
          happen(state, [nowMs, exited(id)]);
        } else if (one.do === 'again' && !state.live.has(id)) {
          if (isHeld(id)) overOldCalls += 1;
          comeBack(state, id, nowMs);
          renewedMs.set(id, nowMs);
        } else if (one.do === 'beat') {
          happen(state, [nowMs, { ...beat, jobIds: [id] }]);
          renewedMs.set(id, nowMs);
        }
        for (const { id: live, phase } of state.live.values()) {
          const lease = isHeld(live) ? null : (renewedMs.get(live) ?? 0) + leaseMs;
          assert.equal(phase.status === 'running' && phase.leaseUntilMonoMs, lease, `the lease of job ${live}`);
        }
        assert.deepEqual(new Set(state.calls.keys()), new Set(calls.flat()), 'nothing is kept of calls that are over');
      }
    }),
  );
  assert.ok(overOldCalls > 20, `control: jobs are run again under calls that are held: ${overOldCalls}`);
});
