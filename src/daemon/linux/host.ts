import { checked, errnoName, flock, getsockopt, getxattr, lastErrno, systemError } from './libc.ts';

const LOCK_EX = 2;
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
