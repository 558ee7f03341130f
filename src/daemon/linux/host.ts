import fs from 'node:fs';
import { checked, errnoName, flock, getsockopt, getxattr, lastErrno, systemError } from './libc.ts';
import { ifProcessLives } from './proc-file.ts';

const LOCK_EX = 2;
const O_CLOEXEC = 0o2000000;
const LOCK_NB = 4;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

/** Takes an exclusive lock on an open file if nobody holds it. It ends when the last copy of the descriptor is closed. flock(2) */
export function tryLock(fd: number): boolean {
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  if (errnoName(lastErrno()) === 'EAGAIN') return false;
  throw systemError('flock');
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Who is at the other end of a Unix socket, as the kernel saw it at connect. unix(7) */
export function peerCredentials(fd: number): PeerCredentials {
  const value = Buffer.alloc(12);
  const length = Buffer.alloc(4);
  length.writeInt32LE(value.length);
  checked('getsockopt(SO_PEERCRED)', getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length));
  return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
}

/** Whether systemd handed this cgroup over to us. It sets the attribute on units with Delegate=yes. systemd.resource-control(5) */
export function isDelegated(cgroupDir: string): boolean {
  const value = Buffer.alloc(8);
  return ['user.delegate', 'trusted.delegate'].some((name) => {
    const length = getxattr(cgroupDir, name, value, value.length);
    return length > 0 && value.toString('latin1', 0, length) === '1';
  });
}

/**
 * Closes what this process inherited beyond stdin, stdout and stderr. A daemon that somebody's shell started would otherwise
 * keep that shell's locks and pipes open, and hand them to jobs. Everything that Node opens itself is close-on-exec; what
 * is not came from outside. proc_pid_fdinfo(5)
 */
export function closeInheritedDescriptors(): void {
  for (const name of fs.readdirSync('/proc/self/fd')) {
    const fd = Number(name);
    const info = ifProcessLives(() => fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'));
    const flags = /^flags:\s+([0-7]+)$/m.exec(info ?? '')?.[1];
    if (fd > 2 && flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0) fs.closeSync(fd);
  }
}
