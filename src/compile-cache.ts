import fs from 'node:fs';
import module from 'node:module';
import { CorralError, isErrno } from './protocol/errors.ts';
import { resolvePaths } from './protocol/paths.ts';

/** Errors of a state directory that is not there, is not ours, or takes nothing more. */
const withoutPlace = ['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'ELOOP', 'EROFS', 'ENOSPC', 'EDQUOT'];

/**
 * Turns Node's compile cache on, in the state directory: start-up takes about half the time. To be called before the bulk of
 * the code is loaded. What is in the cache is run, so it is used only where nobody else can write, and never made in advance.
 *
 * @returns the folder, or `null` where there is no state directory of our own yet
 */
export function useCompileCache(env: Readonly<Record<string, string | undefined>>, uid: number): string | null {
  try {
    const { stateDir } = resolvePaths(env, uid);
    const stat = fs.lstatSync(stateDir);
    if (!stat.isDirectory() || stat.uid !== uid || (stat.mode & 0o022) !== 0) return null;
    const folder = `${stateDir}/compile-cache`;
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 }); // Node would make it as wide as the umask lets it.
    return module.enableCompileCache(folder).directory ?? null;
  } catch (error) {
    // Whoever needs the place says what is wrong with it; --help must work without one.
    if (error instanceof CorralError || isErrno(error, ...withoutPlace)) return null;
    throw error;
  }
}
