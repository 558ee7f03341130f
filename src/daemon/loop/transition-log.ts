import { type Change, causeOfTransition, isTransition } from '../core/index.ts';
import type { Log } from '../shells.ts';

/** A line for each change of a job's status, and for each job that is found to be idle. */
export function logTransitions(log: Log, changes: readonly Change[]): void {
  for (const change of changes) {
    if (change.kind === 'note' && change.note === 'idle') {
      const { id: jobId, attempts } = change.job;
      log.info(`job ${jobId} is idle`, { jobId, attempt: attempts.length, ...(change.detail as object) });
    }
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
