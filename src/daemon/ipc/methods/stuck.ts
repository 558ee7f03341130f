import { type MethodResult, maxHoldMs, type ParsedParams } from '../../../protocol/index.ts';
import { type ResetBegun, resetReport, type StuckCriteria } from '../../core/index.ts';
import type { Call } from '../backend.ts';

/** After SIGKILL, what is still there by then is not going to go soon. */
const afterGraceMs = 15_000;

export function listStuck(params: ParsedParams<'stuck.list'>, { backend }: Call): MethodResult<'stuck.list'> {
  return { jobs: backend.supervisor.stuck(criteriaOf(params)) };
}

export async function resetStuck(
  params: ParsedParams<'stuck.reset'>,
  { backend, signal }: Call,
): Promise<MethodResult<'stuck.reset'>> {
  const { supervisor } = backend;
  const criteria = criteriaOf(params);
  const begun = await supervisor.ask<ResetBegun>({ type: 'resetStuck', criteria });
  const holdMs = Math.min(params.holdMs ?? maxHoldMs, begun.longestGraceMs + afterGraceMs);
  const { finished } = await supervisor.wait(begun.jobIds, 'all', holdMs, signal);
  return resetReport(criteria, begun, finished);
}

function criteriaOf({ olderThanMs, noProgressForMs, group }: ParsedParams<'stuck.list'>): StuckCriteria {
  return { olderThanMs: olderThanMs ?? null, noProgressForMs: noProgressForMs ?? null, group: group ?? null };
}
