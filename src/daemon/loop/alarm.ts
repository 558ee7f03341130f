/** Longest delay that setTimeout takes; a later deadline is reached in several steps. */
const maxTimerMs = 2 ** 31 - 1;

/** One timer for all deadlines. */
export class Alarm {
  readonly #ring: () => void;
  #set: { readonly atMonoMs: number; readonly timer: NodeJS.Timeout } | null = null;

  /** @param ring is called at the deadline, or before it: whoever hears it looks at the clock */
  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** Takes the place of what was set before; `null`: nothing is due. */
  setFor(atMonoMs: number | null, nowMonoMs: number): void {
    if (this.#set?.atMonoMs === atMonoMs) return;
    if (this.#set !== null) clearTimeout(this.#set.timer);
    this.#set = null;
    if (atMonoMs === null) return;
    const delayMs = Math.min(Math.max(0, Math.ceil(atMonoMs - nowMonoMs)), maxTimerMs);
    this.#set = { atMonoMs, timer: setTimeout(() => this.#rung(), delayMs) };
  }

  #rung(): void {
    this.#set = null;
    this.#ring();
  }
}
