import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import {
  type Cause,
  CorralError,
  type EventKind,
  type EventView,
  type GroupMode,
  type JobStatus,
  jobStatuses,
  liveStatuses,
  unreachable,
} from '../../protocol/index.ts';
import {
  type Attempt,
  type Change,
  causeOfTransition,
  type EarlyDefinition,
  type Group,
  hasEnded,
  isLasting,
  type Job,
  type JobDefinition,
  type JobPhase,
  type JobSketch,
  justQueued,
  justRunning,
  noClient,
  type Progress,
  type QueueRecord,
  queueRecordSince,
  type ScopeEnd,
  type ScopePhase,
  type ScopeTally,
  type SettledPolicies,
  type StoredScope,
  upgradeDefinition,
} from '../core/index.ts';
import { damaged, openDatabase, withStore } from './file.ts';
import { SharedValues } from './shared.ts';
import { type PageStatements, prepareStatements, type Statements } from './statements.ts';
import type { EventQuery, JobQuery, SketchQuery, Snapshot, Store } from './store.ts';

type Row = Record<string, SQLOutputValue>;

/** The part of a definition that is kept as JSON; the rest has columns of its own. */
type StoredDefinition = Omit<
  JobDefinition,
  'env' | 'group' | 'name' | 'priority' | 'scope' | 'idempotencyKey' | keyof SettledPolicies
>;

type Environment = Readonly<Record<string, string>>;

/** The store in one SQLite file, in WAL mode with synchronous=FULL: each commit is on the disk when it returns. */
export class SqliteStore implements Store {
  readonly #path: string;
  readonly #db: DatabaseSync;
  /** The file that is open; `null` where the store is in memory. */
  readonly #inode: number | null;
  readonly #sql: Statements;
  readonly #environments: SharedValues<Environment>;
  readonly #policies: SharedValues<SettledPolicies>;

