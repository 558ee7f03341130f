import { type Change, isLasting, isTransition } from '../core/index.ts';

/** Who wants to be called, once, when something has changed. */
export class Watchers {
  readonly #ofJobs = new Map<number, Set<() => void>>();
  readonly #ofEvents = new Set<() => void>();

  /** At the next change of a job that has not ended. Returns how to give up. */
  onNextChange(jobId: number, onChange: () => void): () => void {
    const watchers = this.#ofJobs.get(jobId) ?? new Set();
    this.#ofJobs.set(jobId, watchers.add(onChange));
    return () => {
      if (watchers.delete(onChange) && watchers.size === 0 && this.#ofJobs.get(jobId) === watchers)
        this.#ofJobs.delete(jobId);
    };
  }

  /** At the next event of any job. Returns how to give up. */
  onNextEvent(onChange: () => void): () => void {
    this.#ofEvents.add(onChange);
    return () => this.#ofEvents.delete(onChange);
  }

  /** These changes have been written down. */
  announce(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind !== 'job' || !isLasting(change)) continue;
      const watchers = this.#ofJobs.get(change.after.id);
      this.#ofJobs.delete(change.after.id);
      for (const onChange of watchers ?? []) onChange();
    }
    if (!changes.some((change) => change.kind === 'note' || isTransition(change))) return;
    const watchers = [...this.#ofEvents];
    this.#ofEvents.clear();
    for (const onChange of watchers) onChange();
  }
}
