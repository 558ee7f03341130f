/**
 * `corral daemon backup FILE`: copies the store as it is at one moment, also while a daemon writes to it. A program of its own, so
 * that the daemon does not wait for it, and that it works without one.
 *
 * Argument: the file to make. It must not be there, and is there only once it is whole.
 */
import fs from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { CorralError, isErrno, resolvePaths } from '../protocol/index.ts';

function main(target: string): void {
  const { stateDir } = resolvePaths(process.env, process.getuid?.() ?? 0);
  const source = `${stateDir}/corral.db`;
  if (!fs.existsSync(source)) throw new CorralError('STORE_FAILED', `There is no store yet: ${source}.`);
  if (fs.existsSync(target)) throw isThere(target);
  const partial = `${target}.partial`;
  makePrivate(partial);
  try {
    copy(source, partial);
    fs.linkSync(partial, target); // Unlike a rename, it takes the place of nothing.
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw isThere(target);
    if (!(error instanceof Error)) throw error;
    throw new CorralError('STORE_FAILED', `The store ${source} could not be copied to ${target} (${error.message}).`);
  } finally {
    fs.rmSync(partial);
  }
}

/** The store holds the environments of jobs. What an interrupted backup left is begun anew. */
function makePrivate(path: string): void {
  try {
    fs.rmSync(path, { force: true });
    fs.closeSync(fs.openSync(path, 'wx', 0o600));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new CorralError('INVALID_PARAMS', `${path} cannot be made: ${error.message}.`);
  }
}

/** In one transaction: a copy page by page would begin again with each commit of the daemon, and on a busy one never end. */
function copy(source: string, target: string): void {
  const db = new DatabaseSync(source, { readOnly: true });
  try {
    db.prepare('VACUUM INTO ?').run(target);
  } finally {
    db.close();
  }
  const fd = fs.openSync(target, 'r');
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}

function isThere(target: string): CorralError {
  return new CorralError('INVALID_PARAMS', `${target} is there already. Name another file, or remove it.`);
}

try {
  main(process.argv[2] ?? '');
} catch (error) {
  if (!(error instanceof CorralError)) throw error;
  process.stderr.write(`${JSON.stringify({ code: error.code, message: error.message })}\n`);
  process.exitCode = 1;
}
