/** Which jobs somebody means who names none by its number. */
import { isFinal, type JobFilter, type JobStatus } from '../../protocol/index.ts';

/** As much of a job as tells whether it is meant. */
export interface JobSketch {
  readonly id: number;
  readonly status: JobStatus;
  readonly group: string;
  readonly name: string | null;
  readonly scope: string | null;
  readonly submittedWallMs: number;
  /** `null` while it has not ended. */
  readonly finishedWallMs: number | null;
}

/** Whether all that the filter says holds for the job. The age of an ended job counts from its end. */
export function matches(filter: JobFilter, job: JobSketch, nowWallMs: number): boolean {
  const { statuses, group, name, scope, olderThanMs } = filter;
  const sinceWallMs = isFinal(job.status) ? (job.finishedWallMs ?? job.submittedWallMs) : job.submittedWallMs;
  return (
    (statuses === undefined || statuses.includes(job.status)) &&
    (group === undefined || job.group === group) &&
    (name === undefined || (job.name !== null && matchesName(name, job.name))) &&
    (scope === undefined || job.scope === scope) &&
    (olderThanMs === undefined || nowWallMs - sinceWallMs > olderThanMs)
  );
}

/** `*` stands for any text, also none; everything else for itself. Nothing is tried twice, so no pattern makes it slow. */
export function matchesName(pattern: string, name: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return name === pattern;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const piece of rest) {
    const found = name.indexOf(piece, at);
    if (found === -1) return false;
    at = found + piece.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}
