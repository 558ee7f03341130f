import { unreachable } from '../../protocol/index.ts';
import {
  attemptsBegun,
  type Change,
  causeOfTransition,
  isLastingOfScope,
  isTransition,
  type Scope,
} from '../core/index.ts';
import type { Log } from '../shells.ts';

/** A line for each change of a job's status, and for each job that is found to be idle. */
export function logTransitions(log: Log, changes: readonly Change[]): void {
  for (const change of changes) {
    if (change.kind === 'note' && change.note === 'idle') {
      const { id: jobId } = change.job;
      log.info(`job ${jobId} is idle`, { jobId, attempt: attemptsBegun(change.job), ...(change.detail as object) });
    }
    if (change.kind === 'scope') logScope(log, change.before, change.after);
    if (change.kind !== 'job' || !isTransition(change)) continue;
    const { before, after } = change;
    const from = before?.phase.status ?? null;
    const to = after.phase.status;
    log.info(`job ${after.id} ${from ?? 'new'} → ${to}`, {
      jobId: after.id,
      attempt: attemptsBegun(after),
      from,
      to,
      cause: causeOfTransition(before, after),
    });
  }
}

/** A line when a scope is opened, when its jobs are to end, and when they have. */
function logScope(log: Log, before: Scope | null, after: Scope): void {
  if (!isLastingOfScope(before, after)) return;
  const { id: scope, name, phase } = after;
  switch (phase.status) {
    case 'open':
      return log.info('scope opened', { scope, name });
    case 'closing':
      return log.info('scope closing', { scope, name, end: phase.end, live: phase.jobIds.length });
    case 'closed': {
      const { end, processesLeft, tally } = phase;
      const { cleaned } = tally;
      return log.info('scope closed', { scope, name, end, ended: tally.ended - cleaned, cleaned, processesLeft });
    }
    default:
      return unreachable(phase);
  }
}
