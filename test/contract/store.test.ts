import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, type TestContext, test } from 'node:test';
import {
  type Attempt,
  apply,
  beginAttempt,
  type Change,
  emptyState,
  type Group,
  type GroupState,
  type Job,
  type JobPhase,
  justQueued,
  justRunning,
  type Scope,
  withAttempt,
  withPhase,
} from '../../src/daemon/core/index.ts';
import { type JobQuery, SqliteStore, type Store, schemaVersion } from '../../src/daemon/store/index.ts';
import { CorralError, type JobSpec, type JobStatus, jobSpecSchema, keptAttempts } from '../../src/protocol/index.ts';
import { groupOf, jobOf } from '../support/records.ts';

const wallMs = 1_700_000_000_000;

const groups: Group[] = [
  groupOf('default', { parallel: 4, maxQueued: 1_000 }),
  groupOf('Übungen 🐎', { parallel: 0, maxQueued: 7, ratePerSecond: 0.5, burst: 3, mode: 'manual', paused: true }),
];

function queued(id: number, spec: Partial<JobSpec> = {}): Job {
  return jobOf(id, { command: ['sleep', String(id)], env: { PATH: '/bin' }, ...spec }, wallMs + id);
}

const added = (after: Job): Change => ({ kind: 'job', before: null, after });
const moved = (before: Job, after: Job): Change => ({ kind: 'job', before, after });
const removed = (jobId: number): Change => ({ kind: 'jobRemoved', jobId });
const unmade = (group: Group): Change => {
  const state = emptyState();
  apply(state, [set(group)]);
  return { kind: 'groupRemoved', was: state.groups.get(group.name) as GroupState };
};
const set = (after: Group): Change => ({ kind: 'group', before: null, after });

/** The changes that bring a job through these states, one after another. */
function history(...states: Job[]): Change[] {
  return states.map((after, index) => {
    const before = states[index - 1];
    return before === undefined ? added(after) : moved(before, after);
  });
}

function started(job: Job, fields: Partial<Attempt> = {}): Job {
  return withAttempt(beginAttempt(job, 'scan'), {
    leader: { pid: 4_194_304, startTicks: 2 ** 52, bootId: 'b-1' },
    startedWallMs: wallMs,
    ...fields,
  });
}

const failed: JobPhase = { status: 'failed', cause: 'exit', finishedWallMs: wallMs + 9 };

/** A job in each phase, as changes that lead there; a phase that is not kept whole, as it comes back. */
const lives: Record<JobStatus, { states: Job[]; comesBackAs?: JobPhase }> = (() => {
  const first = queued(1);
  const starting = beginAttempt(first, 'cgroup');
  const running = withPhase(started(first), justRunning);
  const stopping = withPhase(
    withAttempt(running, { cause: 'exit', exit: { code: null, signal: 'SIGSEGV' }, strays: 3 }),
    { status: 'stopping', escalateAtMonoMs: 5, killed: true, unkillable: true },
  );
  const ended = { finishedWallMs: wallMs + 9, usage: { cpuMs: 12.5, peakRssBytes: 2 ** 40, outputBytes: 77 } };
  return {
    queued: { states: [first] },
    starting: {
      states: [
        first,
        withPhase(starting, { status: 'starting', sinceMonoMs: 0, stopRequested: { cause: 'cancel', graceMs: null } }),
      ],
      comesBackAs: { status: 'starting', sinceMonoMs: 0, stopRequested: null },
    },
    running: {
      states: [first, starting, withPhase(running, { ...justRunning, deadlineMonoMs: 77, leaseUntilMonoMs: 78 })],
      comesBackAs: justRunning,
    },
    stopping: {
      states: [first, starting, running, stopping],
      comesBackAs: { status: 'stopping', escalateAtMonoMs: 0, killed: false, unkillable: false },
    },
    completed: {
      states: [
        first,
        starting,
        running,
        withPhase(withAttempt(running, { ...ended, cause: 'exit', exit: { code: 0, signal: null } }), {
          ...failed,
          status: 'completed',
        }),
      ],
    },
    failed: {
      states: [
        first,
        starting,
        withPhase(
          withAttempt(starting, {
            ...ended,
            cause: 'spawn-error',
            exit: { code: 127, signal: null },
            message: 'nope: „nicht gefunden“',
          }),
          { ...failed, cause: 'spawn-error' },
        ),
      ],
    },
    cancelled: { states: [first, withPhase(first, { ...failed, status: 'cancelled', cause: 'cancel' })] },
  };
})();

const everything: JobQuery = { statuses: null, group: null, order: 'oldest', cursor: null, limit: 1_000 };

function listIds(store: Store, query: Partial<JobQuery>): number[] {
  return store.listJobIds({ ...everything, ...query });
}

function storeFailed(error: unknown): boolean {
  return error instanceof CorralError && error.code === 'STORE_FAILED';
}

interface Place {
  open(): Store;
  /** Closes the store and opens it again, as the next daemon does; `null` where nothing outlives the store. */
  readonly reopen: ((store: Store) => Store) | null;
}

