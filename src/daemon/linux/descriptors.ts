import { checked, prlimit } from './libc.ts';

const RLIMIT_NOFILE = 7;

/**
 * How many file descriptors this process may have. Node raises the soft limit to the hard one before any of our code runs
 * (node.cc, PlatformInit), so what it was before cannot be told, and jobs inherit the raised one. getrlimit(2)
 */
export function descriptorLimit(): number {
  const limits = Buffer.alloc(16);
  checked('prlimit', prlimit(0, RLIMIT_NOFILE, null, limits));
  return Number(limits.readBigUInt64LE(0));
}
