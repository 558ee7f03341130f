import { type MethodResult, maxJobIds, type ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';
import { selectAmong, selectJobs } from '../selecting.ts';

export function select(params: ParsedParams<'select'>, { backend }: Call): MethodResult<'select'> {
  const { jobIds, cursor = null, ...filter } = params;
  const selection = { filter, cursor, limit: maxJobIds };
  if (jobIds !== undefined) return selectAmong(backend.store, jobIds, selection);
  return selectJobs(backend.store, { ...selection, order: 'oldest' });
}
