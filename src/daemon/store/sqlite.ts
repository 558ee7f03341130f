import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import {
  type Cause,
  CorralError,
  type EventView,
  type JobStatus,
  jobStatuses,
  liveStatuses,
  unreachable,
} from '../../protocol/index.ts';
import {
  type Attempt,
  type Change,
  type Group,
  hasEnded,
  type Job,
  type JobDefinition,
  type JobPhase,
} from '../core/index.ts';
import { findDamage } from './check.ts';
import { migrate } from './schema.ts';
import type { EventQuery, JobQuery, Snapshot, Store } from './store.ts';

type Row = Record<string, SQLOutputValue>;

/** The part of a definition that is kept as JSON; the rest has columns of its own. */
type StoredDefinition = Omit<JobDefinition, 'env' | 'group' | 'name' | 'priority' | 'idempotencyKey'>;

/** What gives the ids of one page. */
interface PageStatements {
  readonly ofAll: StatementSync;
  readonly ofStatus: StatementSync;
  readonly ofGroup: StatementSync;
}

/** How long to wait for another process that reads the file, such as a backup. */
const busyTimeoutMs = 5_000;

const selectJob =
  'SELECT jobs.*, environments.variables FROM jobs JOIN environments ON environments.id = jobs.environment_id';

/** The store in one SQLite file, in WAL mode with synchronous=FULL: each commit is on the disk when it returns. */
export class SqliteStore implements Store {
  readonly #path: string;
  readonly #db: DatabaseSync;
  readonly #insertJob: StatementSync;
  readonly #updateJob: StatementSync;
  readonly #deleteJob: StatementSync;
  readonly #putAttempt: StatementSync;
  readonly #deleteAttempts: StatementSync;
  readonly #insertEvent: StatementSync;
  readonly #putGroup: StatementSync;
  readonly #findEnvironment: StatementSync;
  readonly #insertEnvironment: StatementSync;
  readonly #findJob: StatementSync;
  readonly #findJobByKey: StatementSync;
  readonly #findAttempts: StatementSync;
  readonly #countJobs: StatementSync;
  readonly #pages: Readonly<Record<JobQuery['order'], PageStatements>>;
  /** Jobs of one batch share one environment object: it is digested once. */
  readonly #digests = new WeakMap<object, { digest: string; variables: string }>();

  /** Opens the file, makes it if there is none, and brings its schema up to date. */
  constructor(path: string) {
    const db = openDatabase(path);
    this.#path = path;
    this.#db = db;
    db.prepare("INSERT INTO meta (key, value) VALUES ('instance', ?) ON CONFLICT DO NOTHING").run(
      String(randomBytes(4).readUInt32LE()),
    );
    this.#insertJob = db.prepare(
      `INSERT INTO jobs (id, status, cause, group_name, name, priority, submitted_wall_ms, idempotency_key, environment_id, definition)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#updateJob = db.prepare('UPDATE jobs SET status = ?, cause = ?, finished_wall_ms = ? WHERE id = ?');
    this.#deleteJob = db.prepare('DELETE FROM jobs WHERE id = ?');
    this.#putAttempt = db.prepare(
      `INSERT OR REPLACE INTO attempts (job_id, number, tier, pid, start_ticks, boot_id, started_wall_ms, finished_wall_ms, cause,
         exit_code, exit_signal, strays, cpu_ms, peak_rss_bytes, message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#deleteAttempts = db.prepare('DELETE FROM attempts WHERE job_id = ? AND number > ?');
    this.#insertEvent = db.prepare(
      'INSERT INTO events (wall_ms, job_id, attempt, from_status, to_status, cause) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.#putGroup = db.prepare(
      `INSERT INTO groups (name, parallel, max_queued) VALUES (?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET parallel = excluded.parallel, max_queued = excluded.max_queued`,
    );
    this.#findEnvironment = db.prepare('SELECT id FROM environments WHERE digest = ?');
    this.#insertEnvironment = db.prepare('INSERT INTO environments (digest, variables) VALUES (?, ?)');
    this.#findJob = db.prepare(`${selectJob} WHERE jobs.id = ?`);
    this.#findJobByKey = db.prepare(`${selectJob} WHERE jobs.idempotency_key = ?`);
    this.#findAttempts = db.prepare('SELECT * FROM attempts WHERE job_id = ? ORDER BY number');
    this.#countJobs = db.prepare('SELECT status, jobs FROM job_counts');
    this.#pages = { oldest: pageStatements(db, 'id > ?', 'ASC'), newest: pageStatements(db, 'id < ?', 'DESC') };
  }

