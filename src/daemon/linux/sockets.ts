import fs from 'node:fs';
import { peerCredentials } from './host.ts';
import { errnoName, getpeername, getsockopt, lastErrno, pidfdGetfd, pidfdOpen, systemError } from './libc.ts';
import { ifProcessLives, readProcFile } from './proc-file.ts';
import type { ReadBudget } from './processes.ts';

const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_PROTOCOL = 38;
const SO_DOMAIN = 39;
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_VSOCK = 40;
const SOCK_STREAM = 1;
const SOCK_SEQPACKET = 5;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
/** struct tcp_info of linux/tcp.h: bytes that the peer has acknowledged, and bytes that came from it. */
const ackedOffset = 120;
const receivedOffset = 128;
const tcpInfoBytes = 136;
/** struct sockaddr_storage. */
const addressBytes = 128;

/** The open connections of a process to others. */
export interface Connections {
  /** Bytes that have passed through those of TCP, both ways. */
  readonly bytes: number;
  /** How many there are of other kinds, of which the kernel does not tell. */
  readonly uncounted: number;
}

/** To list so many descriptors takes some milliseconds. */
const mostTableSize = 4_096;

const none: Connections = { bytes: 0, uncounted: 0 };

/**
 * Connections of streams, and of packets in sequence; not datagrams, whose peer may never hear of it, as in syslog(3). Each socket
 * is asked through a copy of its descriptor, which costs the same however many sockets the host has. pidfd_getfd(2)
 *
 * @param kin processes that are no others: what it has to do with them over Unix sockets does not count. An event loop may have
 *   such a socket to wake itself, and many a parent one to each child.
 * @returns `null` where it is not known: this process may not look at the other one's descriptors, or there are too many
 */
export function connectionsOf(pid: number, kin: ReadonlySet<number>, budget: ReadBudget): Connections | null {
  const pidfd = pidfdOpen(pid);
  if (pidfd === -1) return hasGone('pidfd_open', 'ESRCH', 'EINVAL') ? none : null;
  try {
    const sockets = socketsOf(pid, budget);
    if (sockets === null) return null;
    let { bytes, uncounted } = none;
    for (const socket of sockets) {
      const fd = pidfdGetfd(pidfd, socket);
      if (fd === -1) {
        if (hasGone('pidfd_getfd', 'ESRCH', 'EBADF')) continue;
        return null;
      }
      try {
        const passed = isConnected(fd, kin) ? bytesThrough(fd) : 0;
        if (passed === null) uncounted += 1;
        else bytes += passed;
      } finally {
        fs.closeSync(fd);
      }
    }
    return { bytes, uncounted };
  } finally {
    fs.closeSync(pidfd);
  }
}

/** Whether the last call failed because what it was about is no more. If not, it was refused: by privilege, a filter, or an old kernel. */
function hasGone(call: string, ...codes: readonly string[]): boolean {
  const code = errnoName(lastErrno());
  if (codes.includes(code)) return true;
  if (['EPERM', 'EACCES', 'ENOSYS', 'EMFILE', 'ENFILE', 'ENOMEM'].includes(code)) return false;
  throw systemError(call);
}

/** Its descriptors that are sockets; `null` where they are too many, or not for us to see. proc_pid_fd(5) */
function socketsOf(pid: number, budget: ReadBudget): number[] | null {
  if (tableSize(pid) > mostTableSize) return null;
  const descriptors = ifProcessLives(() => fs.readdirSync(`/proc/${pid}/fd`));
  if (descriptors === undefined) return fs.existsSync(`/proc/${pid}`) ? null : [];
  budget.left -= descriptors.length;
  if (budget.left < 0) return null;
  return descriptors.map(Number).filter((fd) => {
    const target = ifProcessLives(() => fs.readlinkSync(`/proc/${pid}/fd/${fd}`));
    return target?.startsWith('socket:') ?? false;
  });
}

/** How many descriptors it has room for. That is more than it has, and told at once, while to list a million takes long. */
function tableSize(pid: number): number {
  return Number(/^FDSize:\t(\d+)$/m.exec(readProcFile(`/proc/${pid}/status`) ?? '')?.[1] ?? 0);
}

/** The peer of a pair of sockets is whoever made the pair. unix(7), SO_PEERCRED */
function isConnected(fd: number, kin: ReadonlySet<number>): boolean {
  const domain = option(fd, SO_DOMAIN);
  if (![AF_UNIX, AF_INET, AF_INET6, AF_VSOCK].includes(domain)) return false; // Of netlink, all have a peer: the kernel.
  if (![SOCK_STREAM, SOCK_SEQPACKET].includes(option(fd, SO_TYPE))) return false;
  const length = Buffer.alloc(4);
  length.writeInt32LE(addressBytes);
  if (getpeername(fd, Buffer.alloc(addressBytes), length) === -1) return false;
  return domain !== AF_UNIX || !kin.has(peerCredentials(fd).pid);
}

/** Both ways; `null` where the kernel does not count them. tcp(7) */
function bytesThrough(fd: number): number | null {
  if (![AF_INET, AF_INET6].includes(option(fd, SO_DOMAIN)) || option(fd, SO_PROTOCOL) !== IPPROTO_TCP) return null;
  const info = Buffer.alloc(tcpInfoBytes);
  const length = Buffer.alloc(4);
  length.writeInt32LE(info.length);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, length) === -1) return null;
  return Number(info.readBigUInt64LE(ackedOffset) + info.readBigUInt64LE(receivedOffset));
}

function option(fd: number, name: number): number {
  const value = Buffer.alloc(4);
  const length = Buffer.alloc(4);
  length.writeInt32LE(value.length);
  if (getsockopt(fd, SOL_SOCKET, name, value, length) === -1) throw systemError('getsockopt');
  return value.readInt32LE(0);
}
