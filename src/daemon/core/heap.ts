/** A binary heap: the entry that `compare` puts first comes out first. */
export class Heap<T> {
  readonly #compare: (a: T, b: T) => number;
  readonly #entries: T[] = [];

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  get size(): number {
    return this.#entries.length;
  }

  peek(): T | undefined {
    return this.#entries[0];
  }

  push(entry: T): void {
    const entries = this.#entries;
    let index = entries.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (this.#compare(entry, entries[parent] as T) >= 0) break;
      entries[index] = entries[parent] as T;
      index = parent;
    }
    entries[index] = entry;
  }

  /** Forgets all other entries. */
  keep(isKept: (entry: T) => boolean): void {
    const kept = this.#entries.filter(isKept);
    this.#entries.length = 0;
    for (const entry of kept) this.push(entry);
  }

  pop(): T | undefined {
    const entries = this.#entries;
    const first = entries[0];
    const last = entries.pop();
    if (entries.length === 0 || last === undefined) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= entries.length) break;
      if (child + 1 < entries.length && this.#compare(entries[child + 1] as T, entries[child] as T) < 0) child += 1;
      if (this.#compare(entries[child] as T, last) >= 0) break;
      entries[index] = entries[child] as T;
      index = child;
    }
    entries[index] = last;
    return first;
  }
}
