/**
 * Nothing polls for the end of a job: the kernel tells it. Should that be missed all the same, because a signal or an event was
 * lost, or because somebody else took the exit status, the job would run for ever in the books and hold its slot. So each
 * attempt is looked at now and then, which costs one small read of /proc. proc_pid_stat(5)
 */
import { isErrno } from '../../protocol/index.ts';
import type { ProcessIdentity } from '../core/index.ts';
import { isAlive, readStat } from '../linux/index.ts';

/** Between two looks at an attempt. */
const intervalMs = 30_000;

/** An end that is being told at this moment is none that was missed. */
const patienceMs = 1_000;

/** Most looks in one beat, so that they never hold anything up. */
const looksPerBeat = 50;

/** An attempt whose end is to come. */
export interface Ending {
  readonly jobId: number;
  readonly leader: ProcessIdentity;
  /** Whether the end of the leader was told. Then the end of the others is to come. */
  readonly hasLeaderEnded: () => boolean;
  /** 0 is proven. */
  readonly countAlive: () => number | null;
  /** Does what would have been done had it been told. How the leader ended is not known then. */
  readonly end: () => void;
}

export interface MissedEndsOptions {
  /** Has everybody look who is told of ends, as if the kernel had told it just now. */
  readonly lookAgain: () => void;
  readonly onMissed: (ending: Ending) => void;
}

interface Watched {
  readonly ending: Ending;
  lookAtMs: number;
  /** Looks in a row at which it was over and not told. */
  looks: number;
}

export class MissedEnds {
  readonly #options: MissedEndsOptions;
  readonly #watched = new Map<number, Watched>();

  constructor(options: MissedEndsOptions) {
    this.#options = options;
  }

  /** @param nowMs on the clock of `look` */
  begin(ending: Ending, nowMs: number): void {
    this.#watched.set(ending.jobId, { ending, lookAtMs: nowMs + intervalMs, looks: 0 });
  }

  end(jobId: number): void {
    this.#watched.delete(jobId);
  }

  /** At each beat. */
  look(nowMs: number): void {
    let left = looksPerBeat;
    for (const watched of this.#watched.values()) {
      if (watched.lookAtMs > nowMs) continue;
      if (left-- === 0) return;
      this.#lookAt(watched, nowMs);
    }
  }

  #lookAt(watched: Watched, nowMs: number): void {
    const { ending } = watched;
    watched.looks = isOver(ending) ? watched.looks + 1 : 0;
    watched.lookAtMs = nowMs + (watched.looks === 0 ? intervalMs : patienceMs);
    if (watched.looks === 2) {
      this.#options.onMissed(ending);
      this.#options.lookAgain();
    }
    if (watched.looks > 2) ending.end();
  }
}

function isOver({ leader, hasLeaderEnded, countAlive }: Ending): boolean {
  return hasLeaderEnded() ? countAlive() === 0 : !isThere(leader);
}

/** What cannot be seen is not gone for that: another user's process may be hidden. proc(5), hidepid */
function isThere({ pid, startTicks }: ProcessIdentity): boolean {
  const stat = readStat(pid);
  if (stat !== undefined) return isAlive(stat) && (startTicks === 0 || stat.startTicks === startTicks);
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    if (!isErrno(error, 'ESRCH', 'EPERM')) throw error;
    return error.code === 'EPERM';
  }
}
