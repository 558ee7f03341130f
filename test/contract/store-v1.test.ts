/**
 * The oldest store opens for ever. `fixtures/store-v1.db` was written by the daemon of version 0.1.0 with schema 1, before its
 * first migration: jobs that ended in every way, one with two attempts, and a daemon that was killed while others were queued,
 * starting, running and stopping. (Groups other than the default one were put in by its store, the job that is `starting` as well;
 * the boot id was replaced, and VACUUM took the free pages.) Never make it anew: what users have does not change either.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SqliteStore, schemaVersion } from '../../src/daemon/store/index.ts';
import { CorralError, isFinal } from '../../src/protocol/index.ts';
import { DaemonUnderTest } from '../support/daemon.ts';
import { groupOf } from '../support/records.ts';

const fixture = fileURLToPath(new URL('../fixtures/store-v1.db', import.meta.url));
const digestOfFixture = 'e8f9872493dfacd5b309718e2dec50e6d0db78618b299e7a06e8ca62fe1e4b1b';

function digest(file: string): string {
  return createHash('sha256').update(fs.readFileSync(file)).digest('hex');
}

function copyOfFixture(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-v1-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const file = `${dir}/corral.db`;
  fs.copyFileSync(fixture, file);
  return file;
}

function opened(t: TestContext, file: string): SqliteStore {
  const store = new SqliteStore(file);
  t.after(() => store.close());
  return store;
}

/** What it holds in the columns that the oldest store had. */
function tables(file: string): Record<string, unknown[]> {
  // Without a look at its log, which SQLite would make beside it.
  const oldest = new DatabaseSync(new URL(`file://${fixture}?immutable=1`), { readOnly: true });
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    const columns = (table: string) =>
      oldest
        .prepare(`PRAGMA table_info(${table})`)
        .all()
        .map(({ name }) => name);
    const read = (table: string) => db.prepare(`SELECT ${columns(table)} FROM ${table} ORDER BY 1, 2`).all();
    return Object.fromEntries(
      ['groups', 'environments', 'jobs', 'attempts', 'events', 'meta'].map((table) => [table, read(table)]),
    );
  } finally {
    db.close();
    oldest.close();
  }
}

const plain = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' };
const odd = { PATH: '/usr/bin:/bin', Ä: 'ü🐎', EMPTY: '', 'a.b': ' x\ny ', EQUALS: '=a=b=' };
const sh = (line: string) => ['/bin/sh', '-c', line];

/** Each job as it was when the fixture was made: id, status, cause, command, and for its attempts cause, code, signal, strays. */
const jobs: { id: number; status: string; cause?: string; command: string[]; env?: object; attempts?: unknown[][] }[] =
  [
    { id: 1, status: 'completed', cause: 'exit', command: ['true'], attempts: [['exit', 0, null, 0]] },
    { id: 2, status: 'failed', cause: 'exit', command: sh('exit 3'), attempts: [['exit', 3, null, 0]] },
    {
      id: 3,
      status: 'failed',
      cause: 'spawn-error',
      command: ['/nonexistent/tool', '--flag'],
      attempts: [['spawn-error', 127, null, 0]],
    },
    {
      id: 4,
      status: 'failed',
      cause: 'signal',
      command: sh('kill -KILL $$'),
      attempts: [['signal', null, 'SIGKILL', 0]],
    },
    {
      id: 5,
      status: 'failed',
      cause: 'max-runtime',
      command: ['sleep', '600'],
      attempts: [['max-runtime', null, 'SIGTERM', 0]],
    },
    { id: 6, status: 'completed', cause: 'exit', command: sh('sleep 600 & exit 0'), attempts: [['exit', 0, null, 1]] },
    {
      id: 7,
      status: 'completed',
      cause: 'exit',
      command: sh('echo "$A"; exit 5'),
      env: odd,
      attempts: [['exit', 5, null, 0]],
    },
    {
      id: 8,
      status: 'completed',
      cause: 'exit',
      command: ['/bin/true', '', '$HOME', '"\'\\', '\n\t'],
      env: {},
      attempts: [['exit', 0, null, 0]],
    },
    {
      id: 9,
      status: 'cancelled',
      cause: 'cancel',
      command: ['sleep', '600'],
      env: odd,
      attempts: [['cancel', null, 'SIGTERM', 0]],
    },
    { id: 10, status: 'cancelled', cause: 'cancel', command: ['true'] },
    {
      id: 12,
      status: 'completed',
      cause: 'exit',
      command: sh('[ "$CORRAL_ATTEMPT" = 2 ] || exec sleep 600'),
      attempts: [
        ['supervisor-lost', null, null, 0],
        ['exit', 0, null, 0],
      ],
    },
    {
      id: 13,
      status: 'failed',
      cause: 'supervisor-lost',
      command: ['sleep', '600'],
      attempts: [['supervisor-lost', null, null, 0]],
    },
    { id: 14, status: 'running', command: ['sleep', '600'], attempts: [[null, null, null, 0]] },
    { id: 15, status: 'running', command: sh('exec sleep 600'), env: odd, attempts: [[null, null, null, 0]] },
    {
      id: 16,
      status: 'stopping',
      command: sh('trap "" TERM; echo up; while :; do sleep 1; done'),
      attempts: [['cancel', null, null, 0]],
    },
    { id: 17, status: 'starting', command: ['true'], attempts: [[null, null, null, 0]] },
    { id: 18, status: 'queued', command: ['true'] },
    { id: 19, status: 'queued', command: ['echo', 'x'.repeat(5_000)], env: odd },
  ];

