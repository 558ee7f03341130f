/** Records as the rows that hold them, and rows as records. */
import type { SQLInputValue, SQLOutputValue } from 'node:sqlite';
import {
  type Cause,
  type EventKind,
  type EventView,
  type GroupMode,
  type JobStatus,
  unreachable,
} from '../../protocol/index.ts';
import {
  type Attempt,
  type EarlyDefinition,
  type Group,
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
  type Scope,
  type ScopeEnd,
  type ScopePhase,
  type ScopeTally,
  type SettledPolicies,
  type StoredScope,
  upgradeDefinition,
} from '../core/index.ts';

export type Row = Record<string, SQLOutputValue>;

/** The part of a definition that is kept as JSON; the rest has columns of its own. */
type StoredDefinition = Omit<
  JobDefinition,
  'env' | 'group' | 'name' | 'priority' | 'scope' | 'idempotencyKey' | keyof SettledPolicies
>;

export function definitionText(definition: JobDefinition): string {
  const { env, group, name, priority, idempotencyKey, scope, profile, policies, sources, ...rest } = definition;
  return JSON.stringify(rest satisfies StoredDefinition);
}

/** What a job's row refers to. */
interface JobParts {
  readonly env: JobDefinition['env'];
  /** `null`: a version wrote it that kept policies elsewhere. */
  readonly settled: SettledPolicies | null;
  readonly attempts: readonly Attempt[];
}

export function jobFrom(row: Row, { env, settled, attempts }: JobParts): Job {
  const stored = JSON.parse(text(row.definition)) as StoredDefinition;
  return {
    id: number(row.id),
    definition: {
      ...(settled === null ? upgradeDefinition(stored as unknown as EarlyDefinition) : { ...stored, ...settled }),
      env,
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
    attempts,
    phase: phaseFrom(text(row.status) as JobStatus, row),
  };
}

/** A job of a version that kept no such record. */
function earlyQueue(row: Row): QueueRecord {
  return queueRecordSince(number(row.submitted_wall_ms));
}

export function warningsText({ warnings }: Job): string | null {
  return warnings.length === 0 ? null : JSON.stringify(warnings);
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

export function attemptFrom(row: Row): Attempt {
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

/** In the order of `putAttempt`. */
export function attemptValues(jobId: number, attempt: Attempt): SQLInputValue[] {
  const { leader, exit, usage } = attempt;
  return [
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
  ];
}

export function sketchFrom(row: Row): JobSketch {
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

export function groupFrom(row: Row): Group {
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

/** In the order of `putGroup`. */
export function groupValues(group: Group): SQLInputValue[] {
  const { name, parallel, maxQueued, ratePerSecond, burst, mode, paused } = group;
  return [name, parallel, maxQueued, ratePerSecond, burst, mode, Number(paused)];
}

export function scopeFrom(row: Row): StoredScope {
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

/** In the order of `putScope`. */
export function scopeValues({ id, name, openedWallMs, phase }: Scope): SQLInputValue[] {
  const [closedWallMs, end] = phase.status === 'open' ? [null, null] : [phase.closedWallMs, phase.end];
  const processesLeft = phase.status === 'closed' ? phase.processesLeft : null;
  return [id, name, openedWallMs, closedWallMs, end, processesLeft];
}

export function eventFrom(row: Row): EventView {
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

export function text(value: SQLOutputValue | undefined): string {
  if (typeof value !== 'string') throw new TypeError(`the store holds ${typeof value} where text belongs`);
  return value;
}

function textOrNull(value: SQLOutputValue | undefined): string | null {
  return value === null ? null : text(value);
}

export function number(value: SQLOutputValue | undefined): number {
  if (typeof value !== 'number') throw new TypeError(`the store holds ${typeof value} where a number belongs`);
  return value;
}

function numberOrNull(value: SQLOutputValue | undefined): number | null {
  return value === null ? null : number(value);
}
