/**
 * Deletes what has been kept long enough: jobs whose time to live is over, and the oldest ones where more is kept than the
 * configuration allows. In small pieces, so that a thousand that expire together hold nothing up. Where output is beyond its limit, what
 * has ended goes first, then earlier attempts of what has not; then what runs gives way.
 */
import { type BulkReport, CorralError, finalStatuses } from '../protocol/index.ts';
import type { Log } from './shells.ts';
import type { Store } from './store/index.ts';

/** Jobs that are deleted in one turn of the loop. */
const pieceJobs = 50;

export interface KeeperOptions {
  readonly store: Pick<Store, 'listExpired' | 'listJobIds' | 'countJobs' | 'oldestWithOutput'>;
  /** Most jobs that have ended; `null`: as many as there are. Asked at each look: the configuration may change. */
  readonly maxJobs: () => number | null;
  /** By how much all output together is beyond its limit; 0: it is not. */
  readonly outputBeyondBytes: () => number;
  readonly steadyWallMs: () => number;
  readonly remove: (jobIds: readonly number[]) => Promise<BulkReport>;
  /** Deletes earlier attempts of jobs that have not ended, until so much is free. */
  readonly forgetEarlier: (bytes: number) => Promise<{ readonly freedBytes: number }>;
  /** Has what runs drop so much. */
  readonly giveWay: (bytes: number) => void;
  readonly log: Pick<Log, 'info' | 'warn'>;
}

export class Keeper {
  readonly #options: KeeperOptions;
  #isAtWork = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** Deletes what is due. At each beat; a look that is under way goes on. */
  async look(): Promise<void> {
    if (this.#isAtWork) return;
    this.#isAtWork = true;
    try {
      let deleted = 0;
      for (let piece = this.#due(); piece.length > 0; piece = this.#due()) {
        const { done } = await this.#options.remove(piece);
        deleted += done;
        if (done === 0) break; // Somebody else was quicker, with each of them.
      }
      if (deleted > 0) this.#options.log.info('kept long enough, deleted', { jobs: deleted });
      await this.#holdLiveOutput();
    } catch (error) {
      if (!(error instanceof CorralError)) throw error;
      // What cannot be written down now is tried again at the next beat; the store's trouble is told by itself.
      if (error.code !== 'STORE_FAILED') this.#options.log.warn('deleting failed', { error: error.message });
    } finally {
      this.#isAtWork = false;
    }
  }

  #due(): number[] {
    const { store, maxJobs: mostJobs, outputBeyondBytes, steadyWallMs } = this.#options;
    const expired = store.listExpired(steadyWallMs(), pieceJobs);
    if (expired.length > 0) return expired;
    const maxJobs = mostJobs();
    const counts = store.countJobs();
    const ended = finalStatuses.reduce((sum, status) => sum + counts[status], 0);
    const tooMany = maxJobs === null ? 0 : ended - maxJobs;
    if (tooMany > 0) return this.#oldest(Math.min(tooMany, pieceJobs));
    // One by one: the next may be enough.
    const oldest = outputBeyondBytes() > 0 ? store.oldestWithOutput() : null;
    return oldest === null ? [] : [oldest];
  }

  /** Nothing that has ended is left to delete for it. */
  async #holdLiveOutput(): Promise<void> {
    const { outputBeyondBytes, forgetEarlier, giveWay } = this.#options;
    const bytes = outputBeyondBytes();
    if (bytes === 0) return;
    const { freedBytes } = await forgetEarlier(bytes);
    if (freedBytes < bytes) giveWay(bytes - freedBytes);
  }

  #oldest(limit: number): number[] {
    return this.#options.store.listJobIds({
      statuses: finalStatuses,
      group: null,
      order: 'oldest',
      cursor: null,
      limit,
    });
  }
}
