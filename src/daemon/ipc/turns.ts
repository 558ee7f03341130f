/** Longest that requests are handled before others get a look in: sockets, exits, timers, commits. One request may take longer. */
const turnMs = 2;

/** Somebody whose requests are handled one at a time. */
export interface Taker {
  /** Handles one. `later`: there is none, or it cannot be now; whoever changes that calls `add` again. */
  takeOne(): 'taken' | 'later';
}

/**
 * Lets all that have something to do take turns, one request each, for a bounded part of each turn of the event loop: a
 * thousand requests of one connection delay another one's by a request, not by a thousand.
 */
export class Turns {
  readonly #ready = new Set<Taker>();
  readonly #nowMs: () => number;
  #isPlanned = false;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  add(taker: Taker): void {
    this.#ready.add(taker);
    this.#plan();
  }

  remove(taker: Taker): void {
    this.#ready.delete(taker);
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    setImmediate(() => void this.#turn());
  }

  async #turn(): Promise<void> {
    const untilMs = this.#nowMs() + turnMs;
    // A set is gone through in the order in which members were added, those that are added meanwhile included: round and round.
    for (const taker of this.#ready) {
      this.#ready.delete(taker);
      if (taker.takeOne() === 'taken') this.#ready.add(taker);
      // Answers that wait for nothing are written in microtasks. They come first, so that what is pending for a slow reader is known.
      await null;
      if (this.#nowMs() >= untilMs) break;
    }
    this.#isPlanned = false;
    if (this.#ready.size > 0) this.#plan();
  }
}
