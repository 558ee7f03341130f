/** Limits that Linux keeps for a process, not for a job: they are inherited, and each process has its own. */
import fs from 'node:fs';
import os from 'node:os';
import { isErrno } from '../../protocol/index.ts';
import { errnoName, lastErrno, prlimit, setpriority, systemError } from './libc.ts';

const RLIMIT_DATA = 2;
const RLIMIT_NICE = 13;
const PRIO_PROCESS = 0;
const PRIO_PGRP = 1;
const infinity = 0xffff_ffff_ffff_ffffn;

export type LimitOutcome = 'done' | 'gone' | 'refused';

/**
 * From now on the process, and each that it forks, gets no more private memory than this: its heap and its private writable
 * mappings count, since Linux 4.7; an allocation beyond fails in the program. A lower hard limit stays. getrlimit(2), RLIMIT_DATA
 */
export function limitData(pid: number, bytes: number): LimitOutcome {
  const limits = Buffer.alloc(16);
  if (prlimit(pid, RLIMIT_DATA, null, limits) === -1) return outcome('prlimit');
  const hard = limits.readBigUInt64LE(8);
  const most = BigInt(bytes) < hard ? BigInt(bytes) : hard;
  limits.writeBigUInt64LE(most, 0);
  limits.writeBigUInt64LE(most, 8);
  return prlimit(pid, RLIMIT_DATA, limits, null) === -1 ? outcome('prlimit') : 'done';
}

/** Every thread of every process in the group. setpriority(2) */
export function niceGroup(pgrp: number, nice: number): LimitOutcome {
  return setpriority(PRIO_PGRP, pgrp, nice) === -1 ? outcome('setpriority') : 'done';
}

/** The main thread of a process, which is the only one in the moments after a fork. */
export function niceProcess(pid: number, nice: number): LimitOutcome {
  return setpriority(PRIO_PROCESS, pid, nice) === -1 ? outcome('setpriority') : 'done';
}

/**
 * Where the kernel shares the CPU out among sessions, nice counts only within one, and the session's own value is what others
 * feel. It exists only with autogroups, and an ordinary user may set it ten times a second: whoever comes too soon keeps what
 * nice does alone. sched(7)
 */
export function niceSession(leader: number, nice: number): void {
  try {
    fs.writeFileSync(`/proc/${leader}/autogroup`, String(nice), { flag: 'r+' });
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ESRCH', 'EAGAIN', 'EPERM', 'EACCES', 'EINVAL', 'EROFS')) throw error;
  }
}

/** The lowest value of nice that this process may give to others, found by trying. */
export function lowestNice(): number {
  const own = os.getPriority();
  if (setpriority(PRIO_PROCESS, 0, -20) === 0) {
    setpriority(PRIO_PROCESS, 0, own);
    return -20;
  }
  const limits = Buffer.alloc(16);
  if (prlimit(0, RLIMIT_NICE, null, limits) === -1) throw systemError('prlimit');
  const soft = limits.readBigUInt64LE(0);
  return Math.min(own, soft === infinity ? -20 : 20 - Number(soft));
}

function outcome(call: string): LimitOutcome {
  const code = errnoName(lastErrno());
  if (code === 'ESRCH') return 'gone';
  if (code === 'EPERM' || code === 'EACCES') return 'refused';
  throw systemError(call);
}
