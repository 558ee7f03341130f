import fs from 'node:fs';
import { isErrno } from '../../protocol/index.ts';
import type { LeaderExit } from '../core/index.ts';

/** A program's name may be as long as a command; a message is for people. */
const maxMessageLength = 1_000;

/** Why a program could not be started, in words, with the exit code that a shell would give: 127 not found, 126 not executable. */
export class SpawnError extends Error {
  readonly exit: LeaderExit;

  constructor(message: string, exitCode: 126 | 127) {
    super(message.length > maxMessageLength ? `${message.slice(0, maxMessageLength)}…` : message);
    this.name = 'SpawnError';
    this.exit = { code: exitCode, signal: null };
  }
}

/** execvp(3) searches these where PATH is not set. */
const defaultSearchPath = '/usr/local/bin:/usr/bin:/bin';

/**
 * Finds the program as execvp(3) does, in the PATH of the job, not of the daemon.
 *
 * @returns an absolute path
 * @throws SpawnError
 */
export function findProgram(name: string, env: Readonly<Record<string, string>>, cwd: string): string {
  if (name.includes('/')) {
    const path = name.startsWith('/') ? name : `${cwd}/${name}`;
    const problem = whyNotExecutable(path);
    if (problem !== null) throw new SpawnError(`${name}: ${problem}`, problem === notFound ? 127 : 126);
    return path;
  }
  const searchPath = env.PATH ?? defaultSearchPath;
  let denied: SpawnError | null = null;
  for (const folder of searchPath.split(':')) {
    const path = `${folder === '' ? cwd : folder.startsWith('/') ? folder : `${cwd}/${folder}`}/${name}`;
    const problem = whyNotExecutable(path);
    if (problem === null) return path;
    if (problem !== notFound) denied ??= new SpawnError(`${path}: ${problem}`, 126);
  }
  throw denied ?? new SpawnError(`${name}: command not found in PATH=${searchPath}`, 127);
}

/** @throws SpawnError where the folder to start in is gone or not a folder */
export function checkFolder(cwd: string): void {
  const stat = statOrProblem(cwd);
  if (typeof stat === 'string') throw new SpawnError(`cannot start in ${cwd}: ${stat}`, 126);
  if (!stat.isDirectory()) throw new SpawnError(`cannot start in ${cwd}: it is not a folder`, 126);
}

/** The words for an exec that the kernel refused. execve(2) */
export function describeSpawnFailure(file: string, error: unknown): SpawnError {
  if (isErrno(error, 'ENOENT'))
    return new SpawnError(`${file}: its interpreter (the #! line or the dynamic loader) does not exist`, 127);
  if (isErrno(error, 'EACCES', 'EPERM')) return new SpawnError(`${file}: permission denied`, 126);
  if (isErrno(error, 'ENOEXEC')) return new SpawnError(`${file}: not a program for this machine`, 126);
  if (isErrno(error, 'E2BIG'))
    return new SpawnError(
      `${file}: arguments and environment are too large for the kernel (E2BIG); pass them in a file`,
      126,
    );
  if (isErrno(error, 'EAGAIN', 'ENOMEM'))
    return new SpawnError(
      `${file}: no process could be made (${error.code}); a limit on processes or memory is reached`,
      126,
    );
  if (error instanceof Error) return new SpawnError(`${file}: ${error.message}`, 126);
  throw error;
}

const notFound = 'no such file';

function whyNotExecutable(path: string): string | null {
  const stat = statOrProblem(path);
  if (typeof stat === 'string') return stat;
  if (stat.isDirectory()) return 'is a folder';
  try {
    fs.accessSync(path, fs.constants.X_OK);
    return null;
  } catch (error) {
    if (isErrno(error, 'EACCES')) return 'not executable (chmod +x it)';
    throw error;
  }
}

function statOrProblem(path: string): fs.Stats | string {
  try {
    return fs.statSync(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return notFound;
    if (isErrno(error, 'EACCES')) return 'permission denied';
    if (isErrno(error, 'ELOOP', 'ENAMETOOLONG')) return `cannot be opened (${error.code})`;
    throw error;
  }
}
