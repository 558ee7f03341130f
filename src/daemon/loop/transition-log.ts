import { type Change, causeOfTransition, isTransition } from '../core/index.ts';
import type { Log } from '../shells.ts';

/** A line for each change of a job's status. */
export function logTransitions(log: Log, changes: readonly Change[]): void {
  for (const change of changes) {
    if (change.kind !== 'job' || !isTransition(change)) continue;
    const { before, after } = change;
    const from = before?.phase.status ?? null;
    const to = after.phase.status;
    log.info(`job ${after.id} ${from ?? 'new'} → ${to}`, {
      jobId: after.id,
      attempt: after.attempts.at(-1)?.number ?? 0,
      from,
      to,
      cause: causeOfTransition(before, after),
    });
  }
}