/** What every store does. `place` makes a new, empty place and takes it away after the test. */
function storeContract(name: string, place: (t: TestContext) => Place): void {
  function opened(t: TestContext): { store: Store; places: Place } {
    const places = place(t);
    const store = places.open();
    store.commit(groups.map(set), wallMs);
    return { store, places };
  }

  describe(`${name}: load`, () => {
    test('a new store is empty, and ids begin at 1', (t) => {
      const store = place(t).open();
      const { instance, ...snapshot } = store.load();
      assert.deepEqual(snapshot, { groups: [], jobs: [], scopes: [], nextJobId: 1 });
      assert.ok(Number.isInteger(instance) && instance >= 0 && instance <= 0xffff_ffff);
      assert.equal(store.load().instance, instance);
    });

    test('every job that has not ended is loaded, by id, with all groups', (t) => {
      const { store } = opened(t);
      const jobs = [1, 2, 3, 4].map((id) => queued(id));
      const [first, second, third] = jobs as [Job, Job, Job, Job];
      const running = withPhase(started(third), justRunning);
      store.commit(
        [...jobs.toReversed().map(added), moved(first, withPhase(first, failed)), moved(third, running)],
        wallMs,
      );
      const snapshot = store.load();
      assert.deepEqual(snapshot.jobs, [second, running, jobs[3]]);
      assert.deepEqual(
        snapshot.groups.toSorted((a, b) => a.parallel - b.parallel),
        groups.toSorted((a, b) => a.parallel - b.parallel),
      );
      assert.equal(snapshot.nextJobId, 5);
    });

    test('the settings of a group are the latest ones', (t) => {
      const { store } = opened(t);
      const group: Group = groupOf('default', { parallel: 9, maxQueued: 8 });
      store.commit([set(group)], wallMs);
      assert.deepEqual(
        store.load().groups.find((one) => one.name === 'default'),
        group,
      );
    });

    test('a group that was removed is not loaded, the records of its jobs keep its name, and it can be made again', (t) => {
      const { store, places } = opened(t);
      const [, other] = groups as [Group, Group];
      const job = queued(1, { group: other.name });
      const ended = withPhase(job, failed);
      store.commit(history(job, ended), wallMs);
      store.commit([unmade(other)], wallMs);
      const names = (one: Store) => one.load().groups.map(({ name }) => name);
      assert.deepEqual(names(store), ['default']);
      const again = places.reopen?.(store) ?? store;
      assert.deepEqual(names(again), ['default']);
      assert.deepEqual(again.findJob(1), ended);
      const revived = groupOf(other.name, { parallel: 3 });
      again.commit([set(revived)], wallMs);
      assert.deepEqual(
        again.load().groups.find(({ name }) => name === other.name),
        revived,
      );
    });
  });

  describe(`${name}: scopes`, () => {
    const open = (id: string, label: string | null = null): Scope => ({
      id,
      name: label,
      openedWallMs: wallMs,
      phase: { status: 'open', clients: 3, returnByMonoMs: 7 },
    });
    const closing = (scope: Scope): Scope => ({
      ...scope,
      phase: { status: 'closing', end: 'client-gone', closedWallMs: wallMs + 1, jobIds: [1, 2], stage: 'ending' },
    });
    const closed = (scope: Scope, closedWallMs = wallMs + 1, tally = { ended: 0, cleaned: 0 }): Scope => ({
      ...scope,
      phase: { status: 'closed', end: 'client-gone', closedWallMs, processesLeft: 2, tally },
    });
    const put = (before: Scope | null, after: Scope): Change => ({ kind: 'scope', before, after });
    const cancelled: JobPhase = { status: 'cancelled', cause: 'scope', finishedWallMs: wallMs };

    test('come back as they were, as far as that outlives a daemon', (t) => {
      const { store, places } = opened(t);
      const [one, two, three] = ['scope-number-1', 'scope-number-2', 'scope-number-3'].map((id) => open(id, 'Ü 🐎'));
      assert.ok(one && two && three);
      store.commit([put(null, one), put(null, two), put(null, three)], wallMs);
      store.commit([put(two, closing(two)), put(three, closing(three))], wallMs);
      store.commit([put(closing(three), closed(three))], wallMs);
      const again = places.reopen?.(store) ?? store;
      const none = { ended: 0, cleaned: 0 };
      assert.deepEqual(
        again.load().scopes.toSorted((a, b) => (a.scope.id < b.scope.id ? -1 : 1)),
        [
          { scope: { ...one, phase: { status: 'open', clients: 0, returnByMonoMs: null } }, ...none },
          { scope: { ...two, phase: { ...closing(two).phase, jobIds: [] } }, ...none },
        ],
      );
      assert.deepEqual(again.findScope(three.id), { scope: closed(three), ...none });
      assert.equal(again.findScope('scope-number-4'), null);
    });

    test('know how many of their jobs have ended, whatever became of the records', (t) => {
      const { store, places } = opened(t);
      const scope = open('scope-number-1');
      store.commit([put(null, scope)], wallMs);
      const jobs = [1, 2, 3, 4].map((id) => queued(id, id === 4 ? {} : { scope: scope.id })) as [Job, Job, Job, Job];
      store.commit(jobs.map(added), wallMs);
      store.commit([moved(jobs[0], withPhase(jobs[0], failed)), moved(jobs[1], withPhase(jobs[1], cancelled))], wallMs);
      store.commit([moved(jobs[3], withPhase(jobs[3], cancelled))], wallMs);
      store.commit([removed(1), removed(2)], wallMs);
      const again = places.reopen?.(store) ?? store;
      assert.deepEqual(
        again.load().scopes.map(({ ended, cleaned }) => [ended, cleaned]),
        [[2, 1]],
      );
    });

    test('that run a job again do not count it as ended', (t) => {
      const { store } = opened(t);
      const scope = open('scope-number-1');
      const job = queued(1, { scope: scope.id });
      const ended = withPhase(job, cancelled);
      store.commit([put(null, scope), added(job)], wallMs);
      store.commit([moved(job, ended)], wallMs);
      store.commit([moved(ended, job)], wallMs);
      assert.deepEqual([store.findScope(scope.id)?.ended, store.findScope(scope.id)?.cleaned], [0, 0]);
    });

    test('are kept for a day, the newest thousand, and as long as they are not over', (t) => {
      const { store } = opened(t);
      const dayMs = 86_400_000;
      const end = (scope: Scope, at: number) => store.commit([put(null, scope), put(scope, closed(scope, at))], at);
      const kept = (id: string) => store.findScope(id) !== null;
      const left = open('scope-left-open');
      store.commit([put(null, left)], wallMs);
      end(open('scope-of-monday'), wallMs);
      end(open('scope-within-a-day'), wallMs + dayMs);
      assert.ok(kept('scope-of-monday') && kept('scope-within-a-day'));
      end(open('scope-a-day-later'), wallMs + dayMs + 1);
      assert.deepEqual(['scope-of-monday', 'scope-within-a-day', left.id].map(kept), [false, true, true]);
      const others = Array.from({ length: 999 }, (_, n) => open(`scope-number-${n}`));
      store.commit(
        others.flatMap((scope, n) => [put(null, scope), put(scope, closed(scope, wallMs + dayMs + 2 + n))]),
        wallMs,
      );
      assert.deepEqual(['scope-within-a-day', 'scope-a-day-later', left.id].map(kept), [false, true, true]);
    });
  });

  describe(`${name}: jobs come back as they were`, () => {
    for (const [status, { states, comesBackAs }] of Object.entries(lives)) {
      const last = states.at(-1) as Job;
      const expected = comesBackAs === undefined ? last : withPhase(last, comesBackAs);

      test(`${status}, in one commit`, (t) => {
        const { store } = opened(t);
        store.commit(history(...states), wallMs);
        assert.deepEqual(store.findJob(1), expected);
      });

      test(`${status}, in one commit for each step`, (t) => {
        const { store, places } = opened(t);
        for (const change of history(...states)) store.commit([change], wallMs);
        assert.deepEqual((places.reopen?.(store) ?? store).findJob(1), expected);
      });
    }

    test('retried, with each of its attempts', (t) => {
      const { store } = opened(t);
      const first = queued(1, { onSupervisorLost: 'retry' });
      const lost = withPhase(started(first, { cause: 'supervisor-lost', finishedWallMs: wallMs }), justQueued);
      const again = withAttempt(beginAttempt(lost, 'cgroup'), { leader: { pid: 9, startTicks: 9, bootId: 'b-2' } });
      store.commit(history(first, lost, again), wallMs);
      assert.deepEqual(store.findJob(1)?.attempts, again.attempts);
      assert.equal(store.findJob(1)?.attempts.length, 2);
    });

    for (const inOneCommit of [true, false]) {
      test(`run again for ever${inOneCommit ? ', in one commit' : ''}: with the newest attempts, and what the output of those takes`, (t) => {
        const { store, places } = opened(t);
        const states: Job[] = [queued(1)];
        const begun = keptAttempts + 30;
        for (let number = 1; number <= begun; number += 1) {
          const starting = started(states.at(-1) as Job);
          const usage = { cpuMs: 1, peakRssBytes: 1, outputBytes: number };
          states.push(starting, withPhase(withAttempt(starting, { cause: 'exit', usage }), justQueued));
        }
        const last = states.at(-1) as Job;
        const steps = [added(queued(2)), moved(queued(2), started(queued(2))), ...history(...states)];
        for (const piece of inOneCommit ? [steps] : steps.map((step) => [step])) store.commit(piece, wallMs);
        const sum = (from: number) => ((from + begun) * (begun + 1 - from)) / 2;
        const check = (one: Store, job: Job) => {
          assert.deepEqual(one.findJob(1), job);
          assert.equal(one.retainedOutputBytes(), sum(job.attempts[0]?.number ?? 0));
          assert.equal(one.findJob(2)?.attempts.length, 1, 'those of another job are left alone');
          const events = (jobId: number) => one.listEvents({ after: 0, jobId, limit: 1_000 });
          assert.deepEqual(
            [...new Set(events(1).map(({ attempt }) => attempt))].filter((number) => number <= begun),
            [0, ...job.attempts.map(({ number }) => number)],
            'events of attempts that went are gone; that of the submit stays',
          );
          assert.deepEqual(
            events(2).map(({ attempt }) => attempt),
            [0, 1],
          );
        };
        assert.equal(last.attempts[0]?.number, 31);
        check(store, last);
        const again = places.reopen?.(store) ?? store;
        check(again, last);
        const starting = beginAttempt(last, 'scan');
        again.commit([moved(last, starting)], wallMs);
        const neverWas = { ...last, attempts: starting.attempts.slice(0, -1) };
        again.commit([moved(starting, neverWas)], wallMs);
        check(again, neverWas);
        again.commit([{ kind: 'note', job: neverWas, note: 'warning', detail: null }], wallMs);
        const noted = again.listEvents({ after: 0, jobId: 1, limit: 1_000 }).at(-1);
        assert.deepEqual([noted?.kind, noted?.attempt], ['warning', begun]);
        again.commit([moved(neverWas, withPhase(neverWas, failed)), removed(1)], wallMs);
        assert.equal(again.retainedOutputBytes(), 0);
      });
    }

    test('the oldest of the ended jobs that have output is found, beside those that have none or have not ended', (t) => {
      const { store } = opened(t);
      const withOutput = (id: number, outputBytes: number | null) => {
        const first = queued(id);
        const begun = started(first);
        const usage = { cpuMs: 1, peakRssBytes: 1, outputBytes };
        return { first, begun, over: withAttempt(begun, { cause: 'exit', usage }) };
      };
      const ended = ({ first, begun, over }: ReturnType<typeof withOutput>) =>
        history(first, begun, withPhase(over, failed));
      const retried = ({ first, begun, over }: ReturnType<typeof withOutput>) =>
        history(first, begun, withPhase(over, justQueued));
      assert.equal(store.oldestWithOutput(), null);
      store.commit([...retried(withOutput(1, 9)), ...ended(withOutput(2, 0)), ...ended(withOutput(3, null))], wallMs);
      assert.equal(store.oldestWithOutput(), null);
      store.commit([...ended(withOutput(4, 1)), ...ended(withOutput(5, 100))], wallMs);
      assert.equal(store.oldestWithOutput(), 4);
      store.commit([removed(4)], wallMs);
      assert.equal(store.oldestWithOutput(), 5);
    });

    test('an attempt that would take the oldest away, and could not be written down, takes nothing away', (t) => {
      const { store } = opened(t);
      let job = queued(1);
      for (let n = 0; n < keptAttempts; n += 1) job = withPhase(started(job), justQueued);
      const attempts = job.attempts;
      store.commit([added(queued(1))], wallMs);
      for (const [index] of attempts.entries())
        store.commit(
          [moved({ ...job, attempts: attempts.slice(0, index) }, { ...job, attempts: attempts.slice(0, index + 1) })],
          wallMs,
        );
      assert.throws(() => store.commit([moved(job, started(job)), added(queued(1))], wallMs), storeFailed);
      assert.deepEqual(store.findJob(1), job);
    });

    test('run again by a client: as one that waits, with its attempts, and the message of its end is gone', (t) => {
      const { store, places } = opened(t);
      const first = queued(1, { after: [1] });
      const fell = withPhase(first, {
        status: 'failed',
        cause: 'dependency',
        finishedWallMs: wallMs,
        message: 'why ✂',
      });
      const entry = { bootId: 'b', monoMs: 0.25, wallMs };
      const back = { ...withPhase(fell, justQueued), queue: { ...fell.queue, sinceWallMs: wallMs, entry } };
      store.commit(history(first, fell), wallMs);
      assert.deepEqual(store.findJob(1), fell);
      store.commit([moved(fell, back)], wallMs);
      assert.deepEqual((places.reopen?.(store) ?? store).findJob(1), back);
    });

    test('edited and moved while it waits', (t) => {
      const { store, places } = opened(t);
      const first = queued(1);
      const definition = {
        ...first.definition,
        group: 'Übungen 🐎',
        priority: 9,
        name: 'n',
        env: { A: 'b' },
        command: ['x'],
      };
      const edited = { ...first, definition };
      store.commit(history(first, edited), wallMs);
      const found = places.reopen?.(store) ?? store;
      assert.deepEqual(found.findJob(1), edited);
      const query = { statuses: null, order: 'oldest', cursor: null, limit: 9 } as const;
      assert.deepEqual(found.listJobIds({ ...query, group: 'Übungen 🐎' }), [1]);
      assert.deepEqual(found.listJobIds({ ...query, group: 'default' }), []);
    });

    const specs: { name: string; spec: Partial<JobSpec> }[] = [
      {
        name: 'every setting',
        spec: {
          command: ['/bin/sh', '-c', 'echo "$0"', ''],
          name: 'nightly',
          group: 'Übungen 🐎',
          stdin: '/etc/hosts',
          splitOutput: true,
          priority: -1_000_000,
          maxRuntimeMs: 100 * 365 * 86_400_000,
          killGraceMs: null,
          successCodes: [0, 3, 255],
          onSupervisorLost: 'retry',
          idempotencyKey: 'k/1',
        },
      },
      {
        name: 'any alphabet',
        spec: {
          command: ['/bin/écho', '𝒳ünï', '\u{10ffff}\ufeff\u202e'],
          cwd: '/tmp/ß',
          name: 'ジョブ 🐎',
          env: { Ä: 'ö' },
        },
      },
      { name: 'control characters', spec: { command: ['a', '\n\t\f\u001b[0m\u0001"\\\''], env: { X: '\n=;' } } },
      { name: 'no environment', spec: { env: {} } },
      {
        name: 'variables with the names of prototypes and numbers',
        spec: {
          env: Object.fromEntries(['__proto__', 'constructor', '10', '9', ' '].map((key) => [key, `of ${key}`])),
        },
      },
      {
        name: '10,000 variables',
        spec: {
          env: Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`V${index}`, `value ${index} ✓`])),
        },
      },
      {
        name: '10,000 arguments',
        spec: { command: Array.from({ length: 10_000 }, (_, index) => `argument ${index}`) },
      },
    ];
    for (const { name: about, spec } of specs) {
      test(`with ${about}`, (t) => {
        const { store, places } = opened(t);
        const job = queued(1, spec);
        store.commit([added(job)], wallMs);
        assert.deepEqual((places.reopen?.(store) ?? store).findJob(1), job);
      });
    }

    const odd: { name: string; text: string }[] = [
      { name: 'half of a surrogate pair', text: 'a\ud800' },
      { name: 'a NUL byte', text: 'a\0b' },
    ];
    for (const { name: about, text } of odd) {
      test(`with ${about} in its name and key, or the protocol refuses them`, (t) => {
        const spec = { command: ['true'], env: {}, cwd: '/', name: text, idempotencyKey: text };
        if (!jobSpecSchema.safeParse(spec).success) return;
        const { store } = opened(t);
        const job = queued(1, spec);
        store.commit([added(job)], wallMs);
        assert.deepEqual(store.findJobByKey(text), job);
      });
    }

    test('jobs with equal environments have each its own, whatever the order of the variables', (t) => {
      const { store } = opened(t);
      store.commit(
        [added(queued(1, { env: { A: '1', B: '2' } })), added(queued(2, { env: { B: '2', A: '1' } }))],
        wallMs,
      );
      store.commit([added(queued(3, { env: { A: '1' } }))], wallMs);
      assert.deepEqual(
        [1, 2, 3].map((id) => store.findJob(id)?.definition.env),
        [{ A: '1', B: '2' }, { A: '1', B: '2' }, { A: '1' }],
      );
    });
  });

  describe(`${name}: find, list, count`, () => {
    function filled(t: TestContext): Store {
      const { store } = opened(t);
      const jobs = Array.from({ length: 10 }, (_, index) =>
        queued(index + 1, { group: index % 2 === 0 ? 'default' : 'Übungen 🐎', idempotencyKey: `key ${index + 1}` }),
      );
      const ended = jobs.filter(({ id }) => id <= 3).map((job) => moved(job, withPhase(job, failed)));
      const starting = jobs.filter(({ id }) => id === 4).map((job) => moved(job, beginAttempt(job, 'scan')));
      store.commit([...jobs.map(added), ...ended, ...starting], wallMs);
      return store;
    }

    test('what is not there is not found', (t) => {
      const store = filled(t);
      assert.deepEqual(
        [store.findJob(11), store.findJob(0), store.findJobByKey('key'), store.findJobByKey('')],
        Array(4).fill(null),
      );
    });

    test('jobs are found by id and by key, ended or not', (t) => {
      const store = filled(t);
      for (const id of [1, 4, 10]) {
        assert.equal(store.findJob(id)?.id, id);
        assert.equal(store.findJobByKey(`key ${id}`)?.id, id);
      }
    });

    const lists: { name: string; query: Partial<JobQuery>; ids: number[] }[] = [
      { name: 'oldest first', query: {}, ids: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] },
      { name: 'newest first', query: { order: 'newest' }, ids: [10, 9, 8, 7, 6, 5, 4, 3, 2, 1] },
      { name: 'the first page', query: { limit: 3 }, ids: [1, 2, 3] },
      { name: 'a page of the oldest after a cursor', query: { cursor: 3, limit: 3 }, ids: [4, 5, 6] },
      { name: 'a page of the newest after a cursor', query: { order: 'newest', cursor: 8, limit: 3 }, ids: [7, 6, 5] },
      { name: 'nothing after the last', query: { cursor: 10 }, ids: [] },
      { name: 'nothing after the first of the newest', query: { order: 'newest', cursor: 1 }, ids: [] },
      { name: 'one status', query: { statuses: ['failed'] }, ids: [1, 2, 3] },
      { name: 'several statuses', query: { statuses: ['failed', 'starting'] }, ids: [1, 2, 3, 4] },
      { name: 'a status that no job has', query: { statuses: ['completed'] }, ids: [] },
      { name: 'no status', query: { statuses: [] }, ids: [] },
      { name: 'one group', query: { group: 'Übungen 🐎' }, ids: [2, 4, 6, 8, 10] },
      { name: 'a group that does not exist', query: { group: "x' OR 1 --" }, ids: [] },
      {
        name: 'all filters together',
        query: { group: 'default', statuses: ['queued'], order: 'newest', cursor: 9, limit: 1 },
        ids: [7],
      },
    ];
    for (const { name: about, query, ids } of lists)
      test(`list gives ${about}`, (t) => assert.deepEqual(listIds(filled(t), query), ids));

    test('a sketch has what a filter looks at; those of a scope are found by it', (t) => {
      const { store } = opened(t);
      const ended: JobPhase = { status: 'failed', cause: 'exit', finishedWallMs: wallMs + 5 };
      const first = queued(1, { name: 'one', scope: 's', group: 'default' });
      store.commit([added(first), added(queued(2)), added(queued(3, { scope: 's' }))], wallMs);
      store.commit([moved(first, withPhase(first, ended))], wallMs);
      const sketchOf = (id: number, known: object) => ({
        id,
        status: 'queued',
        group: 'default',
        name: null,
        scope: null,
        submittedWallMs: wallMs + id,
        finishedWallMs: null,
        ...known,
      });
      const sketches = [
        sketchOf(1, { status: 'failed', name: 'one', scope: 's', finishedWallMs: wallMs + 5 }),
        sketchOf(2, {}),
        sketchOf(3, { scope: 's' }),
      ];
      assert.deepEqual(store.listSketches({ ...everything, scope: null }), sketches);
      assert.deepEqual(store.listSketches({ ...everything, scope: 's' }), [sketches[0], sketches[2]]);
      assert.deepEqual(store.listSketches({ ...everything, scope: 's', order: 'newest', limit: 1 }), [sketches[2]]);
      assert.deepEqual(store.sketchesOf([3, 9, 1]), [sketches[2], sketches[0]]);
    });

    for (const order of ['oldest', 'newest'] as const) {
      test(`pages of the ${order} hold each job once, though jobs are added and removed in between`, (t) => {
        const store = filled(t);
        const seen: number[] = [];
        for (let cursor: number | null = null, page = 1; ; page += 1) {
          const ids: number[] = listIds(store, { order, cursor, limit: 3 });
          seen.push(...ids);
          if (ids.length === 0) break;
          cursor = ids.at(-1) as number;
          if (page === 1) store.commit([removed(2), added(queued(11))], wallMs);
        }
        assert.deepEqual(seen, order === 'oldest' ? [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] : [10, 9, 8, 7, 6, 5, 4, 3, 1]);
      });
    }

    test('counts name every status', (t) => {
      assert.deepEqual(filled(t).countJobs(), {
        queued: 6,
        starting: 1,
        running: 0,
        stopping: 0,
        completed: 0,
        failed: 3,
        cancelled: 0,
      });
    });
  });

  describe(`${name}: removal`, () => {
    test('a removed job is found no more, and its key is free', (t) => {
      const { store } = opened(t);
      store.commit([added(queued(1, { idempotencyKey: 'k' })), added(queued(2))], wallMs);
      store.commit([removed(1)], wallMs);
      assert.deepEqual([store.findJob(1), store.findJobByKey('k'), listIds(store, {})], [null, null, [2]]);
      store.commit([added(queued(3, { idempotencyKey: 'k' }))], wallMs);
      assert.equal(store.findJobByKey('k')?.id, 3);
    });

    test('the id of a removed job is never used again, not even after a restart', (t) => {
      const { store, places } = opened(t);
      store.commit([added(queued(1)), added(queued(2))], wallMs);
      store.commit([removed(2), removed(1)], wallMs);
      assert.equal(store.load().nextJobId, 3);
      assert.equal((places.reopen?.(store) ?? store).load().nextJobId, 3);
    });

    test('removing what is not there changes nothing', (t) => {
      const { store } = opened(t);
      store.commit([added(queued(1))], wallMs);
      store.commit([removed(1), removed(1), removed(9)], wallMs);
      assert.deepEqual(listIds(store, {}), []);
    });

    test('a job that shares its environment with a removed one keeps it', (t) => {
      const { store } = opened(t);
      const env = { SHARED: 'yes' };
      store.commit([added(queued(1, { env })), added(queued(2, { env }))], wallMs);
      store.commit([removed(1)], wallMs);
      assert.deepEqual(store.findJob(2)?.definition.env, env);
      store.commit([removed(2), added(queued(3, { env }))], wallMs);
      assert.deepEqual(store.findJob(3)?.definition.env, env);
    });
  });

  describe(`${name}: all or nothing`, () => {
    const failing: { name: string; change: Change }[] = [
      { name: 'an id that is taken', change: added(queued(1)) },
      { name: 'a key that is taken', change: added(queued(8, { idempotencyKey: 'taken' })) },
      { name: 'a group that does not exist', change: added(queued(8, { group: 'nope' })) },
      {
        name: 'a value that has no place',
        change: added({ ...queued(8), submittedWallMs: 'yesterday' as unknown as number }),
      },
    ];
    for (const { name: about, change } of failing) {
      test(`a commit that fails at ${about} writes nothing, and the store goes on`, (t) => {
        const { store, places } = opened(t);
        const first = queued(1, { idempotencyKey: 'taken' });
        store.commit([added(first)], wallMs);
        const before = { ...store.load(), counts: store.countJobs() };
        const env = { ONLY: 'here' };
        const rest: Change[] = [
          added(queued(2, { env })),
          moved(first, started(first)),
          set(groupOf('another')),
          set(groupOf('default', { parallel: 99 })),
        ];

        assert.throws(() => store.commit([...rest, change], wallMs), storeFailed);
        assert.deepEqual({ ...store.load(), counts: store.countJobs() }, before);
        assert.equal(store.findJob(2), null);

        assert.throws(() => store.commit([removed(1), ...rest.slice(2), change, change], wallMs), storeFailed);
        assert.deepEqual(store.findJob(1), first);

        store.commit(rest, wallMs);
        const again = places.reopen?.(store) ?? store;
        assert.deepEqual(again.findJob(2)?.definition.env, env);
        assert.equal(again.findJob(1)?.phase.status, 'starting');
        assert.equal(again.load().groups.length, 3);
      });
    }

    test('a commit of nothing, or of what is not kept, writes nothing', (t) => {
      const { store } = opened(t);
      store.commit([], wallMs);
      store.commit([{ kind: 'admission', before: 'open', after: 'closing' }], wallMs);
      assert.equal(store.load().nextJobId, 1);
    });

    test('10,000 jobs fit one commit', (t) => {
      const { store } = opened(t);
      const env = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`V${index}`, 'x'.repeat(100)]));
      store.commit(
        Array.from({ length: 10_000 }, (_, index) => added(queued(index + 1, { env }))),
        wallMs,
      );
      assert.equal(store.countJobs().queued, 10_000);
    });
  });
}

