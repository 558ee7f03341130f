import { type EventView, maxHoldMs } from '../protocol/index.ts';
import type { Connection } from './connection.ts';

export interface EventsOptions {
  /** Only transitions after this number. Default: 0, from the first that is still kept. Go on after the last one that you have seen. */
  readonly after?: number;
  /** Only the last so many of what there is, and with `follow` what comes after. Takes the place of `after`. */
  readonly last?: number;
  /** Only those of one job. */
  readonly jobId?: number;
  /** Go on for ever. Default: what there is now. */
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

/** Reads the record of transitions, page by page. It goes on after a restart of the daemon, where it was. */
export async function* readEvents(connection: Connection, options: EventsOptions): AsyncGenerator<EventView> {
  const { last, follow = false, signal } = options;
  const filter = options.jobId === undefined ? {} : { jobId: options.jobId };
  let after = last === undefined ? (options.after ?? 0) : await beforeLast(connection, last);
  for (;;) {
    signal?.throwIfAborted();
    const holdMs = follow ? maxHoldMs : 0;
    const { events, lastSeq } = await connection.call('events', { ...filter, after, holdMs }, { holdMs });
    yield* events;
    // Without events, everything up to the newest has been looked at, that of other jobs too.
    after = events.at(-1)?.seq ?? Math.max(after, lastSeq);
    if (events.length === 0 && !follow) return;
  }
}

/** Numbers have gaps where jobs were removed, so this may show fewer. */
async function beforeLast(connection: Connection, last: number): Promise<number> {
  const { lastSeq } = await connection.call('events', { after: Number.MAX_SAFE_INTEGER });
  return Math.max(0, lastSeq - last);
}
