/** What the store is asked costs the same with no job and with a million: every statement finds its rows by an index. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, type TestContext, test } from 'node:test';
import {
  apply,
  beginAttempt,
  emptyState,
  type GroupState,
  type Job,
  justQueued,
  type Scope,
  withPhase,
} from '../../src/daemon/core/index.ts';
import { type JobQuery, type SketchQuery, SqliteStore } from '../../src/daemon/store/index.ts';
import { type JobStatus, jobStatuses } from '../../src/protocol/index.ts';
import { makeFinishedJobs } from '../support/finished-jobs.ts';
import { groupOf, jobOf } from '../support/records.ts';

function storeFile(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-growth-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return `${dir}/corral.db`;
}

function queued(id: number, idempotencyKey: string | null = null): Job {
  return jobOf(id, { env: { PATH: '/bin' }, ...(idempotencyKey === null ? {} : { idempotencyKey }) }, 1);
}

const first: JobQuery = { statuses: null, group: null, order: 'newest', cursor: null, limit: 200 };
const queries: JobQuery[] = (['newest', 'oldest'] as const).flatMap((order) =>
  [null, 10_000].flatMap((cursor) =>
    [null, 'other'].flatMap((group) =>
      [null, ['completed'], ['completed', 'failed', 'cancelled'], ['queued', 'running']].map(
        (statuses): JobQuery => ({ ...first, order, cursor, group, statuses: statuses as JobStatus[] | null }),
      ),
    ),
  ),
);

const sketchQueries: SketchQuery[] = queries.flatMap((query) => [
  { ...query, scope: null },
  { ...query, scope: 'gone' },
]);

/** Everything that a daemon asks of its store. */
function useAll(store: SqliteStore, nextId: number): void {
  store.load();
  store.countJobs();
  for (const query of queries) store.listJobIds(query);
  for (const query of sketchQueries) store.listSketches(query);
  store.sketchesOf([77, nextId]);
  store.findJob(nextId - 1);
  store.findJobByKey('key 77');
  store.lastEvent();
  store.listEvents({ after: 9_000, jobId: null, limit: 100 });
  store.listEvents({ after: 0, jobId: 77, limit: 100 });
  const job = queued(nextId, 'new key');
  const starting = beginAttempt(job, 'scan');
  const ended = withPhase(starting, { status: 'failed', cause: 'exit', finishedWallMs: 9 });
  store.commit([{ kind: 'job', before: null, after: job }], 1);
  store.commit([{ kind: 'job', before: job, after: starting }], 1);
  store.commit([{ kind: 'job', before: starting, after: ended }], 1);
  store.commit([{ kind: 'jobRemoved', jobId: nextId }], 1);
  const state = emptyState();
  apply(state, [{ kind: 'group', before: null, after: groupOf('brief') }]);
  store.commit([{ kind: 'group', before: null, after: groupOf('brief') }], 1);
  store.commit([{ kind: 'groupRemoved', was: state.groups.get('brief') as GroupState }], 1);
  const scope: Scope = {
    id: 'scope-of-this-test',
    name: null,
    openedWallMs: 1,
    phase: { status: 'open', clients: 1, returnByMonoMs: null },
  };
  store.commit([{ kind: 'scope', before: null, after: scope }], 1);
  store.findScope(scope.id);
}

/** Every statement that is run on a database while `work` runs, those of triggers and foreign keys aside. */
function statementsOf(t: TestContext, work: () => void): string[] {
  const statements = new Set<string>();
  const { prepare } = DatabaseSync.prototype;
  t.mock.method(DatabaseSync.prototype, 'prepare', function (this: DatabaseSync, sql: string) {
    statements.add(sql);
    return prepare.call(this, sql);
  });
  work();
  t.mock.restoreAll();
  return [...statements].filter((sql) => !sql.startsWith('PRAGMA'));
}

function planOf(db: DatabaseSync, sql: string): string[] {
  return db
    .prepare(`EXPLAIN QUERY PLAN ${sql}`)
    .all(...Array(sql.split('?').length - 1).fill(null))
    .map((row) => String(row.detail));
}

