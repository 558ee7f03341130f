/**
 * What of a job's use cannot be told at its end, seen while it runs.
 *
 * The largest resident memory of its processes. The kernel tells a leader's peak when it is reaped, but counts in it what the
 * daemon had when the leader was spawned (launcher), so it says something only of leaders that grew beyond the daemon. The others
 * are asked while they live: the peak that each process has had so far stands in /proc. proc_pid_status(5), VmHWM
 *
 * The CPU time, in tier scan, of a leader that Node has spawned: libuv reaps it without asking what it used.
 */
import fs from 'node:fs';
import { Heap } from '../core/index.ts';
import { ifProcessLives } from '../linux/index.ts';
import type { Seen } from './containment.ts';

/** When a job is first looked at, and the longest time between two looks. In between, each comes half the job's age later. */
const firstLookMs = 100;
const longestMs = 30_000;
const shareOfAge = 0.5;

/** So long the event loop is kept from everything else; those that are left are looked at in its next turns. */
const sliceMs = 3;

interface Watched {
  readonly jobId: number;
  readonly startedMs: number;
  readonly look: () => Seen;
  most: Seen;
  lookAtMs: number;
}

export const nothingSeen: Seen = { peakRssBytes: null, cpuMs: null };

/**
 * Looks at running jobs, with one timer for all of them. What a process used after the last look is not seen: that is the last third
 * of a short job's life at most, and the last 30 s of a long one's.
 */
export class PeakWatch {
  readonly #watched = new Map<number, Watched>();
  readonly #next = new Heap<Watched>((a, b) => a.lookAtMs - b.lookAtMs);
  #timer: NodeJS.Timeout | null = null;

  begin(jobId: number, look: () => Seen): void {
    const startedMs = performance.now();
    const watched = { jobId, startedMs, look, most: nothingSeen, lookAtMs: startedMs + firstLookMs };
    this.#watched.set(jobId, watched);
    this.#next.push(watched);
    this.#setTimer();
  }

  /** The most that was seen; `null`: the job was over before anybody looked. */
  end(jobId: number): Seen {
    const watched = this.#watched.get(jobId);
    this.#watched.delete(jobId);
    return watched?.most ?? nothingSeen;
  }

  #setTimer(): void {
    const next = this.#next.peek();
    if (next === undefined || this.#timer !== null) return;
    this.#timer = setTimeout(() => this.#lookAtDue(), Math.max(1, next.lookAtMs - performance.now()));
    this.#timer.unref();
  }

  #lookAtDue(): void {
    this.#timer = null;
    const startedMs = performance.now();
    for (let nowMs = startedMs; nowMs - startedMs < sliceMs; nowMs = performance.now()) {
      const watched = this.#next.peek();
      if (watched === undefined || watched.lookAtMs > nowMs) break;
      this.#next.pop();
      if (this.#watched.get(watched.jobId) !== watched) continue; // It is over.
      const { peakRssBytes, cpuMs } = watched.look();
      watched.most = {
        peakRssBytes: larger(watched.most.peakRssBytes, peakRssBytes),
        cpuMs: larger(watched.most.cpuMs, cpuMs),
      };
      watched.lookAtMs = nowMs + Math.min(longestMs, Math.max(firstLookMs, (nowMs - watched.startedMs) * shareOfAge));
      this.#next.push(watched);
    }
    this.#setTimer();
  }
}

/** Largest resident memory that any of these processes has had so far, in bytes; `null` where none can be asked. */
export function peakOf(pids: readonly number[]): number | null {
  let peak: number | null = null;
  for (const pid of pids) {
    const status = ifProcessLives(() => fs.readFileSync(`/proc/${pid}/status`, 'latin1'));
    const kib = /^VmHWM:\s+(\d+) kB$/m.exec(status ?? '')?.[1];
    if (kib !== undefined) peak = larger(peak, Number(kib) * 1024);
  }
  return peak;
}

/** Of two that may not be known. */
export function larger(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.max(a, b);
}
