import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Change, type Job, type JobPhase, justRunning, withPhase } from '../../src/daemon/core/index.ts';
import { Ledger } from '../../src/daemon/loop/index.ts';
import type { Store } from '../../src/daemon/store/index.ts';
import { CorralError } from '../../src/protocol/index.ts';
import { jobOf } from '../support/records.ts';

const wallMs = 1_700_000_000_000;
const ended: JobPhase = { status: 'completed', cause: 'exit', finishedWallMs: wallMs };

function job(id: number, phase: JobPhase = justRunning, key: string | null = null): Job {
  return withPhase(jobOf(id, key === null ? {} : { idempotencyKey: key }, wallMs), phase);
}

const ends = (id: number, key: string | null = null): Change => ({
  kind: 'job',
  before: job(id, undefined, key),
  after: job(id, ended, key),
});
const entry = (...changes: Change[]) => ({ changes, effects: [], wallMs });
const failed = () => new CorralError('STORE_FAILED', 'no room');

/** A store that is a map, and takes so many commits before it fails. */
function storeFor(commits: number) {
  const jobs = new Map<number, Job>();
  const store = {
    left: commits,
    jobs,
    commit(changes: readonly Change[]) {
      if (!changes.some(({ kind }) => kind !== 'admission')) return;
      if (store.left-- <= 0) throw failed();
      for (const change of changes) {
        if (change.kind === 'job') jobs.set(change.after.id, change.after);
        if (change.kind === 'jobRemoved') jobs.delete(change.jobId);
      }
    },
    probe() {
      if (store.left <= 0) throw failed();
    },
    findJob: (id: number) => jobs.get(id) ?? null,
    findJobByKey: (key: string) =>
      [...jobs.values()].find(({ definition }) => definition.idempotencyKey === key) ?? null,
  };
  return store;
}

const ledgerOn = (store: ReturnType<typeof storeFor>) => new Ledger(store as unknown as Store, () => 0);

describe('while the store fails', () => {
  test('what a crash could take away is not shown as certain', () => {
    const store = storeFor(0);
    store.jobs.set(1, job(1));
    const ledger = ledgerOn(store);
    assert.throws(() => ledger.commit([ends(1)], wallMs), CorralError);
    ledger.postpone(entry(ends(1)));
    assert.equal(ledger.certain(1, undefined)?.phase.status, 'running');
    assert.equal(ledger.newest(1)?.phase.status, 'completed');
    assert.deepEqual([ledger.isWritten(1), ledger.unwritten], [false, 1]);
    store.left = 9;
    assert.deepEqual(ledger.catchUp(), [entry(ends(1))]);
    assert.equal(ledger.certain(1, undefined)?.phase.status, 'completed');
    assert.deepEqual([ledger.isWritten(1), ledger.unwritten, ledger.trouble], [true, 0, null]);
  });

  test('a store that takes only the first of two: the first is certain, the second is not', () => {
    const store = storeFor(1);
    const ledger = ledgerOn(store);
    ledger.postpone(entry(ends(1)));
    ledger.postpone(entry(ends(2)));
    assert.equal(ledger.catchUp().length, 1);
    assert.deepEqual([ledger.isWritten(1), ledger.isWritten(2)], [true, false]);
    assert.equal(ledger.certain(2, undefined)?.phase.status, 'running');
  });

  test('a commit of nothing does not end the trouble, a probe does', () => {
    const store = storeFor(0);
    const ledger = ledgerOn(store);
    assert.throws(() => ledger.commit([ends(1)], wallMs), CorralError);
    ledger.commit([{ kind: 'admission', before: 'open', after: { pausedFor: 'no room' } }], wallMs);
    assert.ok(ledger.trouble !== null);
    ledger.catchUp();
    assert.ok(ledger.trouble !== null);
    store.left = 1;
    ledger.catchUp();
    assert.equal(ledger.trouble, null);
  });
});

test('a job that is removed in the same turn in which it ended is nobody’s twin', () => {
  const ledger = ledgerOn(storeFor(9));
  ledger.note([ends(5, 'k')]);
  assert.equal(ledger.newestByKey('k')?.id, 5);
  ledger.note([{ kind: 'jobRemoved', jobId: 5 }]);
  assert.equal(ledger.newestByKey('k'), null);
});
