/** Rounds in which new processes may turn up; more come with the next SIGCHLD. */
const maxRounds = 100;

/**
 * Looks for processes again and again until one finds none that is new, each time with a new list of orphans. To make a list
 * costs as much as there are orphans, so all that is asked in one go shares them: else the cost of stopping many jobs would
 * grow with the square of their number.
 */
export class Rounds {
  readonly #list: () => void;
  /** What was begun in the go that is under way, and must be done again before that is over. */
  #unfinished: (() => boolean)[] | null = null;
  #isListed = false;

  /** @param list makes a new list */
  constructor(list: () => void) {
    this.#list = list;
  }

  /** All that is asked within is done when this returns. */
  together<T>(act: () => T): T {
    if (this.#unfinished !== null) return act();
    const unfinished: (() => boolean)[] = [];
    this.#unfinished = unfinished;
    this.#isListed = false;
    try {
      return act();
    } finally {
      this.#unfinished = null;
      this.#finish(unfinished);
    }
  }

  /** With the newest list of this go, which was made after its begin: whatever was reaped had been when it was made. */
  look<T>(look: () => T): T {
    return this.together(() => {
      if (!this.#isListed) this.#list();
      this.#isListed = true;
      return look();
    });
  }

  /** @param again returns whether it found anything new. It is done once at least, with a list that is newer than what was done first */
  untilNothingIsNew({ first, again }: { first: () => void; again: () => boolean }): void {
    this.look(() => {
      first();
      this.#unfinished?.push(again);
    });
  }

  /** What fails for one attempt does not keep it from the others. */
  #finish(unfinished: readonly (() => boolean)[]): void {
    const failures: unknown[] = [];
    let left = unfinished;
    for (let rounds = 1; left.length > 0 && rounds < maxRounds; rounds += 1) {
      this.#list();
      left = left.filter((round) => {
        try {
          return round();
        } catch (error) {
          failures.push(error);
          return false;
        }
      });
    }
    if (failures.length > 0) throw failures[0];
  }
}