  load(): Snapshot {
    const groups = this.#db.prepare('SELECT name, parallel, max_queued FROM groups').all();
    const jobs = this.listJobs({
      statuses: liveStatuses,
      group: null,
      order: 'oldest',
      cursor: null,
      limit: Number.MAX_SAFE_INTEGER,
    });
    const lastId = this.#db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").get();
    const instance = this.#db.prepare("SELECT value FROM meta WHERE key = 'instance'").get();
    return {
      groups: groups.map(
        (row): Group => ({ name: text(row.name), parallel: number(row.parallel), maxQueued: number(row.max_queued) }),
      ),
      jobs,
      nextJobId: lastId === undefined ? 1 : number(lastId.seq) + 1,
      instance: Number(text(instance?.value)),
    };
  }

  commit(changes: readonly Change[], wallMs: number): void {
    const persistent = changes.filter((change) => change.kind !== 'admission');
    if (persistent.length === 0) return;
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      for (const change of persistent) this.#write(change, wallMs);
      this.#db.exec('COMMIT');
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      const reason = error instanceof Error ? error.message : String(error);
      throw new CorralError(
        'STORE_FAILED',
        `The store ${this.#path} cannot be written (${reason}). Check its disk; corral goes on by itself when it can be.`,
        { cause: error },
      );
    }
  }

  findJob(jobId: number): Job | null {
    const row = this.#findJob.get(jobId);
    return row === undefined ? null : this.#jobFrom(row);
  }

  findJobByKey(idempotencyKey: string): Job | null {
    const row = this.#findJobByKey.get(idempotencyKey);
    return row === undefined ? null : this.#jobFrom(row);
  }

  /**
   * The first ids of each status that is wanted, from an index that has them in order, and of those the first. So the cost grows
   * with the page, not with the store.
   */
  listJobs({ statuses, group, order, cursor, limit }: JobQuery): Job[] {
    const isNewest = order === 'newest';
    const from = cursor ?? (isNewest ? Number.MAX_SAFE_INTEGER + 1 : 0);
    const page = this.#pages[order];
    const rowsOf = (status: JobStatus) =>
      group === null ? page.ofStatus.all(status, from, limit) : page.ofGroup.all(group, status, from, limit);
    const rows =
      statuses === null && group === null
        ? page.ofAll.all(from, limit)
        : [...new Set(statuses ?? jobStatuses)].flatMap(rowsOf);
    return rows
      .map((row) => number(row.id))
      .sort((a, b) => (isNewest ? b - a : a - b))
      .slice(0, limit)
      .flatMap((id) => this.findJob(id) ?? []);
  }

  listEvents({ after, jobId, limit }: EventQuery): EventView[] {
    const ofJob = jobId === null ? '' : 'AND job_id = ?';
    const values = jobId === null ? [after, limit] : [after, jobId, limit];
    return this.#db
      .prepare(`SELECT * FROM events WHERE seq > ? ${ofJob} ORDER BY seq LIMIT ?`)
      .all(...values)
      .map(eventFrom);
  }

  lastEvent(): number {
    const row = this.#db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'events'").get();
    return row === undefined ? 0 : number(row.seq);
  }

  countJobs(): Record<JobStatus, number> {
    const rows = this.#countJobs.all();
    const none = jobStatuses.map((status) => [status, 0]);
    return Object.fromEntries([...none, ...rows.map((row) => [text(row.status), number(row.jobs)])]);
  }

  close(): void {
    this.#db.close();
  }

  #write(change: Exclude<Change, { kind: 'admission' }>, wallMs: number): void {
    switch (change.kind) {
      case 'job':
        return this.#writeJob(change.before, change.after, wallMs);
      case 'jobRemoved':
        this.#deleteJob.run(change.jobId);
        return;
      case 'group':
        this.#putGroup.run(change.after.name, change.after.parallel, change.after.maxQueued);
        return;
      default:
        return unreachable(change);
    }
  }

  #writeJob(before: Job | null, after: Job, wallMs: number): void {
    const { phase, definition } = after;
    const attempt = after.attempts.at(-1);
    const cause = hasEnded(phase) ? phase.cause : null;
    if (before === null) {
      if (!Number.isSafeInteger(after.id)) throw new RangeError('no job id is left');
      const { env, group, name, priority, idempotencyKey, ...rest } = definition;
      const stored: StoredDefinition = rest;
      const environmentId = this.#environmentId(env);
      this.#insertJob.run(
        after.id,
        phase.status,
        cause,
        group,
        name,
        priority,
        after.submittedWallMs,
        idempotencyKey,
        environmentId,
        JSON.stringify(stored),
      );
    } else {
      this.#updateJob.run(phase.status, cause, hasEnded(phase) ? phase.finishedWallMs : null, after.id);
    }
    if (before !== null && before.attempts.length > after.attempts.length)
      this.#deleteAttempts.run(after.id, after.attempts.length);
    if (attempt !== undefined && attempt !== before?.attempts.at(-1)) this.#writeAttempt(after.id, attempt);
    if (before?.phase.status !== phase.status) {
      this.#insertEvent.run(
        wallMs,
        after.id,
        attempt?.number ?? 0,
        before?.phase.status ?? null,
        phase.status,
        cause ?? attempt?.cause ?? null,
      );
    }
  }

  #writeAttempt(jobId: number, attempt: Attempt): void {
    const { leader, exit, usage } = attempt;
    this.#putAttempt.run(
      jobId,
      attempt.number,
      attempt.tier,
      leader?.pid ?? null,
      leader?.startTicks ?? null,
      leader?.bootId ?? null,
      attempt.startedWallMs,
      attempt.finishedWallMs,
      attempt.cause,
      exit?.code ?? null,
      exit?.signal ?? null,
      attempt.strays,
      usage.cpuMs,
      usage.peakRssBytes,
      attempt.message,
    );
  }

  #environmentId(env: Readonly<Record<string, string>>): number {
    let digested = this.#digests.get(env);
    if (digested === undefined) {
      const variables = JSON.stringify(Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1)));
      digested = { variables, digest: createHash('sha256').update(variables).digest('hex') };
      this.#digests.set(env, digested);
    }
    const found = this.#findEnvironment.get(digested.digest);
    if (found !== undefined) return number(found.id);
    return Number(this.#insertEnvironment.run(digested.digest, digested.variables).lastInsertRowid);
  }

  /** @throws CorralError `STORE_DAMAGED` where the row says what no daemon wrote */
  #jobFrom(row: Row): Job {
    try {
      return this.#readJob(row);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      throw damaged(this.#path, `the record of job ${row.id} cannot be read: ${error.message}`);
    }
  }

  #readJob(row: Row): Job {
    const id = number(row.id);
    const stored = JSON.parse(text(row.definition)) as StoredDefinition;
    return {
      id,
      definition: {
        ...stored,
        env: Object.fromEntries(JSON.parse(text(row.variables)) as [string, string][]),
        group: text(row.group_name),
        name: textOrNull(row.name),
        priority: number(row.priority),
        idempotencyKey: textOrNull(row.idempotency_key),
      },
      submittedWallMs: number(row.submitted_wall_ms),
      attempts: this.#findAttempts.all(id).map(attemptFrom),
      phase: phaseFrom(text(row.status) as JobStatus, row),
    };
  }
}

