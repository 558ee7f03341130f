/** What is written down of one run of a job's command. */
import type { Cause } from '../../protocol/index.ts';

/** One run of a job's command. Written down before the launch, so that a crash in between finds the process. */
export interface Attempt {
  readonly number: number;
  readonly tier: string;
  readonly leader: ProcessIdentity | null;
  readonly startedWallMs: number | null;
  readonly finishedWallMs: number | null;
  /** First cause wins: once it is set, nothing overwrites it. */
  readonly cause: Cause | null;
  readonly exit: LeaderExit | null;
  /** Processes that lived on when the leader had exited. */
  readonly strays: number;
  readonly usage: Usage;
  /** Bytes at the beginning of its output files that were dropped to keep the limit. */
  readonly dropped: OutputSize;
  readonly progress: Progress | null;
  /** What it has reported as its result, as JSON text. */
  readonly result: string | null;
  readonly message: string | null;
}

/** How a leader ended: `code` or `signal`, never both. wait(2) Neither: that is not known. */
export interface LeaderExit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** What an attempt used up, as far as its tier and launcher can tell. */
export interface Usage {
  readonly cpuMs: number | null;
  readonly peakRssBytes: number | null;
  /** What its output takes on the disk. `null` while it runs. */
  readonly outputBytes: number | null;
}

/** A process that cannot be mistaken for another: its pid, the tick of the boot in which it started, and the boot. proc(5) */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: number;
  readonly bootId: string;
}

/** What a job has reported of itself. */
export interface Progress {
  readonly percent: number | null;
  readonly message: string | null;
  readonly wallMs: number;
}

/** What the files hold, and what is dropped of them; both streams are in the first file where they are not kept apart. */
export interface OutputSize {
  readonly stdout: number;
  readonly stderr: number;
}
