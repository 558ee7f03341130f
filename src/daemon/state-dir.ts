import fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { CorralError, isErrno } from '../protocol/index.ts';
import { signalExactly, tryLock } from './linux/index.ts';

/** How long an earlier daemon's guardian may take to end that daemon's jobs, before it is ended itself. */
const guardianPatienceMs = 7_000;

const guardianRetryMs = 10;

export interface StateDirLocks {
  /** Inherited by the guardian, which so holds the lock until it has finished. */
  readonly guardianLockFd: number;
}

/**
 * Makes a folder that only its owner can enter, with its parents.
 *
 * @throws CorralError `NOT_PERMITTED` where it belongs to somebody else
 */
export function makePrivateDir(path: string, uid: number): void {
  try {
    fs.mkdirSync(path, { recursive: true, mode: 0o700 });
    const stat = fs.lstatSync(path);
    if (!stat.isDirectory())
      throw new CorralError('NOT_PERMITTED', `${path} is not a folder. Move it away, or choose another place.`);
    if (stat.uid !== uid)
      throw new CorralError(
        'NOT_PERMITTED',
        `${path} belongs to uid ${stat.uid}, not to you (uid ${uid}). Choose another place.`,
      );
    // A folder that others may write to is theirs as well, such as /tmp; one that they may only read was made under a wide umask.
    if ((stat.mode & 0o022) !== 0) {
      throw new CorralError(
        'NOT_PERMITTED',
        `${path} can be written by others (mode ${(stat.mode & 0o777).toString(8)}). Choose a folder for corral alone, or: chmod 700 ${path}`,
      );
    }
    if ((stat.mode & 0o077) !== 0) fs.chmodSync(path, 0o700);
  } catch (error) {
    if (isErrno(error, 'EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'ENOTDIR')) {
      throw new CorralError(
        'NOT_PERMITTED',
        `The folder ${path} cannot be made or entered (${error.code}). Check its parents, or choose another place.`,
      );
    }
    throw error;
  }
}

/**
 * Takes the state directory for this process, until it ends. The kernel gives the lock up with the process, so a stale lock
 * file never blocks a start. Then waits for the guardian of an earlier daemon to finish.
 *
 * @throws CorralError `DAEMON_RUNNING` where another daemon has it
 */
export async function lockStateDir(stateDir: string): Promise<StateDirLocks> {
  const daemonLock = openLock(`${stateDir}/daemon.lock`);
  if (!tryLock(daemonLock)) {
    const owner = fs.readFileSync(daemonLock, 'utf8').trim();
    throw new CorralError(
      'DAEMON_RUNNING',
      `Another corral daemon${owner === '' ? '' : ` (pid ${owner})`} already serves ${stateDir}.`,
    );
  }
  fs.ftruncateSync(daemonLock);
  fs.writeSync(daemonLock, `${process.pid}\n`, 0);
  const guardianLockFd = openLock(`${stateDir}/guardian.lock`);
  const startedMs = performance.now();
  while (!tryLock(guardianLockFd)) {
    const waitedMs = performance.now() - startedMs;
    if (waitedMs > 2 * guardianPatienceMs) {
      throw new CorralError(
        'DAEMON_START_FAILED',
        `Some process holds ${stateDir}/guardian.lock and does not let go. Find it with: fuser ${stateDir}/guardian.lock`,
      );
    }
    if (waitedMs > guardianPatienceMs) endGuardian(guardianLockFd);
    await delay(guardianRetryMs);
  }
  return { guardianLockFd };
}

/** A guardian that hangs, such as a stopped one, is ended: the sweep that follows does its work. */
function endGuardian(lockFd: number): void {
  const [pid = 0, startTicks = 0] = fs.readFileSync(`/proc/self/fd/${lockFd}`, 'utf8').split(' ').map(Number);
  if (pid > 0) signalExactly({ pid, startTicks }, 'SIGKILL');
}

/**
 * Takes the socket for this process. Whoever binds removes what is there, so a daemon of another state directory must not.
 *
 * @throws CorralError `DAEMON_RUNNING` where another daemon has it
 */
export function lockSocket(socket: string): void {
  let fd: number;
  try {
    fd = openLock(`${socket}.lock`);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new CorralError(
      'NOT_PERMITTED',
      `The socket ${socket} cannot be made: ${error.message}. Check its folder, or name another: CORRAL_SOCKET.`,
    );
  }
  if (tryLock(fd)) return;
  throw new CorralError(
    'DAEMON_RUNNING',
    `Another corral daemon already serves the socket ${socket}. Name another: CORRAL_RUNTIME_DIR or CORRAL_SOCKET.`,
  );
}

function openLock(path: string): number {
  return fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
}
