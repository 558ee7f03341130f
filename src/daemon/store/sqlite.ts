import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import {
  CorralError,
  type EventView,
  type JobStatus,
  jobStatuses,
  liveStatuses,
  unreachable,
} from '../../protocol/index.ts';
import {
  attemptsBegun,
  type Change,
  causeOfTransition,
  hasEnded,
  isLasting,
  type Job,
  type JobDefinition,
  type JobSketch,
  type SettledPolicies,
  type StoredScope,
} from '../core/index.ts';
import { damaged, openDatabase, withStore } from './file.ts';
import {
  attemptFrom,
  attemptValues,
  definitionText,
  eventFrom,
  groupFrom,
  groupValues,
  jobFrom,
  number,
  type Row,
  scopeFrom,
  scopeValues,
  sketchFrom,
  text,
  warningsText,
} from './rows.ts';
import { SharedValues } from './shared.ts';
import { type PageStatements, prepareStatements, type Statements } from './statements.ts';
import type { EventQuery, JobQuery, SketchQuery, Snapshot, Store } from './store.ts';

/** The store in one SQLite file, in WAL mode with synchronous=FULL: each commit is on the disk when it returns. */
export class SqliteStore implements Store {
  readonly #path: string;
  readonly #db: DatabaseSync;
  /** The file that is open; `null` where the store is in memory. */
  readonly #inode: number | null;
  readonly #sql: Statements;
  readonly #environments: SharedValues<JobDefinition['env']>;
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

  oldestWithOutput(): number | null {
    const row = this.#reading(() => this.#sql.oldestWithOutput.get());
    return row === undefined ? null : number(row.id);
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
      case 'calls':
        return;
      case 'job':
        return this.#writeJob(change.before, change.after, wallMs);
      case 'jobRemoved':
        this.#sql.deleteJob.run(change.jobId);
        return;
      case 'note': {
        const { id, phase } = change.job;
        const { status } = phase;
        const detail = change.detail === null ? null : JSON.stringify(change.detail);
        this.#sql.insertEvent.run(wallMs, id, attemptsBegun(change.job), status, status, null, change.note, detail);
        return;
      }
      case 'group':
        this.#sql.putGroup.run(...groupValues(change.after));
        return;
      case 'groupRemoved': {
        const { name } = change.was.group;
        this.#sql.markGroupRemoved.run(name);
        this.#sql.deleteGroupWithoutJobs.run(name);
        return;
      }
      case 'scope':
        this.#sql.putScope.run(...scopeValues(change.after));
        return;
      default:
        return unreachable(change);
    }
  }

  #writeJob(before: Job | null, after: Job, wallMs: number): void {
    const { phase, definition } = after;
    const attempt = after.attempts.at(-1);
    const cause = hasEnded(phase) ? phase.cause : null;
    const { env, group, name, priority, idempotencyKey, scope } = definition;
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
        definitionText(definition),
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
          definitionText(definition),
          after.id,
        );
      }
    }
    if (before !== null && losesAttempts(before, after)) {
      const oldest = after.attempts[0]?.number ?? 1;
      this.#sql.keepAttempts.run(after.id, oldest, attemptsBegun(after));
      this.#sql.forgetEvents.run(after.id, after.id, oldest);
    }
    if (attempt !== undefined && attempt !== before?.attempts.at(-1))
      this.#sql.putAttempt.run(...attemptValues(after.id, attempt));
    if (before?.phase.status !== phase.status) {
      this.#sql.insertEvent.run(
        wallMs,
        after.id,
        attemptsBegun(after),
        before?.phase.status ?? null,
        phase.status,
        causeOfTransition(before, after),
        'transition',
        null,
      );
    }
  }

  /** @throws CorralError `STORE_DAMAGED` where the row says what no daemon wrote */
  #jobFrom(row: Row): Job {
    try {
      return this.#reading(() =>
        jobFrom(row, {
          env: this.#environments.get(number(row.environment_id)),
          settled: row.policies_id === null ? null : this.#policies.get(number(row.policies_id)),
          attempts: this.#sql.findAttempts.all(number(row.id)).map(attemptFrom),
        }),
      );
    } catch (error) {
      if (error instanceof CorralError || !(error instanceof Error)) throw error;
      throw damaged(this.#path, `the record of job ${row.id} cannot be read: ${error.message}`);
    }
  }
}

/** Whether one that there was is there no more: the oldest, which is not kept, or the newest, which never was. */
function losesAttempts(before: Job, after: Job): boolean {
  const [oldest] = before.attempts;
  if (oldest === undefined) return false;
  return oldest.number !== after.attempts[0]?.number || attemptsBegun(before) > attemptsBegun(after);
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
