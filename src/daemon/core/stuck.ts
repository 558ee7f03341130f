/** Running jobs that may be stuck: they have been running for long, or do not get on. */
import { formatDuration, maxJobIds, maxResetGraceMs, type ResetReport, type StuckJob } from '../../protocol/index.ts';
import { type Decision, merge } from './decision.ts';
import type { Event, StuckCriteria } from './events.ts';
import type { Instant } from './instant.ts';
import { currentAttempt, type Job } from './job.ts';
import type { State } from './state.ts';
import { stop } from './stopping.ts';

/** The jobs to which the criteria apply, the longest-running first. */
export function stuckJobs(state: State, criteria: StuckCriteria, now: Instant): StuckJob[] {
  const { olderThanMs, noProgressForMs, group } = criteria;
  return [...state.live.values()]
    .flatMap((job) => (group === null || job.definition.group === group ? (standing(job, now) ?? []) : []))
    .filter(({ runningMs, noProgressMs }) => runningMs >= (olderThanMs ?? 0) && noProgressMs >= (noProgressForMs ?? 0))
    .sort((one, other) => other.runningMs - one.runningMs || one.jobId - other.jobId)
    .slice(0, maxJobIds);
}

/** `null` where it does not run, or stands still because a client paused it. */
function standing({ id, phase, queue }: Job, now: Instant): StuckJob | null {
  if (phase.status !== 'running' || queue.held) return null;
  const since = phase.reportTimes?.progressMonoMs ?? phase.startedMonoMs;
  return {
    jobId: id,
    runningMs: Math.round(now.monoMs - phase.startedMonoMs),
    noProgressMs: Math.round(now.monoMs - since),
  };
}

/** Jobs that have reported progress and then stopped to: one that never reports may well be in order. `null`: not looked for. */
export function stalledJobs(state: State, stuckAfterMs: number | null, now: Instant): number[] {
  if (stuckAfterMs === null) return [];
  const criteria = { olderThanMs: null, noProgressForMs: stuckAfterMs, group: null };
  const hasReported = (job: Job | undefined) => job !== undefined && currentAttempt(job).progress !== null;
  return stuckJobs(state, criteria, now)
    .map(({ jobId }) => jobId)
    .filter((jobId) => hasReported(state.live.get(jobId)))
    .sort((one, other) => one - other);
}

/** What `resetStuck` replies: whose end is to be waited for, and how long their graces are at most. */
export interface ResetBegun {
  readonly jobIds: readonly number[];
  readonly longestGraceMs: number;
}

export function resetStuck(state: State, event: Extract<Event, { type: 'resetStuck' }>, now: Instant): Decision {
  const { request, criteria } = event;
  const jobs = stuckJobs(state, criteria, now).flatMap(({ jobId }) => state.live.get(jobId) ?? []);
  const graceOf = ({ definition }: Job) => {
    const { killGraceMs } = definition.policies;
    return killGraceMs === null ? null : Math.min(killGraceMs, maxResetGraceMs);
  };
  const result: ResetBegun = {
    jobIds: jobs.map(({ id }) => id).sort((one, other) => one - other),
    longestGraceMs: Math.max(0, ...jobs.map((job) => graceOf(job) ?? 0)),
  };
  const message = `It was reset as stuck: ${inWords(criteria)}.`;
  const stops = jobs.map((job) => stop(job, { cause: 'reset', graceMs: graceOf(job), message }, now));
  return merge([...stops, { changes: [], effects: [{ type: 'reply', request, result }] }]);
}

/** The answer to a reset, once its jobs have ended or the time is over. */
export function resetReport(criteria: StuckCriteria, { jobIds }: ResetBegun, ended: readonly number[]): ResetReport {
  const left = jobIds.filter((jobId) => !ended.includes(jobId));
  return {
    success: left.length === 0,
    reset_count: ended.length,
    job_ids: [...ended],
    message:
      jobIds.length === 0
        ? `No job is stuck (${inWords(criteria)}).`
        : [
            ...(ended.length === 0 ? [] : [`Ended, with all processes: ${named(ended)}.`]),
            ...(left.length === 0
              ? []
              : [`Not ended in time: ${named(left)}; some process of it is still there. See: corral show ${left[0]}`]),
          ].join(' '),
  };
}

function named(jobIds: readonly number[]): string {
  return `${jobIds.length === 1 ? 'job' : 'jobs'} ${jobIds.join(', ')}`;
}

function inWords({ olderThanMs, noProgressForMs, group }: StuckCriteria): string {
  const parts = [
    olderThanMs === null ? [] : `running for ${formatDuration(olderThanMs)}`,
    noProgressForMs === null ? [] : `without progress for ${formatDuration(noProgressForMs)}`,
  ].flat();
  return `${parts.join(' and ')}${group === null ? '' : `, in group ${group}`}`;
}