describe('the oldest store', () => {
  test('is still the one that was checked in', () => {
    assert.equal(digest(fixture), digestOfFixture);
  });

  test('is read as it was: every job, attempt and environment', (t) => {
    const store = opened(t, copyOfFixture(t));
    for (const { id, status, cause, command, env = plain, attempts = [] } of jobs) {
      const job = store.findJob(id);
      assert.ok(job !== null, `job ${id}`);
      const { phase, definition } = job;
      assert.deepEqual([phase.status, 'cause' in phase ? phase.cause : undefined], [status, cause], `job ${id}`);
      assert.deepEqual([definition.command, definition.env], [command, env], `job ${id}`);
      assert.deepEqual(
        job.attempts.map((attempt) => [
          attempt.cause,
          attempt.exit?.code ?? null,
          attempt.exit?.signal ?? null,
          attempt.strays,
        ]),
        attempts,
        `job ${id}`,
      );
      assert.equal('finishedWallMs' in phase, cause !== undefined);
    }
    assert.equal(store.findJob(3)?.attempts[0]?.message, '/nonexistent/tool: no such file');
    assert.equal(store.findJob(6)?.attempts[0]?.usage.cpuMs, 2);
    const everything = store.findJobByKey('k/1 ü');
    assert.equal(everything?.id, 7);
    const { policies, sources, ...rest } = everything?.definition ?? assert.fail();
    assert.deepEqual(
      { ...rest, command: null, env: null },
      {
        name: 'ジョブ 🐎',
        group: 'nightly builds',
        command: null,
        env: null,
        cwd: '/',
        stdin: '/dev/null',
        splitOutput: true,
        priority: -5,
        successCodes: [0, 5, 255],
        idempotencyKey: 'k/1 ü',
        scope: null,
        delayMs: null,
        startAtWallMs: null,
        after: [],
        afterMode: 'success',
        resources: null,
        hooks: [],
        profile: 'default',
      },
    );
    const { maxRuntimeMs, killGraceMs, onSupervisorLost, idle, ttlMs, outputLimitBytes, retry } = policies;
    assert.deepEqual(
      { maxRuntimeMs, killGraceMs, onSupervisorLost, idle, ttlMs, outputLimitBytes, retries: retry.limit },
      {
        maxRuntimeMs: 100 * 365 * 86_400_000,
        killGraceMs: null,
        onSupervisorLost: 'retry',
        idle: null,
        ttlMs: null,
        outputLimitBytes: null,
        retries: 0,
      },
    );
    assert.equal(sources.maxRuntimeMs, 'job');
    assert.equal(store.findJobByKey('k/2')?.id, 18);
    assert.equal(store.findJob(11), null);
  });

  test('is loaded with its groups, what had not ended, and the number of the next job', (t) => {
    const { groups, jobs: live, nextJobId, instance } = opened(t, copyOfFixture(t)).load();
    assert.deepEqual(
      groups.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      [
        groupOf('default', { parallel: 8 }),
        groupOf('nightly builds', { parallel: 2, maxQueued: 50 }),
        groupOf('Übungen 🐎', { parallel: 0, maxQueued: 7 }),
      ],
    );
    assert.deepEqual(
      live.map(({ id }) => id),
      jobs.filter(({ cause }) => cause === undefined).map(({ id }) => id),
    );
    assert.deepEqual([nextJobId, instance], [21, 4_014_967_746], 'job 20 was removed');
  });

  test('is brought forward without a change to what it holds, once', (t) => {
    const file = copyOfFixture(t);
    const before = tables(file);
    assert.deepEqual([before.jobs?.length, before.attempts?.length, before.events?.length], [18, 16, 65]);
    const store = new SqliteStore(file);
    const expected = { queued: 2, starting: 1, running: 2, stopping: 1, completed: 5, failed: 5, cancelled: 2 };
    assert.deepEqual(store.countJobs(), expected);
    assert.deepEqual(
      store.listJobIds({
        statuses: ['queued', 'starting'],
        group: 'Übungen 🐎',
        order: 'newest',
        cursor: null,
        limit: 9,
      }),
      [19, 18, 17],
    );
    store.close();
    assert.deepEqual(tables(file), before);
    const db = new DatabaseSync(file);
    assert.equal(db.prepare('PRAGMA user_version').get()?.user_version, schemaVersion);
    assert.equal(db.prepare('PRAGMA integrity_check').get()?.integrity_check, 'ok');
    db.close();
    opened(t, file);
    assert.deepEqual(tables(file), before);
  });

  test('the daemon starts on it, recovers what was lost, and goes on', async (t) => {
    const daemon = new DaemonUnderTest(t);
    fs.mkdirSync(daemon.stateDir, { mode: 0o700 });
    const file = `${daemon.stateDir}/corral.db`;
    fs.copyFileSync(fixture, file);
    // Two runs of this test on one machine must not take each other's processes for theirs.
    const db = new DatabaseSync(file);
    db.prepare("UPDATE meta SET value = ? WHERE key = 'instance'").run(String(randomBytes(4).readUInt32LE()));
    db.close();
    await daemon.start();
    const client = await daemon.client();
    const status = async (id: number) => {
      const job = await client.get(id);
      return [job.status, job.cause, job.attempt];
    };
    const recovered = await Promise.all([14, 16, 17].map(status));
    assert.deepEqual(recovered, [
      ['failed', 'supervisor-lost', 1],
      ['cancelled', 'cancel', 1],
      ['failed', 'supervisor-lost', 1],
    ]);
    assert.deepEqual((await status(18)).slice(0, 1), ['queued']);
    await client.cancel(15);
    assert.equal((await client.wait(15))[0]?.attempt, 2, 'it asked to be run again');
    for (const { id, status: then, cause } of jobs) {
      if (cause === undefined) continue;
      const job = await client.get(id);
      assert.deepEqual([job.status, job.cause], [then, cause]);
      assert.ok(isFinal(job.status));
    }
    assert.deepEqual(await client.submit({ command: ['true'], idempotencyKey: 'k/2' }), { id: 18, created: false });
    assert.equal((await client.submit({ command: ['true'] })).id, 21);
    assert.equal((await client.wait(21))[0]?.status, 'completed');
    assert.equal((await client.remove([1, 7, 12])).done, 3);
  });

  for (const version of [schemaVersion + 1, 999]) {
    test(`of a version ${version} that is not known yet, it is refused and left as it is`, (t) => {
      const file = copyOfFixture(t);
      const db = new DatabaseSync(file);
      db.exec(`PRAGMA user_version = ${version}`);
      db.close();
      const before = digest(file);
      assert.throws(
        () => new SqliteStore(file),
        (error) =>
          error instanceof CorralError && error.code === 'STORE_FAILED' && /schema \d+, .*newer/.test(error.message),
      );
      assert.equal(digest(file), before);
      assert.deepEqual(fs.readdirSync(path.dirname(file)), ['corral.db']);
    });
  }
});
