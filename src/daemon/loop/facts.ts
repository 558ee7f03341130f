/**
 * Requests are about jobs, keys and scopes that the state does not hold any more. What is known of them is looked up before anything
 * is decided, so that a decision needs no store.
 */
import { type EndedJobs, type Event, type Job, onThisHost, type State } from '../core/index.ts';
import type { ProcessShell } from '../shells.ts';
import type { Store } from '../store/index.ts';
import type { Ledger } from './ledger.ts';

/** Where the facts come from. */
export interface FactSources {
  readonly state: State;
  readonly ledger: Ledger;
  readonly store: Pick<Store, 'findScope'>;
  readonly processes: Pick<ProcessShell, 'tier' | 'hostLimits'>;
}

/** What stands for the facts of a request until they are looked up. */
export const noFacts = { ended: new Map<number, Job>(), known: new Map<string, Job>(), tier: '', isKnown: false };

/**
 * The event with all that a decision about it needs to know.
 *
 * @throws CorralError `STORE_FAILED` where the store cannot give it
 */
export function withFacts(event: Event, sources: FactSources): Event {
  const { ledger, processes, store } = sources;
  switch (event.type) {
    case 'submit':
    case 'settle': {
      const keys = event.definitions.flatMap(({ idempotencyKey }) => idempotencyKey ?? []);
      const known = new Map(
        keys.flatMap((key) => ledger.newestByKey(key) ?? []).map((job) => [job.definition.idempotencyKey ?? '', job]),
      );
      return {
        ...event,
        known,
        ended: endedOf(
          event.definitions.flatMap(({ after }) => after),
          sources,
        ),
      };
    }
    case 'retry': {
      const ended = [...endedOf(event.jobIds, sources)].map(
        ([id, job]) => [id, onThisHost(job, processes.hostLimits)] as const,
      );
      const dependencies = ended.flatMap(([, job]) => (job.attempts.length === 0 ? job.definition.after : []));
      return { ...event, ended: new Map([...endedOf(dependencies, sources), ...ended]) };
    }
    case 'runPending':
      return { ...event, tier: processes.tier };
    case 'openScope':
      return { ...event, isKnown: store.findScope(event.scope) !== null };
    default:
      return 'ended' in event && 'jobIds' in event ? { ...event, ended: endedOf(event.jobIds, sources) } : event;
  }
}

function endedOf(jobIds: readonly number[], { state, ledger }: FactSources): EndedJobs {
  const ended = jobIds.filter((jobId) => !state.live.has(jobId)).flatMap((jobId) => ledger.newest(jobId) ?? []);
  return new Map(ended.map((job) => [job.id, job]));
}
