import type { ChildProcess } from 'node:child_process';
import diagnostics from 'node:diagnostics_channel';
import fs from 'node:fs';
import os from 'node:os';
import { checked, prctl, wait4, waitid } from './libc.ts';
import { ifProcessLives, readProcFile } from './proc-file.ts';

const PR_SET_CHILD_SUBREAPER = 36;
const P_ALL = 0;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x0100_0000;
const siginfoBytes = 128;
const siginfoPidOffset = 16;
const rusageBytes = 144;
/** Where a signal has two names, the first is the usual one: SIGABRT, not SIGIOT. */
const signalName = new Map(
  Object.entries(os.constants.signals)
    .reverse()
    .map(([name, number]) => [number, name]),
);

/** How a child ended, and what it and the children that it waited for used. wait4(2), getrusage(2) */
export interface ChildExit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly cpuMs: number;
  /** The largest single process among them. */
  readonly peakRssBytes: number;
}

/** From now on, orphaned descendants become children of this process instead of init's. prctl(2) */
export function becomeSubreaper(): void {
  checked('prctl(PR_SET_CHILD_SUBREAPER)', prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
}

/**
 * Reaps the children of this process that libuv did not start: the leaders that were spawned through libc, whose exit is
 * reported, and adopted orphans, which would stay zombies otherwise.
 */
export class ChildReaper {
  readonly #leaders = new Map<number, (exit: ChildExit) => void>();
  readonly #libuvPids = new Set<number>();
  readonly #onSigchld = () => this.#onExit();
  readonly #onNodeChild = (message: unknown) => this.#leaveNodeChild((message as { process: ChildProcess }).process);
  /** Called after every batch of exits: some process of some job may have been the last. */
  onExits: () => void = () => {};
  /** Called when a child is an adopted one no more, because it has been reaped or is libuv's: its number may soon be anybody's. */
  onLeft: (pid: number) => void = () => {};

  start(): void {
    diagnostics.subscribe('child_process', this.#onNodeChild);
    process.on('SIGCHLD', this.#onSigchld);
    this.#onExit();
  }

  stop(): void {
    diagnostics.unsubscribe('child_process', this.#onNodeChild);
    process.off('SIGCHLD', this.#onSigchld);
  }

  /** Reports the exit of a child that was spawned through libc. Call it in the same turn as the spawn. */
  expectLeader(pid: number, onExit: (exit: ChildExit) => void): void {
    this.#libuvPids.delete(pid);
    this.#leaders.set(pid, onExit);
  }

  /**
   * A child that Node started; libuv reaps it, and loses its exit event if anyone else does. Returns what to call once it has
   * ended: its pid may then be anybody's.
   */
  leaveToLibuv(pid: number): () => void {
    this.#libuvPids.add(pid);
    this.onLeft(pid);
    return () => this.#libuvPids.delete(pid);
  }

  /** Packages start children, too, such as pidusage its getconf. Node says so before the child has a pid. diagnostics_channel */
  #leaveNodeChild(child: ChildProcess): void {
    child.once('spawn', () => {
      if (child.pid !== undefined) child.once('exit', this.leaveToLibuv(child.pid));
    });
  }

  /**
   * Children that nobody started on purpose: orphans of jobs. Pids of zombies included. The kernel hands them to the first thread
   * of a subreaper, so the other threads need not be asked. prctl(2)
   */
  adoptedChildren(): number[] {
    return childrenOf(process.pid, 1).filter((pid) => !this.#leaders.has(pid) && !this.#libuvPids.has(pid));
  }

  #onExit(): void {
    if (this.reap() === 'libuvFirst') setImmediate(this.#onSigchld);
    this.onExits();
  }

  /**
   * Reaps what has ended. `libuvFirst`: a child of libuv's has ended as well; libuv reaps it in this same turn of the loop, and
   * whatever ended behind it is seen in the next.
   */
  reap(): 'all' | 'libuvFirst' {
    const info = Buffer.alloc(siginfoBytes);
    for (;;) {
      info.fill(0);
      // Look before reaping: a child of libuv's must be left to it. With no child at all the call fails with ECHILD.
      if (waitid(P_ALL, 0, info, WNOHANG | WEXITED | WNOWAIT) === -1) return 'all';
      const pid = info.readInt32LE(siginfoPidOffset);
      if (pid === 0) return 'all';
      if (this.#libuvPids.has(pid)) return 'libuvFirst';
      this.#reap(pid);
    }
  }

  #reap(pid: number): void {
    const status = Buffer.alloc(4);
    const usage = Buffer.alloc(rusageBytes);
    if (wait4(pid, status, WNOHANG, usage) !== pid) return;
    this.onLeft(pid);
    const report = this.#leaders.get(pid);
    if (report === undefined) return;
    this.#leaders.delete(pid);
    report(decodeExit(status.readInt32LE(0), usage));
  }
}

/** wait(2): the low seven bits are the signal, the next byte the exit code. getrusage(2): times first, then maxrss in KiB. */
function decodeExit(status: number, usage: Buffer): ChildExit {
  const signal = status & 0x7f;
  const seconds = Number(usage.readBigInt64LE(0) + usage.readBigInt64LE(16));
  const microseconds = Number(usage.readBigInt64LE(8) + usage.readBigInt64LE(24));
  return {
    code: signal === 0 ? (status >> 8) & 0xff : null,
    signal: signal === 0 ? null : (signalName.get(signal) ?? `SIG${signal}`),
    cpuMs: seconds * 1_000 + microseconds / 1_000,
    peakRssBytes: Number(usage.readBigInt64LE(32)) * 1024,
  };
}

/**
 * Direct children of a process, over all its threads. Empty if it is gone. proc_pid_task(5)
 *
 * @param threads how many it has, where that is known: the only thread of a process need not be looked for. 1 asks the first alone
 */
export function childrenOf(pid: number | 'self', threads?: number): number[] {
  const children: number[] = [];
  for (const thread of threads === 1 ? [pid] : threadsOf(pid)) {
    for (const child of (readProcFile(`/proc/${pid}/task/${thread}/children`) ?? '').split(' ')) {
      if (child !== '') children.push(Number(child));
    }
  }
  return children;
}

function threadsOf(pid: number | 'self'): string[] {
  return ifProcessLives(() => fs.readdirSync(`/proc/${pid}/task`)) ?? [];
}
