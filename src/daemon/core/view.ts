import type { AttemptView, GroupView, JobView } from '../../protocol/index.ts';
import { type Attempt, type GroupState, hasEnded, isUnkillable, type Job } from './model.ts';

/** What the file system knows about a job's output. */
export interface OutputFacts {
  readonly files: readonly string[];
  readonly bytes: number;
}

/** The job as clients see it. The environment is left out: its values are nobody's business. */
export function viewOf(job: Job, output: OutputFacts): JobView {
  const { definition, phase } = job;
  const attempt = job.attempts.at(-1);
  const isActive = phase.status === 'running' || phase.status === 'stopping';
  return {
    id: job.id,
    name: definition.name,
    group: definition.group,
    profile: 'default',
    command: [...definition.command],
    cwd: definition.cwd,
    priority: definition.priority,
    status: phase.status,
    cause: hasEnded(phase) ? phase.cause : isActive ? (attempt?.cause ?? null) : null,
    exitCode: attempt?.exit?.code ?? null,
    signal: attempt?.exit?.signal ?? null,
    message: attempt?.message ?? null,
    attempt: attempt?.number ?? 0,
    attempts: job.attempts.map(attemptView),
    strays: attempt?.strays ?? 0,
    unkillable: isUnkillable(job),
    pid: isActive ? (attempt?.leader?.pid ?? null) : null,
    submittedAt: iso(job.submittedWallMs),
    startedAt: isoOrNull(attempt?.startedWallMs),
    finishedAt: hasEnded(phase) ? iso(phase.finishedWallMs) : null,
    cpuMs: wholeMs(attempt?.usage.cpuMs),
    peakRssBytes: attempt?.usage.peakRssBytes ?? null,
    outputBytes: output.bytes,
    outputFiles: [...output.files],
    splitOutput: definition.splitOutput,
    limits: {
      maxRuntimeMs: definition.maxRuntimeMs,
      killGraceMs: definition.killGraceMs,
      successCodes: [...definition.successCodes],
    },
    onSupervisorLost: definition.onSupervisorLost,
    idempotencyKey: definition.idempotencyKey,
    containment: attempt?.tier ?? null,
  };
}

function attemptView(attempt: Attempt): AttemptView {
  return {
    attempt: attempt.number,
    pid: attempt.leader?.pid ?? null,
    startedAt: isoOrNull(attempt.startedWallMs),
    finishedAt: isoOrNull(attempt.finishedWallMs),
    cause: attempt.cause,
    exitCode: attempt.exit?.code ?? null,
    signal: attempt.exit?.signal ?? null,
    strays: attempt.strays,
    cpuMs: wholeMs(attempt.usage.cpuMs),
    peakRssBytes: attempt.usage.peakRssBytes,
    message: attempt.message,
  };
}

export function groupView({ group, queued, active }: GroupState): GroupView {
  return { name: group.name, parallel: group.parallel, maxQueued: group.maxQueued, queued, active };
}

/** Stores of earlier daemons hold fractions. */
function wholeMs(ms: number | null | undefined): number | null {
  return ms === null || ms === undefined ? null : Math.round(ms);
}

function iso(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

function isoOrNull(wallMs: number | null | undefined): string | null {
  return wallMs === null || wallMs === undefined ? null : iso(wallMs);
}
