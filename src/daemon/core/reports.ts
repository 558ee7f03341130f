/**
 * What jobs report of themselves: how far they are, and what came of it.
 *
 * A job may report as often as it likes. The newest report is in memory at once; a commit and a line of the job's events are spent
 * on it only where it says something else in whole percent or words, and at most once a second. What comes sooner is written down
 * when the second is over, or with the end of the attempt.
 */
import type { ErrorCode } from '../../protocol/index.ts';
import type { Progress } from './attempt.ts';
import type { Change } from './changes.ts';
import { type Decision, merge, nothing, onLive, refuse } from './decision.ts';
import type { Event, Report } from './events.ts';
import type { Instant } from './instant.ts';
import { currentAttempt, type Job, withAttempt, withPhase } from './job.ts';
import type { JobPhase, ReportTimes } from './phase.ts';
import type { State } from './state.ts';

/** Between two lines in a job's events about its progress, or about its result; between two commits for the former, too. */
const noteEveryMs = 1_000;

/** A job that cannot report does so for ever, and each line is kept as long as the job. */
const warnEveryMs = 60_000;

/** A result of at most so many characters stands in the event itself. */
const shownResultLength = 1_000;

/** A report by a request: refused where nobody would see it. */
export function reported(state: State, event: Extract<Event, { type: 'report' }>, now: Instant): Decision {
  const { request, jobId, attempt } = event;
  const refused = (message: string): Decision => refuse(request, 'JOB_NOT_RUNNING' satisfies ErrorCode, message);
  const job = state.live.get(jobId);
  if (job === undefined || !canReport(job.phase))
    return refused(
      `Job ${jobId} does not run${job ? ` (it is ${job.phase.status})` : ''}; only a running job reports.`,
    );
  const { number } = currentAttempt(job);
  if (attempt !== null && attempt !== number)
    return refused(`Attempt ${attempt} of job ${jobId} is not the one that runs, which is ${number}.`);
  const reply: Decision = { changes: [], effects: [{ type: 'reply', request, result: {} }] };
  return merge([takeReports(job, [event.report], now), reply]);
}

/** Reports that came by the pipe, where nobody waits for an answer. Those of jobs that do not run are dropped. */
export function reportsRead(state: State, event: Extract<Event, { type: 'reportsRead' }>, now: Instant): Decision {
  return merge(
    [...event.reports].map(([jobId, reports]) =>
      onLive(state, jobId, ['starting', 'running', 'stopping'], (job) => takeReports(job, reports, now)),
    ),
  );
}

type ReportingPhase = Extract<JobPhase, { status: 'starting' | 'running' | 'stopping' }>;

function canReport(phase: JobPhase): phase is ReportingPhase {
  return phase.status === 'starting' || phase.status === 'running' || phase.status === 'stopping';
}

function takeReports(before: Job, reports: readonly Report[], now: Instant): Decision {
  let job = before;
  const notes: Note[] = [];
  for (const report of reports) {
    const taken = takeReport(job, report, now);
    job = taken.job;
    if (taken.note !== null) notes.push(taken.note);
  }
  return job === before ? nothing : withNotes(before, job, notes);
}

type Note = Pick<Extract<Change, { kind: 'note' }>, 'note' | 'detail'>;

