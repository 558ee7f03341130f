import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  apply,
  type Change,
  decide,
  definitionFrom,
  type Effect,
  type Event,
  emptyState,
  endLeftovers,
  hasEnded,
  type Job,
  maxScopes,
  nextDeadline,
  noUsage,
  restoreScopes,
  returnPatienceMs,
  type State,
  schedule,
  scopeReport,
  settleScopes,
} from '../../src/daemon/core/index.ts';
import { groupOf, instant, jobOf } from '../support/records.ts';

const id = 'scope-of-this-test';

/** A daemon without its shells: turns as the supervisor takes them. */
class Daemon {
  readonly state: State = emptyState();
  readonly ended = new Map<number, Job>();

  constructor({ parallel = 2 } = {}) {
    apply(this.state, [{ kind: 'group', before: null, after: groupOf('default', { parallel, maxQueued: 100 }) }]);
  }

  turn(monoMs: number, ...events: Event[]): Effect[] {
    const effects: Effect[] = [];
    const take = ({ changes, effects: more }: { changes: readonly Change[]; effects: readonly Effect[] }) => {
      apply(this.state, changes);
      for (const change of changes) {
        if (change.kind === 'job' && hasEnded(change.after.phase)) this.ended.set(change.after.id, change.after);
      }
      effects.push(...more);
    };
    for (const event of events) take(decide(this.state, event, instant(monoMs)));
    take(schedule(this.state, 'scan', instant(monoMs)));
    take(settleScopes(this.state));
    return effects;
  }

  open(monoMs = 0, isKnown = false): Effect[] {
    return this.turn(monoMs, { type: 'openScope', request: 1, scope: id, name: null, isKnown });
  }

  submit(monoMs: number, scope: string | null = id): Effect[] {
    const definition = definitionFrom({ command: ['true'], env: {}, cwd: '/', ...(scope === null ? {} : { scope }) });
    return this.turn(monoMs, {
      type: 'submit',
      request: 2,
      definitions: [definition],
      known: new Map(),
      ended: new Map(),
    });
  }

  launch(monoMs: number, jobId: number): void {
    this.turn(monoMs, { type: 'launched', jobId, leader: { pid: jobId, startTicks: 1, bootId: 'b' } });
  }

  close(monoMs: number): Effect[] {
    return this.turn(monoMs, { type: 'closeScope', request: 3, scope: id });
  }

  exit(monoMs: number, jobId: number): Effect[] {
    const exit = { code: 0, signal: null };
    return this.turn(monoMs, { type: 'leaderExited', jobId, exit, remaining: 0, usage: noUsage });
  }

  counted(monoMs: number, processesLeft = 0): Effect[] {
    return this.turn(monoMs, { type: 'scopeCounted', scope: id, processesLeft });
  }
}

const told = (effects: readonly Effect[]) =>
  effects.map((effect) => {
    if (effect.type === 'refuse') return effect.code;
    return 'jobId' in effect ? `${effect.type} ${effect.jobId}` : effect.type;
  });

const refusals = (effects: readonly Effect[]) => told(effects).filter((one) => /^[A-Z_]+$/.test(one));

