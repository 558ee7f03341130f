/** The two clocks, and chance, handed in. `monoMs` never jumps and measures durations; `wallMs` is for people. */
export interface Instant {
  readonly monoMs: number;
  readonly wallMs: number;
  /**
   * The wall clock as it was when the daemon started, gone on evenly since. What is kept for a time is kept for that time, whatever
   * the wall clock is set to meanwhile.
   */
  readonly steadyWallMs: number;
  /** Chance, handed in as well: from 0 up to 1. */
  readonly unitRandom: number;
  /** The boot whose clock `monoMs` is: within it, an earlier daemon's `monoMs` can be compared. Absent: not known. */
  readonly bootId?: string;
}
