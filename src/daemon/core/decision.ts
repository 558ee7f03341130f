/** What a decision is, and the small pieces that decisions are made of. */
import { type BulkReport, CorralError, type ErrorCode, type JobStatus, noSuchGroup } from '../../protocol/index.ts';
import type { Change } from './changes.ts';
import type { Effect } from './effects.ts';
import type { Job } from './job.ts';
import type { State } from './state.ts';

export interface Decision {
  readonly changes: readonly Change[];
  readonly effects: readonly Effect[];
}

export const nothing: Decision = { changes: [], effects: [] };

export function merge(decisions: readonly Decision[]): Decision {
  return { changes: decisions.flatMap((one) => one.changes), effects: decisions.flatMap((one) => one.effects) };
}

export function replace(before: Job, after: Job, ...effects: Effect[]): Decision {
  return { changes: [{ kind: 'job', before, after }], effects };
}

export function refuse(request: number, code: ErrorCode, message: string): Decision {
  return { changes: [], effects: [{ type: 'refuse', request, code, message }] };
}

/** An outcome for a job that is in none of the statuses in which it can happen came too late, and changes nothing. */
export function onLive(
  state: State,
  jobId: number,
  statuses: readonly JobStatus[],
  then: (job: Job) => Decision,
): Decision {
  const job = state.live.get(jobId);
  return job === undefined || !statuses.includes(job.phase.status) ? nothing : then(job);
}

/** Does one thing to each of several jobs. A job that refuses is reported by name; the others proceed. */
export function bulk(request: number, jobIds: readonly number[], each: (jobId: number) => Decision): Decision {
  const unique = [...new Set(jobIds)];
  const errors: BulkReport['errors'] = [];
  const decisions: Decision[] = [];
  for (const jobId of unique) {
    try {
      decisions.push(each(jobId));
    } catch (error) {
      if (!(error instanceof CorralError)) throw error;
      errors.push({ jobId, code: error.code, message: error.message });
    }
  }
  const report: BulkReport = {
    requested: unique.length,
    done: unique.length - errors.length,
    failed: errors.length,
    errors,
  };
  return merge([...decisions, { changes: [], effects: [{ type: 'reply', request, result: report }] }]);
}

export function jobNotFound(jobId: number): CorralError {
  return new CorralError('JOB_NOT_FOUND', `There is no job ${jobId}. List the known ones: corral ls --all`);
}

export function groupNotFound(state: State, name: string): string {
  return noSuchGroup(name, [...state.groups.keys()]);
}