/** A scan of a table that does not grow with the jobs is none to worry about. A scope is closed and over within its time; 1,000 are kept. */
const grows = (step: string) =>
  /TEMP B-TREE/.test(step) ||
  (/^SCAN /.test(step) && !/^SCAN (groups|job_counts|scopes|sqlite_sequence|meta)\b/.test(step));

describe('20,000 jobs that have ended', () => {
  test('no statement of the store scans or sorts them', (t) => {
    const file = storeFile(t);
    makeFinishedJobs(file, 20_000);
    const statements = statementsOf(t, () => {
      const store = new SqliteStore(file);
      useAll(store, 20_001);
      store.close();
    });
    assert.ok(statements.length > 15, 'the statements were seen');
    const db = new DatabaseSync(file);
    t.after(() => db.close());
    const triggers = [
      'SELECT 1 FROM environments WHERE id = ? AND NOT EXISTS (SELECT 1 FROM jobs WHERE environment_id = ?)',
      'SELECT 1 FROM groups WHERE name = ? AND removed = 1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE group_name = ?)',
    ];
    for (const sql of [...statements, ...triggers]) assert.deepEqual(planOf(db, sql).filter(grows), [], sql);
    const controls = [
      'SELECT status, count(*) FROM jobs GROUP BY status',
      "SELECT id FROM jobs WHERE status IN ('failed', 'completed') ORDER BY id LIMIT 2",
      "SELECT id FROM jobs WHERE name = 'x'",
    ];
    for (const sql of controls) assert.notDeepEqual(planOf(db, sql).filter(grows), [], `control: ${sql}`);
  });

  test('their counts are kept through every change, and made up for a store that had none', (t) => {
    const file = storeFile(t);
    makeFinishedJobs(file, 300);
    const store = new SqliteStore(file);
    t.after(() => store.close());
    const none = Object.fromEntries(jobStatuses.map((status) => [status, 0]));
    const counts = { ...none, completed: 200, failed: 100 };
    assert.deepEqual(store.countJobs(), counts);
    const job = queued(301);
    store.commit([{ kind: 'job', before: null, after: job }], 1);
    assert.deepEqual(store.countJobs(), { ...counts, queued: 1 });
    const starting = beginAttempt(job, 'scan');
    store.commit([{ kind: 'job', before: job, after: starting }], 1);
    assert.deepEqual(store.countJobs(), { ...counts, starting: 1 });
    const again = withPhase(starting, justQueued);
    store.commit([{ kind: 'job', before: starting, after: again }], 1);
    assert.throws(() =>
      store.commit(
        [
          { kind: 'jobRemoved', jobId: 1 },
          { kind: 'job', before: null, after: job },
        ],
        1,
      ),
    );
    assert.deepEqual(store.countJobs(), { ...counts, queued: 1 }, 'a commit that failed counts nothing');
    store.commit(
      [1, 3, 301].map((jobId) => ({ kind: 'jobRemoved', jobId })),
      1,
    );
    assert.deepEqual(store.countJobs(), { ...counts, completed: 199, failed: 99 });
  });

  test('pages of every filter hold each job once, in order', (t) => {
    const file = storeFile(t);
    makeFinishedJobs(file, 1_000);
    const store = new SqliteStore(file);
    t.after(() => store.close());
    const all = Array.from({ length: 1_000 }, (_, index) => index + 1);
    for (const { order, group, statuses } of queries) {
      const seen: number[] = [];
      for (let cursor: number | null = null; ; ) {
        const ids: number[] = store.listJobIds({ order, group, statuses, cursor, limit: 90 });
        const sketches = store.listSketches({ order, group, statuses, cursor, limit: 90, scope: null });
        assert.deepEqual(
          sketches.map(({ id }) => id),
          ids,
        );
        if (ids.length === 0) break;
        seen.push(...ids);
        cursor = ids.at(-1) as number;
      }
      const wanted = all
        .filter((id) => group === null || id % 2 === 0)
        .filter((id) => statuses === null || statuses.includes(id % 3 === 0 ? 'failed' : 'completed'));
      assert.deepEqual(seen, order === 'oldest' ? wanted : wanted.toReversed());
    }
  });
});