  /** Opens the file, makes it if there is none, and brings its schema up to date. */
  constructor(path: string) {
    this.#path = path;
    this.#db = openDatabase(path);
    this.#inode = path === ':memory:' ? null : fs.statSync(path).ino;
    this.#sql = this.#reading(() => prepareStatements(this.#db));
    this.#environments = new SharedValues(
      this.#sql.environments,
      (env) => JSON.stringify(Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1))),
      (text) => Object.fromEntries(JSON.parse(text) as [string, string][]),
    );
    this.#policies = new SharedValues<SettledPolicies>(this.#sql.policies, JSON.stringify, JSON.parse);
    this.#reading(() => this.#sql.drawInstance.run(String(randomBytes(4).readUInt32LE())));
  }

  load(): Snapshot {
    const groups = this.#reading(() => this.#sql.listGroups.all());
    const ids = this.listJobIds({
      statuses: liveStatuses,
      group: null,
      order: 'oldest',
      cursor: null,
      limit: Number.MAX_SAFE_INTEGER,
    });
    const lastId = this.#reading(() => this.#sql.lastJob.get());
    const instance = this.#reading(() => this.#sql.instance.get());
    return {
      groups: groups.map(groupFrom),
      jobs: ids.flatMap((id) => this.findJob(id) ?? []),
      scopes: this.#reading(() => this.#sql.listScopes.all()).map(scopeFrom),
      nextJobId: lastId === undefined ? 1 : number(lastId.seq) + 1,
      instance: Number(text(instance?.value)),
    };
  }

  commit(changes: readonly Change[], wallMs: number): void {
    const persistent = changes.filter(isLasting);
    if (persistent.length === 0) return;
    this.#write(() => {
      for (const change of persistent) this.#writeChange(change, wallMs);
    });
  }

  probe(): void {
    this.#write(() => this.#sql.touch.run());
  }

  findJob(jobId: number): Job | null {
    const row = this.#reading(() => this.#sql.findJob.get(jobId));
    return row === undefined ? null : this.#jobFrom(row);
  }

  findJobByKey(idempotencyKey: string): Job | null {
    const row = this.#reading(() => this.#sql.findJobByKey.get(idempotencyKey));
    return row === undefined ? null : this.#jobFrom(row);
  }

  listJobIds(query: JobQuery): number[] {
    return this.#pageOf(this.#sql.pages[query.order], { ...query, scope: null }).map((row) => number(row.id));
  }

  listSketches(query: SketchQuery): JobSketch[] {
    return this.#pageOf(this.#sql.sketches[query.order], query).map(sketchFrom);
  }

  sketchesOf(jobIds: readonly number[]): JobSketch[] {
    const find = (jobId: number): Row[] => {
      const row = this.#sql.sketches.one.get(jobId);
      return row === undefined ? [] : [row];
    };
    return this.#reading(() => jobIds.flatMap(find)).map(sketchFrom);
  }

  findScope(id: string): StoredScope | null {
    const row = this.#reading(() => this.#sql.findScope.get(id));
    return row === undefined ? null : scopeFrom(row);
  }

  /**
   * The first rows of each status that is wanted, from an index that has them in order, and of those the first. So the cost grows
   * with the page, not with the store.
   */
  #pageOf(page: PageStatements, { statuses, group, scope, order, cursor, limit }: SketchQuery): Row[] {
    const isNewest = order === 'newest';
    const from = cursor ?? (isNewest ? Number.MAX_SAFE_INTEGER + 1 : 0);
    const rowsOf = (status: JobStatus) =>
      group === null ? page.ofStatus.all(status, from, limit) : page.ofGroup.all(group, status, from, limit);
    const rows = this.#reading(() => {
      if (scope !== null) return page.ofScope.all(scope, from, limit);
      if (statuses === null && group === null) return page.ofAll.all(from, limit);
      return [...new Set(statuses ?? jobStatuses)].flatMap(rowsOf);
    });
    return rows.sort((a, b) => (isNewest ? number(b.id) - number(a.id) : number(a.id) - number(b.id))).slice(0, limit);
  }

  listEvents({ after, jobId, limit }: EventQuery): EventView[] {
    return this.#reading(() => {
      const rows =
        jobId === null ? this.#sql.listEvents.all(after, limit) : this.#sql.listEventsOfJob.all(after, jobId, limit);
      return rows.map(eventFrom);
    });
  }

  lastEvent(): number {
    const row = this.#reading(() => this.#sql.lastEvent.get());
    return row === undefined ? 0 : number(row.seq);
  }

  countJobs(): Record<JobStatus, number> {
    const rows = this.#reading(() => this.#sql.countJobs.all());
    const none = jobStatuses.map((status) => [status, 0]);
    return Object.fromEntries([...none, ...rows.map((row) => [text(row.status), number(row.jobs)])]);
  }

  listExpired(steadyWallMs: number, limit: number): number[] {
    return this.#reading(() => this.#sql.listExpired.all(steadyWallMs, limit)).map((row) => number(row.id));
  }

  retainedOutputBytes(): number {
    return number(this.#reading(() => this.#sql.outputTotal.get())?.value);
  }

  /** What is written to a file that has been removed or replaced is gone when the daemon is. SQLite does not look. */
  misplacement(): string | null {
    if (this.#inode === null || fs.statSync(this.#path, { throwIfNoEntry: false })?.ino === this.#inode) return null;
    return 'it was removed or replaced while the daemon runs; put it back, or stop the daemon';
  }

  close(): void {
    this.#db.close();
  }

  #reading<T>(work: () => T): T {
    return withStore(this.#path, work);
  }

  /** One transaction: all of it is on the disk when this returns, or nothing. */
  #write(work: () => void): void {
    try {
      const misplacement = this.misplacement();
      if (misplacement !== null) throw new Error(misplacement);
      this.#db.exec('BEGIN IMMEDIATE');
      work();
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

  #writeChange(change: Change, wallMs: number): void {
    switch (change.kind) {
      case 'admission':
      case 'retryPace':
      case 'bucket':
        return;
      case 'job':
        return this.#writeJob(change.before, change.after, wallMs);
      case 'jobRemoved':
        this.#sql.deleteJob.run(change.jobId);
        return;
      case 'note': {
        const { id, phase, attempts } = change.job;
        const { status } = phase;
        const detail = change.detail === null ? null : JSON.stringify(change.detail);
        this.#sql.insertEvent.run(wallMs, id, attempts.length, status, status, null, change.note, detail);
        return;
      }
      case 'group': {
        const { name, parallel, maxQueued, ratePerSecond, burst, mode, paused } = change.after;
        this.#sql.putGroup.run(name, parallel, maxQueued, ratePerSecond, burst, mode, Number(paused));
        return;
      }
      case 'groupRemoved': {
        const { name } = change.was.group;
        this.#sql.markGroupRemoved.run(name);
        this.#sql.deleteGroupWithoutJobs.run(name);
        return;
      }
      case 'scope': {
        const { id, name, openedWallMs, phase } = change.after;
        const [closedWallMs, end] = phase.status === 'open' ? [null, null] : [phase.closedWallMs, phase.end];
        const processesLeft = phase.status === 'closed' ? phase.processesLeft : null;
        this.#sql.putScope.run(id, name, openedWallMs, closedWallMs, end, processesLeft);
        return;
      }
      default:
        return unreachable(change);
    }
  }

  #writeJob(before: Job | null, after: Job, wallMs: number): void {
    const { phase, definition } = after;
    const attempt = after.attempts.at(-1);
    const cause = hasEnded(phase) ? phase.cause : null;
    const { env, group, name, priority, idempotencyKey, scope, profile, policies, sources, ...rest } = definition;
    const stored: StoredDefinition = rest;
    const settled = () => this.#policies.idOf(policiesOf(definition));
    if (before === null) {
      if (!Number.isSafeInteger(after.id)) throw new RangeError('no job id is left');
      this.#sql.insertJob.run(
        after.id,
        phase.status,
        cause,
        group,
        name,
        priority,
        after.submittedWallMs,
        idempotencyKey,
        this.#environments.idOf(env),
        settled(),
        scope,
        JSON.stringify(stored),
        JSON.stringify(after.queue),
        warningsText(after),
      );
    } else {
      if (before.phase.status !== phase.status)
        this.#sql.updateJob.run(
          phase.status,
          cause,
          hasEnded(phase) ? phase.finishedWallMs : null,
          hasEnded(phase) ? (phase.message ?? null) : null,
          after.id,
        );
      const isSame =
        before.queue === after.queue &&
        before.warnings === after.warnings &&
        before.expiresWallMs === after.expiresWallMs;
      if (!isSame)
        this.#sql.updateQueue.run(JSON.stringify(after.queue), warningsText(after), after.expiresWallMs, after.id);
      if (before.definition !== definition) {
        this.#sql.updateDefinition.run(
          group,
          name,
          priority,
          this.#environments.idOf(env),
          settled(),
          scope,
          JSON.stringify(stored),
          after.id,
        );
      }
    }
    if (before !== null && before.attempts.length > after.attempts.length)
      this.#sql.deleteAttempts.run(after.id, after.attempts.length);
    if (attempt !== undefined && attempt !== before?.attempts.at(-1)) this.#writeAttempt(after.id, attempt);
    if (before?.phase.status !== phase.status) {
      this.#sql.insertEvent.run(
        wallMs,
        after.id,
        attempt?.number ?? 0,
        before?.phase.status ?? null,
        phase.status,
        causeOfTransition(before, after),
        'transition',
        null,
      );
    }
  }

  #writeAttempt(jobId: number, attempt: Attempt): void {
    const { leader, exit, usage } = attempt;
    this.#sql.putAttempt.run(
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
      usage.outputBytes,
      attempt.dropped.stdout,
      attempt.dropped.stderr,
      attempt.progress === null ? null : JSON.stringify(attempt.progress),
      attempt.result,
      attempt.message,
    );
  }

  /** @throws CorralError `STORE_DAMAGED` where the row says what no daemon wrote */
  #jobFrom(row: Row): Job {
    try {
      return this.#reading(() => this.#readJob(row));
    } catch (error) {
      if (error instanceof CorralError || !(error instanceof Error)) throw error;
      throw damaged(this.#path, `the record of job ${row.id} cannot be read: ${error.message}`);
    }
  }

  #readJob(row: Row): Job {
    const id = number(row.id);
    const stored = JSON.parse(text(row.definition)) as StoredDefinition;
    return {
      id,
      definition: {
        ...(row.policies_id === null
          ? upgradeDefinition(stored as unknown as EarlyDefinition)
          : { ...stored, ...this.#policies.get(number(row.policies_id)) }),
        env: this.#environments.get(number(row.environment_id)),
        group: text(row.group_name),
        name: textOrNull(row.name),
        priority: number(row.priority),
        idempotencyKey: textOrNull(row.idempotency_key),
        scope: textOrNull(row.scope),
      },
      submittedWallMs: number(row.submitted_wall_ms),
      queue: row.queue === null ? earlyQueue(row) : (JSON.parse(text(row.queue)) as QueueRecord),
      expiresWallMs: numberOrNull(row.expires_wall_ms),
      client: noClient,
      warnings: row.warnings === null ? [] : (JSON.parse(text(row.warnings)) as string[]),
      attempts: this.#sql.findAttempts.all(id).map(attemptFrom),
      phase: phaseFrom(text(row.status) as JobStatus, row),
    };
  }
}

