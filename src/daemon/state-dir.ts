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
 * @returns what was mended, in a sentence each
 * @throws CorralError `NOT_PERMITTED` where it belongs to somebody else
 */
export function makePrivateDir(path: string, uid: number): string[] {
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
    if ((stat.mode & 0o077) !== 0 && !isPlainlyOurs(path)) {
      throw new CorralError(
        'NOT_PERMITTED',
        `${path} holds files that are not corral's, and others may read it. Nothing was changed. Choose a folder for corral alone.`,
      );
    }
    return takeFromOthers(path, stat, 0o700);
  } catch (error) {
    if (isErrno(error, 'EEXIST'))
      throw new CorralError('NOT_PERMITTED', `${path} is not a folder. Move it away, or choose another place.`);
    if (isErrno(error, 'EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'ENOTDIR')) {
      throw new CorralError(
        'NOT_PERMITTED',
        `The folder ${path} cannot be made or entered (${error.code}). Check its parents, or choose another place.`,
      );
    }
    throw error;
  }
}

/** A folder that is new, or that a daemon has used before. */
function isPlainlyOurs(path: string): boolean {
  const names = fs.readdirSync(path);
  return names.length === 0 || names.some((name) => name === 'daemon.lock' || name === 'corral.sock.lock');
}

/** Files that the daemon makes in its state directory, beside the output of jobs. */
const ownFile = /^(corral\.db(-wal|-shm)?|(daemon|guardian)\.lock|daemon\d*\.log)$/;

/**
 * Makes sure that the files of the state directory are the daemon's own and nobody else's to read.
 *
 * @returns what was mended, in a sentence each
 * @throws CorralError `NOT_PERMITTED` where one belongs to somebody else, as after a start as root by mistake
 */
export function checkOwnFiles(stateDir: string, uid: number): string[] {
  return fs
    .readdirSync(stateDir)
    .filter((name) => ownFile.test(name))
    .flatMap((name) => {
      const path = `${stateDir}/${name}`;
      const stat = fs.lstatSync(path);
      if (!stat.isFile())
        throw new CorralError('NOT_PERMITTED', `${path} is not a file. Nothing was changed. Move it away.`);
      if (stat.uid !== uid)
        throw new CorralError(
          'NOT_PERMITTED',
          `${path} belongs to uid ${stat.uid}, not to you (uid ${uid}). Nothing was changed. Give it back: chown ${uid} ${path}`,
        );
      return takeFromOthers(path, stat, 0o600);
    });
}

function takeFromOthers(path: string, { mode }: fs.Stats, wanted: number): string[] {
  if ((mode & 0o077) === 0) return [];
  fs.chmodSync(path, wanted);
  return [
    `${path} could be looked into by others (mode ${(mode & 0o777).toString(8)}); it is ${wanted.toString(8)} now.`,
  ];
}

/**
 * What jobs printed, beside no store: new jobs would be given the same numbers, and write on. It is set aside.
 *
 * @returns what was done, in a sentence each
 */
export function setStrangeOutputAside(stateDir: string, wallMs: number): string[] {
  const output = `${stateDir}/output`;
  if (fs.existsSync(`${stateDir}/corral.db`) || !fs.existsSync(output)) return [];
  const aside = `${output}.${new Date(wallMs).toISOString().replaceAll(/[-:]|\..*/g, '')}`;
  fs.renameSync(output, aside);
  return [`There is output of jobs and no store that knows them; it was set aside in ${aside}.`];
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
 * The right to bind a socket's path. Whoever binds removes what is there, so a daemon of another state directory must not.
 *
 * The right goes with the lock file that is at `${socket}.lock`, not with one that was there and was removed: two daemons would
 * each hold one otherwise.
 */
export class SocketLock {
  readonly #path: string;
  #fd: number | null = null;

  constructor(socket: string) {
    this.#path = `${socket}.lock`;
  }

  /** Whether the lock file that is there is the one that this daemon has locked. */
  isHeld(): boolean {
    return this.#fd !== null && isFileAt(this.#path, this.#fd);
  }

  /** Takes the lock, or takes it again where its file was removed. `false`: another daemon has it. */
  claim(): boolean {
    if (this.isHeld()) return true;
    const fd = openLock(this.#path);
    // Between the opening and the locking the file may have been removed, and another made and locked.
    if (!tryLock(fd) || !isFileAt(this.#path, fd)) {
      fs.closeSync(fd);
      return false;
    }
    if (this.#fd !== null) fs.closeSync(this.#fd);
    this.#fd = fd;
    return true;
  }
}

/**
 * Takes the socket for this process.
 *
 * @throws CorralError `DAEMON_RUNNING` where another daemon has it
 */
export function lockSocket(socket: string): SocketLock {
  const lock = new SocketLock(socket);
  if (lock.claim()) return lock;
  throw new CorralError(
    'DAEMON_RUNNING',
    `Another corral daemon already serves the socket ${socket}. Name another: CORRAL_RUNTIME_DIR or CORRAL_SOCKET.`,
  );
}

function isFileAt(path: string, fd: number): boolean {
  const there = fs.statSync(path, { throwIfNoEntry: false, bigint: true });
  const held = fs.fstatSync(fd, { bigint: true });
  return there !== undefined && there.dev === held.dev && there.ino === held.ino;
}

function openLock(path: string): number {
  try {
    return fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
  } catch (error) {
    if (!isErrno(error, 'EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT', 'EISDIR')) throw error;
    throw new CorralError(
      'NOT_PERMITTED',
      `${path} cannot be opened to write (${error.code}). Nothing was changed. Check that its folder is yours, can be written, and has room.`,
    );
  }
}
