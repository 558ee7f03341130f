import fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { CorralError, isErrno } from '../protocol/index.ts';
import { tryLock } from './linux/index.ts';

/** How long an earlier daemon's guardian may take to end that daemon's jobs, before the start is given up. */
const guardianPatienceMs = 15_000;

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
  const untilMs = performance.now() + guardianPatienceMs;
  while (!tryLock(guardianLockFd)) {
    if (performance.now() > untilMs) {
      throw new CorralError(
        'DAEMON_START_FAILED',
        `The guardian of an earlier daemon has not finished within ${guardianPatienceMs / 1_000} s; it holds ${stateDir}/guardian.lock.`,
      );
    }
    await delay(guardianRetryMs);
  }
  return { guardianLockFd };
}

function openLock(path: string): number {
  return fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
}
