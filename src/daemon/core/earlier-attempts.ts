/** Earlier attempts of a job that has not ended are kept for a look, and not without bound. */
import { keptAttempts } from '../../protocol/index.ts';
import type { Attempt } from './attempt.ts';
import { type Decision, merge, nothing, replace } from './decision.ts';
import type { Event } from './events.ts';
import type { Job } from './job.ts';
import type { State } from './state.ts';

/**
 * Those of a job that are kept beside one that begins: the newest, as far as their output together fits the job's limit. Of all
 * attempts together a job so has at most twice the limit. The newest always stays: a job that had any is never taken for one that
 * did not start.
 */
export function keptBesideNext({ attempts, definition }: Job): readonly Attempt[] {
  const mostBytes = definition.policies.outputLimitBytes ?? Number.POSITIVE_INFINITY;
  const kept: Attempt[] = [];
  let bytes = 0;
  for (const attempt of attempts.slice(1 - keptAttempts).toReversed()) {
    bytes += outputOf(attempt);
    if (kept.length > 0 && bytes > mostBytes) break;
    kept.unshift(attempt);
  }
  return kept;
}

/**
 * The output of all jobs is beyond its limit by so much, and none that has ended has any. Of those that have not, earlier attempts go,
 * oldest first, and first of the jobs of which they take most.
 */
export function forgetEarlier(state: State, { request, bytes }: Extract<Event, { type: 'forgetEarlier' }>): Decision {
  const jobs = [...state.live.values()]
    .map((job) => ({ job, takes: sum(job.attempts.slice(0, -1)) }))
    .filter(({ takes }) => takes > 0)
    .sort((a, b) => b.takes - a.takes);
  let left = bytes;
  const forgotten = jobs.map(({ job }) => {
    const gone: number[] = [];
    for (const attempt of job.attempts.slice(0, -1)) {
      if (left <= 0) break;
      left -= outputOf(attempt);
      gone.push(attempt.number);
    }
    if (gone.length === 0) return nothing;
    const after = { ...job, attempts: job.attempts.slice(gone.length) };
    return replace(job, after, { type: 'removeOutput', job: after, attempts: gone });
  });
  const reply: Decision = { changes: [], effects: [{ type: 'reply', request, result: { freedBytes: bytes - left } }] };
  return merge([...forgotten, reply]);
}

function sum(attempts: readonly Attempt[]): number {
  return attempts.reduce((bytes, attempt) => bytes + outputOf(attempt), 0);
}

/** Of one that is over. */
function outputOf({ usage }: Attempt): number {
  return usage.outputBytes ?? 0;
}