describe('a scope that is closed', () => {
  test('ends all of its jobs in one turn, and no other', () => {
    const daemon = new Daemon({ parallel: 3 });
    daemon.open();
    for (const scope of [id, id, null, id]) daemon.submit(1, scope);
    for (const jobId of [1, 2, 3]) daemon.launch(2, jobId);
    assert.deepEqual(told(daemon.close(3)), ['terminate 1', 'terminate 2', 'finished', 'reply']);
    const queued = daemon.ended.get(4);
    assert.deepEqual(queued?.phase, {
      status: 'cancelled',
      cause: 'scope',
      finishedWallMs: 3,
      message: 'Its scope was closed.',
    });
    assert.equal(queued?.attempts.length, 0, 'it has not run');
    assert.equal(daemon.state.live.get(3)?.phase.status, 'running');
  });

  test('takes no more jobs, also while it is closing and once it is closed', () => {
    const daemon = new Daemon();
    daemon.open();
    daemon.submit(1);
    daemon.launch(1, 1);
    daemon.close(2);
    assert.deepEqual(refusals(daemon.submit(3)), ['SCOPE_CLOSED']);
    daemon.exit(4, 1);
    daemon.counted(5);
    assert.deepEqual(refusals(daemon.submit(6)), ['SCOPE_CLOSED']);
    assert.deepEqual(refusals(daemon.open(7, true)), ['SCOPE_CLOSED']);
    assert.deepEqual(refusals(daemon.submit(8, null)), [], 'control: without a scope');
  });

  test('is counted when its last job has ended, and over when that is known', () => {
    const daemon = new Daemon();
    daemon.open();
    for (const at of [1, 2]) daemon.submit(at);
    for (const jobId of [1, 2]) daemon.launch(3, jobId);
    daemon.exit(4, 1);
    assert.ok(!told(daemon.close(5)).includes('countScope'));
    const last = daemon.exit(6, 2);
    assert.deepEqual(
      last.filter(({ type }) => type === 'countScope'),
      [{ type: 'countScope', scope: id, jobIds: [2] }],
    );
    assert.deepEqual(told(daemon.turn(7)), [], 'once');
    assert.deepEqual(told(daemon.counted(8)), ['scopeClosed']);
    assert.equal(daemon.state.scopes.size, 0);
  });

  test('without live jobs is counted at once', () => {
    const daemon = new Daemon();
    daemon.open();
    assert.deepEqual(told(daemon.close(1)), ['reply', 'countScope']);
  });

  test('reports what ended by itself, what it ended, and what it could not', () => {
    const daemon = new Daemon({ parallel: 4 });
    daemon.open();
    for (const at of [1, 2, 3, 4]) daemon.submit(at);
    for (const jobId of [1, 2, 3, 4]) daemon.launch(5, jobId);
    daemon.exit(6, 1);
    daemon.close(7);
    daemon.exit(8, 2);
    daemon.turn(5_007, { type: 'tick' }); // Grace over: SIGKILL.
    daemon.turn(15_007, { type: 'tick' }); // Still there.
    const known = daemon.state.scopes.get(id);
    assert.ok(known);
    const report = scopeReport(known, [...daemon.state.live.values()], 5);
    assert.deepEqual(
      [report.status, report.jobs, report.ended, report.cleaned, report.failed, report.processesLeft],
      ['closing', 4, 1, 1, 2, 5],
    );
    assert.deepEqual(
      report.errors.map(({ jobId, code }) => [jobId, code]),
      [
        [3, 'JOB_UNKILLABLE'],
        [4, 'JOB_UNKILLABLE'],
      ],
    );
  });
});

describe("a scope's client", () => {
  test('that goes away closes it', () => {
    const daemon = new Daemon();
    daemon.open();
    daemon.submit(1);
    daemon.launch(2, 1);
    assert.deepEqual(told(daemon.turn(3, { type: 'scopeClientGone', scope: id })), ['terminate 1']);
    const scope = daemon.state.scopes.get(id)?.scope;
    assert.ok(scope?.phase.status === 'closing' && scope.phase.end === 'client-gone');
    assert.equal(daemon.state.live.get(1)?.attempts[0]?.message, 'The client of its scope went away.');
  });

  test('that holds it by two connections keeps it with one', () => {
    const daemon = new Daemon();
    daemon.open();
    daemon.open();
    daemon.turn(1, { type: 'scopeClientGone', scope: id });
    assert.equal(daemon.state.scopes.get(id)?.scope.phase.status, 'open');
    daemon.turn(2, { type: 'scopeClientGone', scope: id });
    assert.equal(daemon.state.scopes.get(id)?.scope.phase.status, 'closing');
  });

  test('is not gone because the daemon stops and closes its connection', () => {
    const daemon = new Daemon({ parallel: 0 });
    daemon.open();
    daemon.submit(1);
    daemon.turn(2, { type: 'shutdown' }, { type: 'scopeClientGone', scope: id });
    assert.equal(daemon.state.scopes.get(id)?.scope.phase.status, 'open');
    assert.equal(daemon.state.live.get(1)?.phase.status, 'queued');
  });
});

