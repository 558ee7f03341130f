import fs from 'node:fs';
import { bytesFromText, isErrno, pathFromText, showBytes } from '../../protocol/index.ts';
import type { LeaderExit } from '../core/index.ts';

/** A program's name may be as long as a command; a message is for people. */
const maxMessageLength = 1_000;

/** Why a program could not be started, in words, with the exit code that a shell would give: 127 not found, 126 not executable. */
export class SpawnError extends Error {
  readonly exit: LeaderExit;

  constructor(message: string, exitCode: 126 | 127) {
    const shown = showBytes(message);
    super(shown.length > maxMessageLength ? `${shown.slice(0, maxMessageLength).toWellFormed()}…` : shown);
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

/** @throws SpawnError where the folder to start in is gone, not a folder, or may not be entered */
export function checkFolder(cwd: string): void {
  const stat = statOrProblem(cwd);
  if (stat === notFound) throw new SpawnError(`cannot start in ${cwd}: there is no such folder (any more)`, 126);
  if (typeof stat === 'string') throw new SpawnError(`cannot start in ${cwd}: ${stat}`, 126);
  if (!stat.isDirectory()) throw new SpawnError(`cannot start in ${cwd}: it is not a folder`, 126);
  if (!mayExecute(cwd)) throw new SpawnError(`cannot start in ${cwd}: permission denied`, 126);
}

/** What was to be started. */
export interface Failed {
  readonly file: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** The words for an exec that the kernel refused. execve(2) */
export function describeSpawnFailure(failed: Failed, error: unknown): SpawnError {
  const { file } = failed;
  if (isErrno(error, 'ENOENT'))
    return new SpawnError(`${file}: its interpreter (the #! line or the dynamic loader) does not exist`, 127);
  if (isErrno(error, 'EACCES', 'EPERM')) return new SpawnError(`${file}: permission denied`, 126);
  if (isErrno(error, 'ENOEXEC')) return new SpawnError(`${file}: not a program for this machine`, 126);
  if (isErrno(error, 'E2BIG')) return new SpawnError(`${file}: ${whatIsTooLarge(failed)}`, 126);
  if (isErrno(error, 'EAGAIN', 'ENOMEM'))
    return new SpawnError(
      `${file}: no process could be made (${error.code}); a limit on processes or memory is reached`,
      126,
    );
  if (isErrno(error, 'EMFILE', 'ENFILE'))
    return new SpawnError(
      `${file}: no file can be opened (${error.code}); ${error.code === 'EMFILE' ? "the daemon's limit on open files is reached: start it with a higher one (ulimit -Hn, LimitNOFILE=)" : "the host's limit on open files is reached: raise it (sysctl fs.file-max)"}, or run fewer jobs at once`,
      126,
    );
  if (error instanceof Error) return new SpawnError(`${file}: ${error.message}`, 126);
  throw error;
}

/** The most that one argument or variable may have, its NUL included: MAX_ARG_STRLEN, with pages of 4 KiB. execve(2) */
const maxStringBytes = 128 * 1024;

/** The kernel says E2BIG for three things; only one of them is mended by a shorter command. */
function whatIsTooLarge({ argv, env }: Failed): string {
  const mostBytes = `the kernel takes ${maxStringBytes - 1} (E2BIG)`;
  for (const [index, argument] of argv.entries()) {
    const bytes = bytesOf(argument);
    if (bytes >= maxStringBytes)
      return `argument ${index} has ${bytes} bytes and ${mostBytes}; pass it in a file or on standard input`;
  }
  const variables = Object.entries(env).map(([name, value]) => ({ name, bytes: bytesOf(`${name}=${value}`) }));
  for (const { name, bytes } of variables) {
    if (bytes >= maxStringBytes)
      return `the variable ${name} has ${bytes} bytes with its name and ${mostBytes}; unset it, or pass it in a file`;
  }
  const argvBytes = argv.reduce((sum, argument) => sum + bytesOf(argument), 0);
  const envBytes = variables.reduce((sum, { bytes }) => sum + bytes, 0);
  return `its ${argv.length} arguments (${argvBytes} bytes) and ${variables.length} variables (${envBytes} bytes) are together too large for the kernel (E2BIG), which takes a quarter of the daemon's stack limit (ulimit -s); ${
    argvBytes > envBytes ? 'pass arguments in a file' : 'run it with a smaller environment (env -i)'
  }`;
}

function bytesOf(text: string): number {
  return text.isWellFormed() ? Buffer.byteLength(text) : bytesFromText(text).length;
}

const notFound = 'no such file';

function whyNotExecutable(path: string): string | null {
  const stat = statOrProblem(path);
  if (typeof stat === 'string') return stat;
  if (stat.isDirectory()) return 'is a folder';
  return mayExecute(path) ? null : 'not executable (chmod +x it)';
}

function mayExecute(path: string): boolean {
  try {
    fs.accessSync(pathFromText(path), fs.constants.X_OK);
    return true;
  } catch (error) {
    if (isErrno(error, 'EACCES')) return false;
    throw error;
  }
}

function statOrProblem(path: string): fs.Stats | string {
  try {
    return fs.statSync(pathFromText(path));
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return notFound;
    if (isErrno(error, 'EACCES')) return 'permission denied';
    if (isErrno(error, 'ELOOP', 'ENAMETOOLONG')) return `cannot be opened (${error.code})`;
    throw error;
  }
}
