import { type EventView, type MethodResult, maxEventsPage, type ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';
import { hold } from '../hold.ts';

export async function events(params: ParsedParams<'events'>, call: Call): Promise<MethodResult<'events'>> {
  const { store, supervisor } = call.backend;
  const query = { after: params.after, jobId: params.jobId ?? null, limit: params.limit ?? maxEventsPage };
  const untilMs = performance.now() + (params.holdMs ?? 0);
  for (;;) {
    const found = store.listEvents(query);
    const leftMs = untilMs - performance.now();
    if (found.length > 0 || leftMs <= 0 || call.signal.aborted)
      return { events: withinFrame(found), lastSeq: store.lastEvent() };
    await hold(call, leftMs, (wake) => [supervisor.onNextEvent(query.jobId, wake)]);
  }
}

/** Bytes of the events in one answer: what jobs say of themselves may be long. */
const maxPageBytes = 512 * 1024;

function withinFrame(events: readonly EventView[]): EventView[] {
  let bytes = 0;
  const fitting = events.findIndex((event) => {
    bytes += Buffer.byteLength(JSON.stringify(event));
    return bytes > maxPageBytes;
  });
  return fitting === -1 ? [...events] : events.slice(0, Math.max(1, fitting));
}
