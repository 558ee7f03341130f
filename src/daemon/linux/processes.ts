import fs from 'node:fs';
import os from 'node:os';
import { checked, clockGettime, errnoName, lastErrno, pidfdOpen, pidfdSendSignal, systemError } from './libc.ts';
import { ifProcessLives, readProcFile } from './proc-file.ts';

/** The fields of /proc/PID/stat that tell one process from another and whose it is. proc_pid_stat(5) */
export interface ProcessStat {
  readonly pid: number;
  readonly state: string;
  readonly ppid: number;
  readonly pgrp: number;
  readonly session: number;
  readonly threads: number;
  /** CPU time in ticks of 10 ms: its own, all its threads, and that of the children that it waited for. */
  readonly cpuTicks: number;
  /** Clock ticks after boot at which it started. Together with the pid and the boot, nobody else's. */
  readonly startTicks: number;
}

export function readStat(pid: number): ProcessStat | undefined {
  const text = readProcFile(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name in parentheses may hold spaces and parentheses itself, so fields count from the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ', 20);
  return {
    pid,
    state: fields[0] ?? '',
    ppid: Number(fields[1]),
    pgrp: Number(fields[2]),
    session: Number(fields[3]),
    threads: Number(fields[17]),
    cpuTicks: Number(fields[11]) + Number(fields[12]) + Number(fields[13]) + Number(fields[14]),
    startTicks: Number(fields[19]),
  };
}

const CLOCK_BOOTTIME = 7;

/** `startTicks` of a process that would start now. clock_gettime(2) */
export function ticksNow(): number {
  const time = Buffer.alloc(16);
  checked('clock_gettime', clockGettime(CLOCK_BOOTTIME, time));
  return Number(time.readBigInt64LE(0)) * 100 + Math.floor(Number(time.readBigInt64LE(8)) / 10_000_000);
}

/** A zombie whose other threads still run is alive: only its main thread has exited. */
export function isAlive(stat: ProcessStat): boolean {
  return (stat.state !== 'Z' && stat.state !== 'X') || stat.threads > 1;
}

/** How much may still be read before somebody else gets a turn of the event loop. Less than nothing is left: it was not enough. */
export interface ReadBudget {
  left: number;
}

/**
 * How often the threads of a process have waited for something and gone on, of those that are alive. proc_pid_status(5),
 * voluntary_ctxt_switches
 *
 * @returns `undefined` where it has gone; `null` where it has more threads than there may be reads
 */
export function waitsOf(pid: number, budget: ReadBudget): number | null | undefined {
  const main = readWaits(pid, pid, budget);
  if (main === undefined || main.threads === 1) return main?.waits;
  if (main.threads > budget.left) return null;
  const others = ifProcessLives(() => fs.readdirSync(`/proc/${pid}/task`)) ?? [];
  return others.reduce(
    (sum, thread) => sum + (Number(thread) === pid ? 0 : (readWaits(pid, thread, budget)?.waits ?? 0)),
    main.waits,
  );
}

function readWaits(
  pid: number,
  thread: number | string,
  budget: ReadBudget,
): { waits: number; threads: number } | undefined {
  budget.left -= 1;
  const text = readProcFile(`/proc/${pid}/task/${thread}/status`);
  const found = /^Threads:\t(\d+)$.*^voluntary_ctxt_switches:\t(\d+)$/ms.exec(text ?? '');
  return found === null ? undefined : { threads: Number(found[1]), waits: Number(found[2]) };
}

export function listPids(): number[] {
  const pids: number[] = [];
  for (const name of fs.readdirSync('/proc')) {
    const pid = Number(name);
    if (Number.isInteger(pid)) pids.push(pid);
  }
  return pids;
}

/** An id of the running boot: pids and start ticks of another boot say nothing about this one. */
export function readBootId(): string {
  return fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

export type SignalOutcome = 'sent' | 'gone' | 'notOurs' | 'refused';

/**
 * Sends a signal to a process only if it proves to be the one that is meant. The pidfd is opened first and the proof read
 * after, so the process that was looked at is the one that is signalled, however fast pids are reused. pidfd_open(2)
 */
export function signalIf(pid: number, signal: NodeJS.Signals, isOurs: (stat: ProcessStat) => boolean): SignalOutcome {
  const pidfd = pidfdOpen(pid);
  if (pidfd === -1) {
    const code = errnoName(lastErrno());
    if (code === 'ESRCH' || code === 'EINVAL') return 'gone';
    throw systemError('pidfd_open');
  }
  try {
    const stat = readStat(pid);
    if (stat === undefined) return 'gone';
    if (!isOurs(stat)) return 'notOurs';
    if (pidfdSendSignal(pidfd, os.constants.signals[signal]) === 0) return 'sent';
    const code = errnoName(lastErrno());
    if (code === 'ESRCH') return 'gone';
    if (code === 'EPERM') return 'refused';
    throw systemError('pidfd_send_signal');
  } finally {
    fs.closeSync(pidfd);
  }
}

/** Sends a signal to the process that was looked at, and to no later owner of its pid. */
export function signalExactly(target: { pid: number; startTicks: number }, signal: NodeJS.Signals): SignalOutcome {
  return signalIf(target.pid, signal, (now) => now.startTicks === target.startTicks);
}