/** One object for each set of policies: the store knows by the object what it has digested before. */
const settledSets = new WeakMap<JobDefinition['policies'], SettledPolicies>();

function policiesOf({ profile, policies, sources }: JobDefinition): SettledPolicies {
  const known = settledSets.get(policies);
  if (known !== undefined) return known;
  const settled = { profile, policies, sources };
  settledSets.set(policies, settled);
  return settled;
}

/** A job of a version that kept no such record. */
function earlyQueue(row: Row): QueueRecord {
  return queueRecordSince(number(row.submitted_wall_ms));
}

function warningsText({ warnings }: Job): string | null {
  return warnings.length === 0 ? null : JSON.stringify(warnings);
}

function sketchFrom(row: Row): JobSketch {
  return {
    id: number(row.id),
    status: text(row.status) as JobStatus,
    group: text(row.group_name),
    name: textOrNull(row.name),
    scope: textOrNull(row.scope),
    submittedWallMs: number(row.submitted_wall_ms),
    finishedWallMs: numberOrNull(row.finished_wall_ms),
  };
}

function groupFrom(row: Row): Group {
  return {
    name: text(row.name),
    parallel: number(row.parallel),
    maxQueued: number(row.max_queued),
    ratePerSecond: numberOrNull(row.rate_per_second),
    burst: number(row.burst),
    mode: text(row.mode) as GroupMode,
    paused: number(row.paused) === 1,
  };
}

