import { type MethodResult, maxPageSize, type ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';
import { pageOf } from '../page.ts';
import { selectJobs } from '../selecting.ts';

export function list(params: ParsedParams<'list'>, { backend }: Call): MethodResult<'list'> {
  const { order = 'oldest', cursor = null, limit = maxPageSize, ...filter } = params;
  const { jobIds, nextCursor } = selectJobs(backend.store, { filter, order, cursor, limit });
  // Memory knows more of a live job than the store: what is not persisted, such as that it is unkillable.
  const page = pageOf(
    jobIds.map((id) => backend.supervisor.job(id)),
    backend,
  );
  return { jobs: page, nextCursor: page.length < jobIds.length ? (page.at(-1)?.id ?? null) : nextCursor };
}
