/**
 * Node's compile cache, in the state directory: with it start-up takes about half the time, and from TypeScript less than half.
 * Loaded before the cache is on, so it imports little.
 */
import fs from 'node:fs';
import module from 'node:module';
import { CorralError, isErrno } from './protocol/errors.ts';
import { resolvePaths } from './protocol/paths.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Errors of a state directory that is not there, is not ours, or takes nothing more. */
const withoutPlace = ['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'ELOOP', 'EROFS', 'ENOSPC', 'EDQUOT'];

/**
 * The folder of the cache, for `NODE_COMPILE_CACHE`. What is in it is run, so it lies where nobody else can write.
 *
 * @returns `null` where there is no state directory of our own that a daemon has used; it is not made for this
 */
export function compileCacheDir(env: Environment, uid: number): string | null {
  try {
    const { stateDir } = resolvePaths(env, uid);
    const stat = fs.lstatSync(stateDir);
    if (!stat.isDirectory() || stat.uid !== uid || (stat.mode & 0o022) !== 0) return null;
    if (!fs.existsSync(`${stateDir}/daemon.lock`)) return null; // A folder of other things, that was named by mistake.
    const dir = `${stateDir}/compile-cache`;
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 }); // Node would make it as wide as the umask lets it.
    return dir;
  } catch (error) {
    // Whoever needs the place says what is wrong with it; --help must work without one.
    if (error instanceof CorralError || isErrno(error, ...withoutPlace)) return null;
    throw error;
  }
}

/** Turns the cache on for what this process loads from now on. */
export function useCompileCache(env: Environment, uid: number): string | null {
  const dir = compileCacheDir(env, uid);
  if (dir !== null) module.enableCompileCache(dir);
  return dir;
}
