import { type Change, isLasting, isTransition } from '../core/index.ts';

/** By what they want to hear of: a job, or with `null` any. */
type Callbacks = Map<number | null, Set<() => void>>;

/** Who wants to be called, once, when something has changed. */
export class Watchers {
  readonly #changes: Callbacks = new Map();
  readonly #events: Callbacks = new Map();

  /** At the next change of a job that has not ended. Returns how to give up. */
  onNextChange(jobId: number, onChange: () => void): () => void {
    return add(this.#changes, jobId, onChange);
  }

  /** At the next event of a job, or with `null` of any. Returns how to give up. */
  onNextEvent(jobId: number | null, onChange: () => void): () => void {
    return add(this.#events, jobId, onChange);
  }

  /** These changes have been written down. */
  announce(changes: readonly Change[]): void {
    for (const change of changes)
      if (change.kind === 'job' && isLasting(change)) callOnce(this.#changes, change.after.id);
    const withEvents = new Set(changes.flatMap(jobWithEvent));
    for (const jobId of withEvents) callOnce(this.#events, jobId);
    if (withEvents.size > 0) callOnce(this.#events, null);
  }
}

function jobWithEvent(change: Change): number | [] {
  if (change.kind === 'note') return change.job.id;
  return change.kind === 'job' && isTransition(change) ? change.after.id : [];
}

function add(callbacks: Callbacks, key: number | null, onChange: () => void): () => void {
  const known = callbacks.get(key) ?? new Set();
  callbacks.set(key, known.add(onChange));
  return () => {
    if (known.delete(onChange) && known.size === 0 && callbacks.get(key) === known) callbacks.delete(key);
  };
}

function callOnce(callbacks: Callbacks, key: number | null): void {
  const known = callbacks.get(key) ?? [];
  callbacks.delete(key);
  for (const onChange of known) onChange();
}
