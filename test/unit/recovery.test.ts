import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Attempt,
  apply,
  beginAttempt,
  type Change,
  currentAttempt,
  droppedLast,
  emptyState,
  type Instant,
  type Job,
  type JobPhase,
  justQueued,
  justRunning,
  noUsage,
  recover,
  schedule,
  withPhase,
} from '../../src/daemon/core/index.ts';
import type { JobSpec } from '../../src/protocol/index.ts';
import { groupOf, instant, jobOf } from '../support/records.ts';

const now: Instant = instant(5, 1_700_000_000_000);

const attempt: Attempt = {
  ...currentAttempt(beginAttempt(jobOf(1), 'cgroup')),
  leader: { pid: 7, startTicks: 8, bootId: 'earlier' },
  startedWallMs: 1_600_000_000_000,
};

function job(id: number, phase: JobPhase, last: Partial<Attempt> | null, spec: Partial<JobSpec> = {}): Job {
  const attempts = last === null ? [] : [{ ...attempt, ...last }];
  return { ...withPhase(jobOf(id, spec), phase), attempts };
}

/** What the store gives back: times of a running attempt are not kept. */
const queued: JobPhase = justQueued;
const starting: JobPhase = { status: 'starting', sinceMonoMs: 0, stopRequested: null };
const running: JobPhase = justRunning;
const stopping: JobPhase = { status: 'stopping', escalateAtMonoMs: 0, killed: false, unkillable: false };

const cases: {
  name: string;
  phase: JobPhase;
  attempt: Partial<Attempt>;
  spec?: Partial<JobSpec>;
  becomes: string;
}[] = [
  {
    name: 'a job that was starting has lost its supervisor',
    phase: starting,
    attempt: { leader: null, startedWallMs: null },
    becomes: 'failed supervisor-lost',
  },
  {
    name: 'a job that was running has lost its supervisor',
    phase: running,
    attempt: {},
    becomes: 'failed supervisor-lost',
  },
  {
    name: 'a lost job goes back to the queue where its policy says so',
    phase: running,
    attempt: {},
    spec: { onSupervisorLost: 'retry' },
    becomes: 'queued',
  },
  {
    name: 'a cancel that was written down while it started is carried out, not retried',
    phase: starting,
    attempt: { cause: 'cancel', leader: null },
    spec: { onSupervisorLost: 'retry' },
    becomes: 'cancelled cancel',
  },
  {
    name: 'a cancel that was under way is complete',
    phase: stopping,
    attempt: { cause: 'cancel' },
    spec: { onSupervisorLost: 'retry' },
    becomes: 'cancelled cancel',
  },
  {
    name: 'a max runtime that was under way is complete',
    phase: stopping,
    attempt: { cause: 'max-runtime' },
    spec: { onSupervisorLost: 'retry' },
    becomes: 'failed max-runtime',
  },
  {
    name: 'a leader that had exited keeps its result, whatever became of its strays',
    phase: stopping,
    attempt: { cause: 'exit', exit: { code: 0, signal: null }, strays: 2 },
    spec: { onSupervisorLost: 'retry' },
    becomes: 'completed exit',
  },
  {
    name: 'a success code of its own counts then, too',
    phase: stopping,
    attempt: { cause: 'exit', exit: { code: 3, signal: null }, strays: 1 },
    spec: { successCodes: [3] },
    becomes: 'completed exit',
  },
  {
    name: 'a leader that a signal had ended keeps its result',
    phase: stopping,
    attempt: { cause: 'signal', exit: { code: null, signal: 'SIGSEGV' }, strays: 1 },
    becomes: 'failed signal',
  },
];

for (const { name, phase, attempt: last, spec, becomes } of cases) {
  test(name, () => {
    const before = job(1, phase, last, spec);
    const [change, ...others] = recover(emptyState(), [before], () => 9, now);
    assert.equal(others.length, 0);
    assert.ok(change?.kind === 'job');
    assert.equal(change.before, before);
    const { status } = change.after.phase;
    assert.equal('cause' in change.after.phase ? `${status} ${change.after.phase.cause}` : status, becomes);
    assert.deepEqual(change.after.attempts, [
      {
        ...attempt,
        cause: 'supervisor-lost',
        ...last,
        finishedWallMs: now.wallMs,
        usage: { ...noUsage, outputBytes: 9 },
      },
    ]);
    if ('finishedWallMs' in change.after.phase) assert.equal(change.after.phase.finishedWallMs, now.wallMs);
  });
}

test('queued jobs stay as they are, with attempts or without', () => {
  assert.deepEqual(
    recover(emptyState(), [job(1, queued, null), job(2, queued, { cause: 'supervisor-lost' })], () => 9, now),
    [],
  );
});

test('of a job that lost attempts, the output of those that went last is removed again, in case a crash was quicker', () => {
  const once = job(1, running, {});
  const often = { ...once, attempts: [attempt, attempt].map((one, index) => ({ ...one, number: 31 + index })) };
  const upTo30 = Array.from({ length: 30 }, (_, index) => index + 1);
  assert.deepEqual([job(1, queued, null), once, often].map(droppedLast), [[], [], upTo30]);
  // So many can go at once, of one that begins; what went before has had a daemon that saw it through.
  const veryOften = { ...once, attempts: [{ ...attempt, number: 1_000 }] };
  assert.equal(droppedLast(veryOften).length, 100);
});

test('only the newest attempt of a retried job is touched', () => {
  const twice = job(1, running, {}, { onSupervisorLost: 'retry' });
  const first: Attempt = { ...attempt, cause: 'supervisor-lost', finishedWallMs: 3 };
  const [change] = recover(emptyState(), [{ ...twice, attempts: [first, { ...attempt, number: 2 }] }], () => 9, now);
  assert.ok(change?.kind === 'job');
  assert.equal(change.after.attempts[0], first);
  assert.deepEqual(change.after.attempts[1], {
    ...attempt,
    number: 2,
    cause: 'supervisor-lost',
    finishedWallMs: now.wallMs,
    usage: { ...noUsage, outputBytes: 9 },
  });
});

test('after recovery no slot is held, and the queue starts by age', () => {
  const state = emptyState();
  const jobs = [
    job(1, running, {}),
    job(2, stopping, { cause: 'cancel' }),
    job(3, running, {}, { onSupervisorLost: 'retry' }),
    job(4, queued, null),
  ];
  apply(state, [{ kind: 'group', before: null, after: groupOf('default', { parallel: 2 }) }]);
  apply(
    state,
    jobs.map((after): Change => ({ kind: 'job', before: null, after })),
  );
  apply(
    state,
    recover(state, jobs, () => 9, now),
  );
  const { active, queued: waiting } = state.groups.get('default') ?? {};
  assert.deepEqual({ active, waiting }, { active: 0, waiting: 2 });
  const started = schedule(state, 'scan', now).effects.map((effect) => effect.type === 'launch' && effect.job);
  assert.deepEqual(
    started.map((next) => next && [next.id, next.attempts.map(({ number }) => number)]),
    [
      [3, [1, 2]],
      [4, [1]],
    ],
  );
});