function pageStatements(db: DatabaseSync, beyond: string, direction: 'ASC' | 'DESC'): PageStatements {
  const select = (condition: string) =>
    db.prepare(`SELECT id FROM jobs WHERE ${condition}${beyond} ORDER BY id ${direction} LIMIT ?`);
  return {
    ofAll: select(''),
    ofStatus: select('status = ? AND '),
    ofGroup: select('group_name = ? AND status = ? AND '),
  };
}

/** A store up to this size is checked at each start, in 0.1 s (measured: 3.7 ms a MB on a busy machine). A larger one by `corral doctor`. */
const maxBytesToCheck = 32 * 1024 * 1024;

/** Opens or makes the file and brings its schema up to date. What is damaged is left as it is. */
function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | null = null;
  try {
    if (path !== ':memory:') checkFile(path);
    db = new DatabaseSync(path, { timeout: busyTimeoutMs });
    migrate(db, path);
    return db;
  } catch (error) {
    db?.close();
    if (error instanceof CorralError || !(error instanceof Error)) throw error;
    throw isDamage(error) ? damaged(path, error.message) : notOpened(path, error);
  }
}

/** Makes the file, or looks at the one that is there before anything can write to it: the end of a log is copied into it at the end of a session. */
function checkFile(path: string): void {
  const isNew = !fs.existsSync(path);
  // SQLite gives the -wal and -shm files the mode of the database file.
  const fd = fs.openSync(path, fs.constants.O_CREAT | fs.constants.O_RDWR, 0o600);
  const { size } = fs.fstatSync(fd);
  fs.closeSync(fd);
  if (isNew || size > maxBytesToCheck) return;
  // SQLite takes an empty file for a new store. One that has been emptied, beside what its jobs have printed, is a loss.
  if (size === 0 && fs.existsSync(`${dirname(path)}/output`)) throw damaged(path, 'it is empty');
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const damage = findDamage(db, 'quick');
    if (damage.length > 0) throw damaged(path, damage.join('; '));
  } finally {
    db.close();
  }
}