function tempDir(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-store-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function filePlace(t: TestContext) {
  const file = `${tempDir(t)}/corral.db`;
  let current: Store | null = null;
  t.after(() => current?.close());
  const open = (): Store => {
    current = new SqliteStore(file);
    return current;
  };
  return {
    file,
    open,
    reopen(store: Store): Store {
      store.close();
      return open();
    },
  };
}

storeContract('SqliteStore on a file', filePlace);

storeContract('SqliteStore in memory', (t) => ({
  open() {
    const store = new SqliteStore(':memory:');
    t.after(() => store.close());
    return store;
  },
  reopen: null,
}));

describe('SqliteStore: the file', () => {
  function rows(file: string, sql: string): unknown[] {
    const db = new DatabaseSync(file, { readOnly: true });
    try {
      return db
        .prepare(sql)
        .all()
        .map((row) => Object.values(row));
    } finally {
      db.close();
    }
  }

  test('a removal takes attempts, events and unused environments along', (t) => {
    const { file, open } = filePlace(t);
    const store = open();
    const first = queued(1, { env: { A: '1' } });
    const second = queued(2, { env: { B: '2' } });
    const third = queued(3, { env: { B: '2' } });
    store.commit([set(groups[0] as Group), added(first), added(second), added(third)], wallMs);
    store.commit([moved(first, started(first)), moved(second, started(second))], wallMs);
    const tables = () =>
      ['jobs', 'attempts', 'events', 'environments'].map((table) =>
        Number((rows(file, `SELECT count(*) FROM ${table}`)[0] as number[])[0]),
      );
    assert.deepEqual(tables(), [3, 2, 5, 2]);
    store.commit([removed(1)], wallMs);
    assert.deepEqual(tables(), [2, 1, 3, 1]);
    store.commit([removed(2)], wallMs);
    assert.deepEqual(tables(), [1, 0, 1, 1]);
    store.commit([removed(3)], wallMs);
    assert.deepEqual(tables(), [0, 0, 0, 0]);
  });

  test('of a removed group nothing is left once the last record that names it is gone', (t) => {
    const { file, open } = filePlace(t);
    const store = open();
    const [used, unused] = [groupOf('used'), groupOf('unused')];
    const jobs = [queued(1, { group: 'used' }), queued(2, { group: 'used' }), queued(3)];
    store.commit([...groups.map(set), set(used), set(unused), ...jobs.map(added)], wallMs);
    const names = () => rows(file, 'SELECT name FROM groups ORDER BY rowid').flat().slice(groups.length);
    store.commit([unmade(used), unmade(unused)], wallMs);
    assert.deepEqual(names(), ['used']);
    store.commit([removed(1), removed(3)], wallMs);
    assert.deepEqual(names(), ['used']);
    store.commit([removed(2)], wallMs);
    assert.deepEqual(names(), []);
    assert.equal(store.load().groups.length, groups.length, 'a group that was not removed stays without jobs');
  });

  test('an edit leaves no environment and no policies behind that no job has', (t) => {
    const { file, open } = filePlace(t);
    const store = open();
    const edits = [1, 2, 3].map((n) => queued(1, { env: { A: String(n) }, maxRuntimeMs: n }));
    const shared = queued(2, { env: { A: '2' }, maxRuntimeMs: 2 });
    store.commit([set(groups[0] as Group), added(shared), ...history(...edits)], wallMs);
    for (const [table, column] of [
      ['environments', 'environment_id'],
      ['policies', 'policies_id'],
    ])
      assert.deepEqual(
        rows(file, `SELECT id FROM ${table} ORDER BY id`),
        rows(file, `SELECT ${column} FROM jobs ORDER BY ${column}`),
      );
    assert.deepEqual(store.findJob(1), edits[2]);
  });

  test('a job that is run again has an event without the cause of its earlier end', (t) => {
    const store = filePlace(t).open();
    store.commit([set(groups[0] as Group)], wallMs);
    const over = withPhase(started(queued(1), { cause: 'exit' }), failed);
    store.commit([...history(queued(1), over, withPhase(over, justQueued))], wallMs);
    const [, , again] = store.listEvents({ after: 0, jobId: 1, limit: 9 });
    assert.deepEqual([again?.from, again?.to, again?.cause, again?.attempt], ['failed', 'queued', null, 1]);
  });

  test('every transition is an event, with its time, attempt and cause; other changes are none', (t) => {
    const { file, open } = filePlace(t);
    const store = open();
    store.commit([set(groups[0] as Group)], wallMs);
    lives.stopping.states.forEach((_, index, states) => {
      store.commit(history(...states).slice(index, index + 1), wallMs + index);
    });
    const stopping = lives.stopping.states.at(-1) as Job;
    store.commit([moved(stopping, withAttempt(stopping, { strays: 4 }))], wallMs);
    store.commit([moved(stopping, withPhase(stopping, failed))], wallMs + 4);
    assert.deepEqual(
      rows(
        file,
        'SELECT wall_ms - 1700000000000, job_id, attempt, from_status, to_status, cause FROM events ORDER BY seq',
      ),
      [
        [0, 1, 0, null, 'queued', null],
        [1, 1, 1, 'queued', 'starting', null],
        [2, 1, 1, 'starting', 'running', null],
        [3, 1, 1, 'running', 'stopping', 'exit'],
        [4, 1, 1, 'stopping', 'failed', 'exit'],
      ],
    );
  });

  test('what was committed is on the disk, whole, for another reader and without a close', (t) => {
    const { file, open } = filePlace(t);
    const store = open();
    store.commit([...groups.map(set), added(queued(1))], wallMs);
    const dir = tempDir(t);
    for (const name of fs.readdirSync(path.dirname(file)))
      fs.copyFileSync(`${path.dirname(file)}/${name}`, `${dir}/${name}`);
    const copy = new SqliteStore(`${dir}/corral.db`);
    t.after(() => copy.close());
    assert.deepEqual(copy.findJob(1), queued(1));
  });

  test('it is private to its owner, and so is what SQLite puts beside it', (t) => {
    const { file, open } = filePlace(t);
    const umask = process.umask(0);
    t.after(() => void process.umask(umask));
    open().commit(groups.map(set), wallMs);
    const modes = fs
      .readdirSync(path.dirname(file))
      .map((name) => [name, fs.statSync(`${path.dirname(file)}/${name}`).mode & 0o777]);
    assert.deepEqual(Object.fromEntries(modes), { 'corral.db': 0o600, 'corral.db-wal': 0o600, 'corral.db-shm': 0o600 });
  });

  test('the instance is drawn once', (t) => {
    const { open, reopen } = filePlace(t);
    const store = open();
    const { instance } = store.load();
    assert.equal(reopen(store).load().instance, instance);
    assert.notEqual(filePlace(t).open().load().instance, instance);
  });

  for (const journal of ['wal', 'delete']) {
    test(`a newer schema is refused and the file is not changed (journal mode ${journal})`, (t) => {
      const { file, open } = filePlace(t);
      const newer = new DatabaseSync(file);
      newer.exec(
        `PRAGMA journal_mode = ${journal}; CREATE TABLE wonders (id); PRAGMA user_version = ${schemaVersion + 1}`,
      );
      newer.close();
      const before = fs.readFileSync(file);
      const refused = (error: unknown) =>
        storeFailed(error) &&
        (error as Error).message.includes(file) &&
        (error as Error).message.includes(`schema ${schemaVersion + 1}`);
      assert.throws(open, refused);
      assert.throws(open, refused);
      assert.deepEqual(fs.readFileSync(file), before);
    });
  }

  test('a store that is refused is closed again, so that nothing is left beside it', (t) => {
    const { file, open } = filePlace(t);
    const newer = new DatabaseSync(file);
    newer.exec(`PRAGMA journal_mode = wal; PRAGMA user_version = ${schemaVersion + 1}`);
    newer.close();
    assert.throws(open, storeFailed);
    assert.deepEqual(fs.readdirSync(path.dirname(file)), ['corral.db']);
  });
});
