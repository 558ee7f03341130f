import { type MethodResult, maxPageSize, type ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';
import { pageOf } from '../page.ts';

export function list(params: ParsedParams<'list'>, { backend }: Call): MethodResult<'list'> {
  const limit = params.limit ?? maxPageSize;
  const ids = backend.store.listJobIds({
    statuses: params.statuses ?? null,
    group: params.group ?? null,
    order: params.order ?? 'oldest',
    cursor: params.cursor ?? null,
    limit,
  });
  // Memory knows more of a live job than the store: what is not persisted, such as that it is unkillable.
  const page = pageOf(
    ids.map((id) => backend.supervisor.job(id)),
    backend,
  );
  const isLast = ids.length < limit && page.length === ids.length;
  return { jobs: page, nextCursor: isLast ? null : (page.at(-1)?.id ?? null) };
}