function scopeFrom(row: Row): StoredScope {
  const tally = { ended: number(row.ended), cleaned: number(row.cleaned) };
  const phase = scopePhaseFrom(row, tally);
  return {
    scope: { id: text(row.id), name: textOrNull(row.name), openedWallMs: number(row.opened_wall_ms), phase },
    ...tally,
  };
}

/** Which jobs were live at the close is not kept: those of an earlier daemon have all ended. */
function scopePhaseFrom(row: Row, tally: ScopeTally): ScopePhase {
  const closedWallMs = numberOrNull(row.closed_wall_ms);
  const processesLeft = numberOrNull(row.processes_left);
  if (closedWallMs === null) return { status: 'open', clients: 0, returnByMonoMs: null };
  const closed = { end: text(row.end) as ScopeEnd, closedWallMs };
  if (processesLeft === null) return { status: 'closing', ...closed, jobIds: [], stage: 'ending' };
  return { status: 'closed', ...closed, processesLeft, tally };
}

function eventFrom(row: Row): EventView {
  return {
    seq: number(row.seq),
    kind: text(row.kind) as EventKind,
    detail: row.detail === null ? null : JSON.parse(text(row.detail)),
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
      return justQueued;
    case 'starting':
      return { status, sinceMonoMs: 0, stopRequested: null };
    case 'running':
      return justRunning;
    case 'stopping':
      return { status, escalateAtMonoMs: 0, killed: false, unkillable: false };
    case 'completed':
    case 'failed':
    case 'cancelled':
      return {
        status,
        cause: text(row.cause) as Cause,
        finishedWallMs: number(row.finished_wall_ms),
        ...(row.message === null ? {} : { message: text(row.message) }),
      };
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
    usage: {
      cpuMs: numberOrNull(row.cpu_ms),
      peakRssBytes: numberOrNull(row.peak_rss_bytes),
      outputBytes: numberOrNull(row.output_bytes),
    },
    dropped: { stdout: number(row.dropped_stdout), stderr: number(row.dropped_stderr) },
    progress: row.progress === null ? null : (JSON.parse(text(row.progress)) as Progress),
    result: textOrNull(row.result),
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
