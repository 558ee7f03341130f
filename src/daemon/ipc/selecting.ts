import type { JobFilter } from '../../protocol/index.ts';
import { type JobSketch, matches } from '../core/index.ts';
import type { StoreReader } from './backend.ts';

/** Records that one call looks through at most, of each status: a million of them must not hold up the loop. */
export const maxLookedThrough = 2_000;

export interface Selection {
  readonly filter: JobFilter;
  readonly order: 'oldest' | 'newest';
  /** Last id that the call before has looked at; `null` for the first. */
  readonly cursor: number | null;
  readonly limit: number;
}

export interface Selected {
  readonly jobIds: number[];
  /** `null`: everything has been looked through. */
  readonly nextCursor: number | null;
}

/** Looks through the next records, and gives the ids of those that are meant. There may be none, and more to come. */
export function selectJobs(store: StoreReader, { filter, order, cursor, limit }: Selection): Selected {
  const { statuses = null, group = null, scope = null, name, olderThanMs } = filter;
  const isAllInIndex = scope === null || (statuses === null && group === null);
  const isInIndex = name === undefined && olderThanMs === undefined && isAllInIndex;
  const wanted = isInIndex ? Math.min(limit, maxLookedThrough) : maxLookedThrough;
  const sketches = store.listSketches({ statuses, group, scope, order, cursor, limit: wanted });
  return pick(sketches, filter, limit, sketches.length < wanted);
}

/** The same among jobs that are named, by id. */
export function selectAmong(
  store: StoreReader,
  jobIds: readonly number[],
  { filter, cursor, limit }: Omit<Selection, 'order'>,
): Selected {
  const left = [...new Set(jobIds)].filter((jobId) => jobId > (cursor ?? 0)).sort((a, b) => a - b);
  const now = left.slice(0, maxLookedThrough);
  const { jobIds: found, nextCursor } = pick(store.sketchesOf(now), filter, limit, true);
  const isLast = nextCursor === null && now.length === left.length;
  return { jobIds: found, nextCursor: isLast ? null : (nextCursor ?? now.at(-1) ?? null) };
}

function pick(sketches: readonly JobSketch[], filter: JobFilter, limit: number, isLast: boolean): Selected {
  const nowWallMs = Date.now();
  const found = sketches.filter((sketch) => matches(filter, sketch, nowWallMs)).map(({ id }) => id);
  const jobIds = found.slice(0, limit);
  if (jobIds.length < found.length) return { jobIds, nextCursor: jobIds.at(-1) ?? null };
  return { jobIds, nextCursor: isLast ? null : (sketches.at(-1)?.id ?? null) };
}
