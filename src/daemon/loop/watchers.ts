import { type Change, isTransition } from '../core/index.ts';

/** Who wants to be called, once, when something has changed. */
export class Watchers {
  readonly #ofJobs = new Map<number, Set<() => void>>();
  readonly #ofTransitions = new Set<() => void>();

  /** At the next change of a job that has not ended. Returns how to give up. */
  onNextChange(jobId: number, onChange: () => void): () => void {
    const watchers = this.#ofJobs.get(jobId) ?? new Set();
    this.#ofJobs.set(jobId, watchers.add(onChange));
    return () => {
      if (watchers.delete(onChange) && watchers.size === 0 && this.#ofJobs.get(jobId) === watchers)
        this.#ofJobs.delete(jobId);
    };
  }

  /** At the next transition of any job. Returns how to give up. */
  onNextTransition(onChange: () => void): () => void {
    this.#ofTransitions.add(onChange);
    return () => this.#ofTransitions.delete(onChange);
  }

  /** These changes have been written down. */
  announce(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind !== 'job') continue;
      const watchers = this.#ofJobs.get(change.after.id);
      this.#ofJobs.delete(change.after.id);
      for (const onChange of watchers ?? []) onChange();
    }
    if (!changes.some(isTransition)) return;
    const watchers = [...this.#ofTransitions];
    this.#ofTransitions.clear();
    for (const onChange of watchers) onChange();
  }
}
