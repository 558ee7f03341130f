import {
  type AttemptView,
  type GroupView,
  type JobView,
  keptAttempts,
  type PoliciesView,
  type SettledJob,
  settledJobSchema,
} from '../../protocol/index.ts';
import type { Attempt } from './attempt.ts';
import type { Job, JobDefinition, SettledResources } from './job.ts';
import { isPaused } from './pausing.ts';
import { hasEnded } from './phase.ts';
import type { GroupState } from './state.ts';
import { isUnkillable } from './stopping.ts';

/** What the file system knows about a job's output. */
export interface OutputFacts {
  readonly files: readonly string[];
  readonly bytes: number;
}

/**
 * The job as clients see it. The environment is left out: its values are nobody's business.
 *
 * @param waitingFor why it has not started, for what the queue knows of it
 */
export function viewOf(job: Job, output: OutputFacts, waitingFor: string | null): JobView {
  const { definition, phase, queue } = job;
  const { policies } = definition;
  const attempt = job.attempts.at(-1);
  const shown = job.attempts.slice(-keptAttempts);
  const isActive = phase.status === 'running' || phase.status === 'stopping';
  return {
    id: job.id,
    name: definition.name,
    group: definition.group,
    profile: definition.profile,
    scope: definition.scope,
    command: [...definition.command],
    cwd: definition.cwd,
    priority: definition.priority,
    status: phase.status,
    cause: hasEnded(phase) ? phase.cause : isActive ? (attempt?.cause ?? null) : null,
    exitCode: attempt?.exit?.code ?? null,
    signal: attempt?.exit?.signal ?? null,
    message: (hasEnded(phase) ? phase.message : null) ?? attempt?.message ?? null,
    attempt: attempt?.number ?? 0,
    attempts: shown.map((one, index) => attemptView(one, shown.length - index)),
    strays: attempt?.strays ?? 0,
    paused: isPaused(job),
    waitingFor,
    notBefore: phase.status === 'queued' ? isoOrNull(queue.notBefore?.wallMs) : null,
    after: [...definition.after],
    afterMode: definition.afterMode,
    retries: queue.retries,
    ...reports(attempt),
    warnings: [...job.warnings],
    unkillable: isUnkillable(job),
    pid: isActive ? (attempt?.leader?.pid ?? null) : null,
    submittedAt: iso(job.submittedWallMs),
    startedAt: isoOrNull(attempt?.startedWallMs),
    finishedAt: hasEnded(phase) ? iso(phase.finishedWallMs) : null,
    expiresAt: isoOrNull(job.expiresWallMs),
    cpuMs: wholeMs(attempt?.usage.cpuMs),
    peakRssBytes: attempt?.usage.peakRssBytes ?? null,
    outputBytes: output.bytes,
    outputFiles: [...output.files],
    splitOutput: definition.splitOutput,
    limits: {
      maxRuntimeMs: policies.maxRuntimeMs,
      killGraceMs: policies.killGraceMs,
      successCodes: [...definition.successCodes],
    },
    policies: policiesView(definition),
    resources: resourcesView(definition.resources),
    onSupervisorLost: policies.onSupervisorLost,
    idempotencyKey: definition.idempotencyKey,
    containment: attempt?.tier ?? null,
  };
}

/** A job that was not submitted, as it would be. */
export function settledView(job: Job): SettledJob {
  return settledJobSchema.parse(viewOf(job, { files: [], bytes: 0 }, null));
}

function resourcesView(resources: SettledResources | null): JobView['resources'] {
  if (resources === null) return null;
  const { shortfalls: _, from, ...shown } = resources;
  return { ...shown, from: from ?? Object.fromEntries(Object.keys(shown.enforcedBy).map((name) => [name, 'job'])) };
}

/** Of fewer attempts than are kept the results are shown, so that the job fits a frame. */
const shownResults = 4;

/** @param age 1 is the newest attempt */
function attemptView(attempt: Attempt, age: number): AttemptView {
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
    ...reports(age <= shownResults ? attempt : { ...attempt, result: null }),
    message: attempt.message,
  };
}

function reports(attempt: Attempt | undefined): Pick<AttemptView, 'outputDroppedBytes' | 'progress' | 'result'> {
  const { progress = null, result = null, dropped } = attempt ?? {};
  return {
    outputDroppedBytes: dropped === undefined ? 0 : dropped.stdout + dropped.stderr,
    progress:
      progress === null ? null : { percent: progress.percent, message: progress.message, at: iso(progress.wallMs) },
    result: result === null ? null : JSON.parse(result),
  };
}

/** The policies in force, each value with where it comes from. */
export function policiesView({ policies, sources }: Pick<JobDefinition, 'policies' | 'sources'>): PoliciesView {
  const inForce = (name: string): unknown =>
    name
      .split('.')
      .reduce<unknown>((value, part) => (value as Record<string, unknown> | null)?.[part] ?? null, policies);
  return Object.fromEntries(
    Object.entries(sources).map(([name, from]) => [
      name,
      { value: inForce(name) as PoliciesView[string]['value'], from },
    ]),
  );
}

export function groupView({ group, queued, active, starts, ends }: GroupState): GroupView {
  const { ratePerSecond: rate, ...settings } = group;
  return { ...settings, rate, queued, active, starts, ends };
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
