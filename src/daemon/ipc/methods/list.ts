import { type JobView, type MethodResult, maxPageSize, type ParsedParams } from '../../../protocol/index.ts';
import { viewOf } from '../../core/index.ts';
import type { Call } from '../backend.ts';

/** A page ends early when its jobs are this large together: commands may be long, and the answer must fit a frame. */
const maxPageBytes = 512 * 1024;

export function list(params: ParsedParams<'list'>, { backend }: Call): MethodResult<'list'> {
  const limit = params.limit ?? maxPageSize;
  const jobs = backend.store.listJobs({
    statuses: params.statuses ?? null,
    group: params.group ?? null,
    order: params.order ?? 'oldest',
    cursor: params.cursor ?? null,
    limit,
  });
  const page: JobView[] = [];
  let bytes = 0;
  for (const stored of jobs) {
    // Memory knows more of a live job than the store: what is not persisted, such as that it is unkillable.
    const job = backend.supervisor.job(stored.id);
    const view = viewOf(job, backend.output.facts(job));
    bytes += Buffer.byteLength(JSON.stringify(view));
    if (page.length > 0 && bytes > maxPageBytes) break;
    page.push(view);
  }
  const isLast = jobs.length < limit && page.length === jobs.length;
  return { jobs: page, nextCursor: isLast ? null : (page.at(-1)?.id ?? null) };
}
