/** Reports as jobs write them into the pipe: `7 progress 40 half done` and `7 result {"rows":7}`, one a line. */
import { reportLimits, resultProblem } from '../../protocol/index.ts';
import type { Report } from '../core/index.ts';

/** The kernel writes this much in one piece; of longer writes, those of two jobs may be mixed. PIPE_BUF in pipe(7) */
export const maxLineBytes = 4096;

export interface ReportLine {
  /** `null`: it names no job. */
  readonly jobId: number | null;
  readonly report: Report;
}

/** What a line says. One that cannot be read says why. */
export function readReportLine(line: string): ReportLine {
  // Trimmed first: in one expression with the rest, a line of spaces would be gone through once for each of them.
  const [, id = '', verb = '', rest = ''] = /^(\d{1,15})\s+(\S+)\s*(.*)$/s.exec(line.trim()) ?? [];
  if (id === '')
    return unreadable(null, `A report is "$CORRAL_JOB_ID progress 40 half done", and not ${quoted(line)}.`);
  const jobId = Number(id);
  switch (verb) {
    case 'progress':
      return readProgress(jobId, rest);
    case 'result':
      return readResult(jobId, rest);
    default:
      return unreadable(jobId, `A report says "progress" or "result" after the job, and not ${quoted(verb)}.`);
  }
}

/** A number that comes first is the percentage; `-` says that there is none. */
function readProgress(jobId: number, text: string): ReportLine {
  const [, percentText, afterNumber] = /^(-|\d+(?:\.\d+)?)\s*%?(?:\s+(.*))?$/s.exec(text) ?? [];
  const percent = percentText === undefined || percentText === '-' ? null : Number(percentText);
  const message = percentText === undefined ? text : (afterNumber ?? '');
  if (percent !== null && percent > 100)
    return unreadable(
      jobId,
      `A percentage is from 0 to 100, and not ${percentText}. For a message that begins with a number: progress - ${percentText} …`,
    );
  if (message.length > reportLimits.messageLength)
    return unreadable(
      jobId,
      `A message has at most ${reportLimits.messageLength} characters, and not ${message.length}.`,
    );
  if (message.includes('\0')) return unreadable(jobId, 'A message has no NUL bytes.');
  if (percent === null && message === '') return unreadable(jobId, 'A progress needs a percentage or a message.');
  return { jobId, report: { kind: 'progress', percent, message: message === '' ? null : message } };
}

function readResult(jobId: number, text: string): ReportLine {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return unreadable(jobId, `A result is JSON, and not ${quoted(text)}.`);
  }
  const problem = resultProblem(value);
  if (problem !== null) return unreadable(jobId, `The result ${problem}.`);
  return { jobId, report: { kind: 'result', json: value === null ? null : JSON.stringify(value) } };
}

/** A line that is longer than one piece; only its beginning is known. */
export function tooLong(start: string): ReportLine {
  const id = /^\s*(\d{1,15})\s/.exec(start)?.[1];
  return unreadable(
    id === undefined ? null : Number(id),
    `A line has at most ${maxLineBytes} bytes: report what is longer with corral progress and corral result.`,
  );
}

function unreadable(jobId: number | null, message: string): ReportLine {
  return { jobId, report: { kind: 'unreadable', lines: 1, message } };
}

/** Enough to find it by. */
function quoted(text: string): string {
  const most = 60;
  return JSON.stringify(text.length > most ? `${text.slice(0, most).toWellFormed()}…` : text);
}
