import { type MethodResult, maxEventsPage, type ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';
import { hold } from '../hold.ts';

export async function events(params: ParsedParams<'events'>, call: Call): Promise<MethodResult<'events'>> {
  const { store, supervisor } = call.backend;
  const query = { after: params.after, jobId: params.jobId ?? null, limit: params.limit ?? maxEventsPage };
  const untilMs = performance.now() + (params.holdMs ?? 0);
  for (;;) {
    const found = store.listEvents(query);
    const leftMs = untilMs - performance.now();
    if (found.length > 0 || leftMs <= 0 || call.signal.aborted) return { events: found, lastSeq: store.lastEvent() };
    await hold(call, leftMs, (wake) => [supervisor.onNextEvent(wake)]);
  }
}
