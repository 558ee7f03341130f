import { type Change, holdsSlot } from '../core/index.ts';
import { SlidingSum } from './sliding.ts';

/** Counts the attempts that begin and end. */
export class Pace {
  readonly #starts = new SlidingSum();
  readonly #ends = new SlidingSum();

  /** These changes were decided, whether or not they could be written down. */
  note(changes: readonly Change[], nowMonoMs: number): void {
    for (const change of changes) {
      if (change.kind !== 'job') continue;
      const held = change.before !== null && holdsSlot(change.before.phase.status);
      const holds = holdsSlot(change.after.phase.status);
      if (holds && !held) this.#starts.add(1, nowMonoMs);
      if (held && !holds) this.#ends.add(1, nowMonoMs);
    }
  }

  lastMinute(nowMonoMs: number): { readonly startsPerMinute: number; readonly endsPerMinute: number } {
    return { startsPerMinute: this.#starts.lastMinute(nowMonoMs), endsPerMinute: this.#ends.lastMinute(nowMonoMs) };
  }
}