describe('after a restart', () => {
  function restarted(): State {
    const state = emptyState();
    apply(state, [{ kind: 'group', before: null, after: groupOf('default', { parallel: 0 }) }]);
    const scope = { id, name: null, openedWallMs: 1 };
    const open = { status: 'open', clients: 9, returnByMonoMs: null } as const;
    restoreScopes(state, [{ scope: { ...scope, phase: open }, ended: 3, cleaned: 0 }], instant(100));
    apply(state, [{ kind: 'job', before: null, after: jobOf(1, { scope: id }) }]);
    return state;
  }

  test('a scope waits for its client, then its queued jobs end', () => {
    const state = restarted();
    assert.equal(nextDeadline(state), 100 + returnPatienceMs);
    assert.deepEqual(decide(state, { type: 'tick' }, instant(99 + returnPatienceMs)).changes, []);
    apply(state, decide(state, { type: 'tick' }, instant(100 + returnPatienceMs)).changes);
    assert.equal(state.live.size, 0);
    assert.equal(state.scopes.get(id)?.ended, 4);
    assert.equal(nextDeadline(state), null);
  });

  test('a client that comes back in time goes on', () => {
    const state = restarted();
    const back: Event = { type: 'openScope', request: 1, scope: id, name: null, isKnown: true };
    apply(state, decide(state, back, instant(200)).changes);
    assert.equal(nextDeadline(state), null);
    assert.equal(decide(state, { type: 'tick' }, instant(1_000_000)).changes.length, 0);
    const gone = decide(state, { type: 'scopeClientGone', scope: id }, instant(2_000_000));
    apply(state, gone.changes);
    assert.equal(state.scopes.get(id)?.scope.phase.status, 'closing', 'connections of the earlier daemon do not count');
  });

  test('queued jobs of a scope that was closed, or is not known, end', () => {
    const state = emptyState();
    apply(state, [{ kind: 'group', before: null, after: groupOf('default') }]);
    for (const jobId of [1, 2])
      apply(state, [{ kind: 'job', before: null, after: jobOf(jobId, jobId === 1 ? { scope: id } : {}) }]);
    apply(state, endLeftovers(state, instant(5)).changes);
    assert.deepEqual([...state.live.keys()], [2]);
  });
});

test('as many scopes as the daemon allows, and one more is refused', () => {
  const { state } = new Daemon();
  const open = (scope: string) =>
    decide(state, { type: 'openScope', request: 1, scope, name: null, isKnown: false }, instant(0));
  for (let n = 0; n < maxScopes; n += 1) apply(state, open(`scope-number-${n}`).changes);
  assert.deepEqual(refusals(open('one-scope-too-many').effects), ['TOO_MANY_SCOPES']);
  assert.deepEqual(refusals(open('scope-number-7').effects), [], 'control: one that is open');
});

test('a turn that is taken back leaves every scope as it was, whatever happened in it', () => {
  const steps = fc.array(fc.constantFrom('open', 'submit', 'launch', 'exit', 'gone', 'close', 'count', 'tick'), {
    maxLength: 30,
  });
  const seen = ({ state }: Daemon) => ({
    scopes: [...state.scopes.values()].map(({ scope, ended, cleaned, live }) => ({
      scope,
      ended,
      cleaned,
      live: [...live].sort(),
    })),
    live: [...state.live.values()].sort((a, b) => a.id - b.id),
  });
  const eventOf = (step: string, state: State): Event[] => {
    const [job] = state.live.values();
    const jobId = job?.id ?? 1;
    const definition = definitionFrom({ command: ['true'], env: {}, cwd: '/', scope: id });
    switch (step) {
      case 'open':
        return [{ type: 'openScope', request: 1, scope: id, name: null, isKnown: false }];
      case 'submit':
        return [
          { type: 'submit', request: 1, definitions: [definition, definition], known: new Map(), ended: new Map() },
        ];
      case 'launch':
        return [{ type: 'launched', jobId, leader: { pid: 1, startTicks: 1, bootId: 'b' } }];
      case 'exit':
        return [{ type: 'leaderExited', jobId, exit: { code: 0, signal: null }, remaining: 0, usage: noUsage }];
      case 'gone':
        return [{ type: 'scopeClientGone', scope: id }];
      case 'close':
        return [{ type: 'closeScope', request: 1, scope: id }];
      case 'count':
        return [{ type: 'scopeCounted', scope: id, processesLeft: 0 }];
      default:
        return [{ type: 'tick' }];
    }
  };
  fc.assert(
    fc.property(steps, fc.nat(29), (taken, undoneFrom) => {
      const daemon = new Daemon();
      const { state } = daemon;
      for (const step of taken.slice(0, undoneFrom)) daemon.turn(1, ...eventOf(step, state));
      const before = structuredClone(seen(daemon));
      const undos: (() => void)[] = [];
      for (const step of taken.slice(undoneFrom)) {
        for (const event of eventOf(step, state)) undos.push(apply(state, decide(state, event, instant(2)).changes));
        undos.push(
          apply(state, schedule(state, 'scan', instant(2)).changes),
          apply(state, settleScopes(state).changes),
        );
      }
      for (const undo of undos.reverse()) undo();
      assert.deepEqual(seen(daemon), before);
      const [known] = state.scopes.values();
      if (known) assert.deepEqual([...known.live].sort(), [...state.live.keys()].sort());
    }),
  );
});