/** SQLITE_CORRUPT and SQLITE_NOTADB. sqlite.org/rescode.html */
function isDamage(error: Error): boolean {
  const code = 'errcode' in error ? Number(error.errcode) & 0xff : 0;
  return code === 11 || code === 26;
}

function damaged(path: string, finding: string): CorralError {
  const folder = dirname(path);
  return new CorralError(
    'STORE_DAMAGED',
    `The store ${path} is damaged (${finding}). Nothing was changed. Put a backup in its place; or set it aside and begin anew: mkdir ${folder}/damaged && mv ${path}* ${folder}/damaged/`,
  );
}

function notOpened(path: string, error: Error): CorralError {
  return new CorralError(
    'STORE_FAILED',
    `The store ${path} cannot be opened (${error.message}). Nothing was changed. Check that its folder is yours, can be written, and has room.`,
    { cause: error },
  );
}

function eventFrom(row: Row): EventView {
  return {
    seq: number(row.seq),
    at: new Date(number(row.wall_ms)).toISOString(),
    jobId: number(row.job_id),
    attempt: number(row.attempt),
    from: textOrNull(row.from_status) as JobStatus | null,
    to: text(row.to_status) as JobStatus,
    cause: textOrNull(row.cause) as Cause | null,
  };
}

/** Times of a running attempt are not kept: no attempt outlives its daemon. */
function phaseFrom(status: JobStatus, row: Row): JobPhase {
  switch (status) {
    case 'queued':
      return { status };
    case 'starting':
      return { status, stopRequested: null };
    case 'running':
      return { status, deadlineMonoMs: null };
    case 'stopping':
      return { status, escalateAtMonoMs: 0, killed: false, unkillable: false };
    case 'completed':
    case 'failed':
    case 'cancelled':
      return { status, cause: text(row.cause) as Cause, finishedWallMs: number(row.finished_wall_ms) };
    default:
      return unreachable(status);
  }
}

function attemptFrom(row: Row): Attempt {
  const code = numberOrNull(row.exit_code);
  const signal = textOrNull(row.exit_signal);
  const pid = numberOrNull(row.pid);
  return {
    number: number(row.number),
    tier: text(row.tier),
    leader: pid === null ? null : { pid, startTicks: number(row.start_ticks), bootId: text(row.boot_id) },
    startedWallMs: numberOrNull(row.started_wall_ms),
    finishedWallMs: numberOrNull(row.finished_wall_ms),
    cause: textOrNull(row.cause) as Cause | null,
    exit: code === null && signal === null ? null : { code, signal },
    strays: number(row.strays),
    usage: { cpuMs: numberOrNull(row.cpu_ms), peakRssBytes: numberOrNull(row.peak_rss_bytes) },
    message: textOrNull(row.message),
  };
}

function text(value: SQLOutputValue | undefined): string {
  if (typeof value !== 'string') throw new TypeError(`the store holds ${typeof value} where text belongs`);
  return value;
}

function textOrNull(value: SQLOutputValue | undefined): string | null {
  return value === null ? null : text(value);
}

function number(value: SQLOutputValue | undefined): number {
  if (typeof value !== 'number') throw new TypeError(`the store holds ${typeof value} where a number belongs`);
  return value;
}

function numberOrNull(value: SQLOutputValue | undefined): number | null {
  return value === null ? null : number(value);
}
