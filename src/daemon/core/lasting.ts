/** What of a change outlives the daemon. */
import type { Attempt } from './attempt.ts';
import type { Change } from './changes.ts';
import type { Job } from './job.ts';
import { notedIn } from './reports.ts';
import { isLastingOfScope } from './scope-index.ts';

/**
 * Whether the store keeps what this changes. Of a job in the same status, it does not keep the data of its phase, and of what it
 * reports only what is noted: the rest goes with the next change of the attempt.
 */
export function isLasting(change: Change): boolean {
  switch (change.kind) {
    case 'admission':
    case 'retryPace':
    case 'bucket':
    case 'calls':
      return false;
    case 'job': {
      const { before, after } = change;
      return (
        before === null ||
        before.phase.status !== after.phase.status ||
        differLastingly(before, after) ||
        before.definition !== after.definition ||
        before.queue !== after.queue ||
        before.expiresWallMs !== after.expiresWallMs ||
        before.warnings !== after.warnings
      );
    }
    case 'scope':
      return isLastingOfScope(change.before, change.after);
    default:
      return true;
  }
}

function differLastingly(before: Job, after: Job): boolean {
  if (before.attempts === after.attempts) return false;
  const [last, next] = [before.attempts.at(-1), after.attempts.at(-1)];
  if (before.attempts.length !== after.attempts.length || last === undefined || next === undefined) return true;
  const isEqual = (Object.keys(next) as (keyof Attempt)[]).every(
    (key) => key === 'progress' || last[key] === next[key],
  );
  return !isEqual || notedIn(before.phase) !== notedIn(after.phase);
}