function takeReport(job: Job, report: Report, now: Instant): { job: Job; note: Note | null } {
  if (!canReport(job.phase)) return { job, note: null };
  const { reportTimes = noReportTimes } = job.phase;
  switch (report.kind) {
    case 'progress': {
      const { percent, message } = report;
      const earlier = currentAttempt(job).progress;
      const isNew = earlier === null || earlier.percent !== percent || earlier.message !== message;
      const reporting = withTimes(withAttempt(job, { progress: { percent, message, wallMs: now.wallMs } }), {
        ...reportTimes,
        ...(isNew ? { progressMonoMs: now.monoMs } : {}),
      });
      return noted(reporting, now);
    }
    case 'result': {
      const { json } = report;
      const isDue = json !== currentAttempt(job).result && isPast(reportTimes.resultNotedMonoMs, noteEveryMs, now);
      const after = withTimes(withAttempt(job, { result: json }), {
        ...reportTimes,
        ...(isDue ? { resultNotedMonoMs: now.monoMs } : {}),
      });
      return { job: after, note: isDue ? { note: 'result', detail: resultDetail(json) } : null };
    }
    case 'unreadable': {
      const lines = reportTimes.unreadableLines + report.lines;
      if (!isPast(reportTimes.warnedMonoMs, warnEveryMs, now))
        return { job: withTimes(job, { ...reportTimes, unreadableLines: lines }), note: null };
      const after = withTimes(job, { ...reportTimes, warnedMonoMs: now.monoMs, unreadableLines: 0 });
      return { job: after, note: { note: 'warning', detail: { message: report.message, lines } } };
    }
    default:
      return report satisfies never;
  }
}

/** What a running job reported too soon after what was written down is written down now. */
export function noteProgress(before: Job, now: Instant): Decision {
  const { job, note } = noted(before, now);
  return note === null ? nothing : withNotes(before, job, [note]);
}

/** Writes down what the job has reported last, unless that reads as before, or was done too short a time ago. */
function noted(job: Job, now: Instant): { job: Job; note: Note | null } {
  const { progress } = currentAttempt(job);
  const times = (canReport(job.phase) ? job.phase.reportTimes : undefined) ?? noReportTimes;
  const isDue = isPast(times.noted?.monoMs ?? null, noteEveryMs, now);
  if (progress === null || !isDue || readsTheSame(times.noted?.progress ?? null, progress)) return { job, note: null };
  const { percent, message } = progress;
  return {
    // A new record of the attempt: what is the same one is not written.
    job: withTimes(withAttempt(job, { progress }), { ...times, noted: { progress, monoMs: now.monoMs } }),
    note: { note: 'progress', detail: { percent, message } },
  };
}

/** When what a running job reported is to be written down, because it came too soon after what was. */
export function progressDueMonoMs({ phase, attempts }: Job): number | null {
  const noted = notedIn(phase);
  if (phase.status !== 'running' || noted === null) return null;
  return readsTheSame(noted.progress, attempts.at(-1)?.progress ?? null) ? null : noted.monoMs + noteEveryMs;
}

/** The progress of a job that is written down, and when that was. */
export function notedIn(phase: JobPhase): ReportTimes['noted'] {
  return 'reportTimes' in phase ? (phase.reportTimes?.noted ?? null) : null;
}

/** Whether a column of `ls` shows both alike. */
function readsTheSame(one: Progress | null, other: Progress | null): boolean {
  if (one === null || other === null) return one === other;
  return one.message === other.message && wholePercent(one) === wholePercent(other);
}

function wholePercent({ percent }: Progress): number | null {
  return percent === null ? null : Math.floor(percent);
}

function withNotes(before: Job, after: Job, notes: readonly Note[]): Decision {
  const lines = notes.map((note): Change => ({ kind: 'note', job: after, ...note }));
  return { changes: [{ kind: 'job', before, after }, ...lines], effects: [] };
}

const noReportTimes: ReportTimes = {
  progressMonoMs: null,
  noted: null,
  resultNotedMonoMs: null,
  warnedMonoMs: null,
  unreadableLines: 0,
};

function withTimes(job: Job, reportTimes: ReportTimes): Job {
  return canReport(job.phase) ? withPhase(job, { ...job.phase, reportTimes }) : job;
}

function isPast(sinceMonoMs: number | null, ms: number, now: Instant): boolean {
  return sinceMonoMs === null || now.monoMs - sinceMonoMs >= ms;
}

/** A page of events must fit a frame: of a long result only its size is told. */
function resultDetail(json: string | null): { value: unknown } | { characters: number } {
  if (json === null) return { value: null };
  return json.length <= shownResultLength ? { value: JSON.parse(json) } : { characters: json.length };
}
