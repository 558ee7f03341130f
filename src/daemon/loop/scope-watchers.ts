/** Who wants to be called, once, when a scope is closed and empty. */
export class ScopeWatchers {
  readonly #ofScopes = new Map<string, Set<() => void>>();

  /** Returns how to give up. */
  add(scope: string, onClosed: () => void): () => void {
    const watchers = this.#ofScopes.get(scope) ?? new Set();
    this.#ofScopes.set(scope, watchers.add(onClosed));
    return () => {
      if (watchers.delete(onClosed) && watchers.size === 0 && this.#ofScopes.get(scope) === watchers)
        this.#ofScopes.delete(scope);
    };
  }

  closed(scope: string): void {
    const watchers = this.#ofScopes.get(scope) ?? [];
    this.#ofScopes.delete(scope);
    for (const onClosed of watchers) onClosed();
  }
}
