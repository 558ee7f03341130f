import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function progress(
  { jobId, attempt, percent, message }: ParsedParams<'progress'>,
  { backend }: Call,
): Promise<MethodResult<'progress'>> {
  const { supervisor } = backend;
  supervisor.job(jobId); // One that never was is told from one that does not run.
  const report = { kind: 'progress', percent: percent ?? null, message: message ?? null } as const;
  return supervisor.ask({ type: 'report', jobId, attempt: attempt ?? null, report });
}

export function result(
  { jobId, attempt, value }: ParsedParams<'result'>,
  { backend }: Call,
): Promise<MethodResult<'result'>> {
  const { supervisor } = backend;
  supervisor.job(jobId);
  const report = { kind: 'result', json: value === null ? null : JSON.stringify(value) } as const;
  return supervisor.ask({ type: 'report', jobId, attempt: attempt ?? null, report });
}
