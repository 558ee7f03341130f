/**
 * A mark that every process of an attempt inherits and that `setsid`, a double fork, `exec` and a wiped environment leave in
 * place: an otherwise meaningless value of the soft limit RLIMIT_RTTIME. Resource limits are kept over fork and exec
 * (getrlimit(2)); this one limits real-time CPU time in microseconds, and every value used here is beyond 200,000 years.
 *
 * The value: 8 bits of magic, 32 bits of the daemon's instance, 24 bits that count its launches.
 */
import { checked, prlimit } from './libc.ts';

const RLIMIT_RTTIME = 15;
const infinity = 0xffff_ffff_ffff_ffffn;
const magic = 0x5cn << 56n;
const launchBits = 24n;

export interface Mark {
  /** 32 bits, drawn once per state directory. */
  readonly instance: number;
  /** Counts launches, from 0 again after 16 million. */
  readonly launch: number;
}

/** Launch numbers are below this. */
export const maxLaunches = 1 << Number(launchBits);

export function encodeMark(mark: Mark): bigint {
  return magic | (BigInt(mark.instance >>> 0) << launchBits) | BigInt(mark.launch % maxLaunches);
}

export function decodeMark(value: bigint): Mark | null {
  if (value >> 56n !== magic >> 56n) return null;
  return { instance: Number((value >> launchBits) & 0xffff_ffffn), launch: Number(value & BigInt(maxLaunches - 1)) };
}

/** The mark of a process; `null` if it has none, is gone, or may not be asked. */
export function readMark(pid: number): Mark | null {
  const limits = Buffer.alloc(16);
  return prlimit(pid, RLIMIT_RTTIME, null, limits) === -1 ? null : decodeMark(limits.readBigUInt64LE(0));
}

/** Whether marks can be set here: the hard limit must leave room. */
export function canMark(): boolean {
  const limits = Buffer.alloc(16);
  checked('prlimit', prlimit(0, RLIMIT_RTTIME, null, limits));
  return limits.readBigUInt64LE(8) === infinity;
}

/** Runs `fn`, a synchronous spawn, while this process carries the mark, so that the child is born with it. */
export function withMark<T>(mark: Mark, fn: () => T): T {
  const before = Buffer.alloc(16);
  const during = Buffer.alloc(16);
  checked('prlimit', prlimit(0, RLIMIT_RTTIME, null, before));
  during.writeBigUInt64LE(encodeMark(mark), 0);
  during.writeBigUInt64LE(before.readBigUInt64LE(8), 8);
  checked('prlimit', prlimit(0, RLIMIT_RTTIME, during, null));
  try {
    return fn();
  } finally {
    checked('prlimit', prlimit(0, RLIMIT_RTTIME, before, null));
  }
}
