/** Figures of the last minute, in pieces of a second: what is older than that is forgotten with the next figure. */
const pieceMs = 1_000;
const pieces = 60;

class Sliding {
  readonly #byPiece = new Map<number, number>();
  readonly #combine: (a: number, b: number) => number;

  constructor(combine: (a: number, b: number) => number) {
    this.#combine = combine;
  }

  add(value: number, nowMonoMs: number): void {
    const piece = Math.floor(nowMonoMs / pieceMs);
    this.#forget(piece);
    const known = this.#byPiece.get(piece);
    this.#byPiece.set(piece, known === undefined ? value : this.#combine(known, value));
  }

  /** 0 where there was none. */
  lastMinute(nowMonoMs: number): number {
    this.#forget(Math.floor(nowMonoMs / pieceMs));
    return [...this.#byPiece.values()].reduce(this.#combine, 0);
  }

  #forget(now: number): void {
    for (const piece of this.#byPiece.keys()) {
      if (piece > now - pieces) return; // They stand in the order of their time.
      this.#byPiece.delete(piece);
    }
  }
}

/** The largest of the values of the last minute. */
export class SlidingMax extends Sliding {
  constructor() {
    super((a, b) => Math.max(a, b));
  }
}

/** The sum of the values of the last minute. */
export class SlidingSum extends Sliding {
  constructor() {
    super((a, b) => a + b);
  }
}
