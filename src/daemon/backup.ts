/**
 * `corral daemon backup FILE`: copies the store as it is at one moment, also while a daemon writes to it. A program of its own, so
 * that the daemon does not wait for it, and that it works without one.
 *
 * Argument: the file to make. It must not be there.
 */
import fs from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { CorralError, isErrno, resolvePaths } from '../protocol/index.ts';

function main(target: string): void {
  const uid = process.getuid?.() ?? 0;
  const { stateDir } = resolvePaths(process.env, uid);
  const source = `${stateDir}/corral.db`;
  if (!fs.existsSync(source)) throw new CorralError('STORE_FAILED', `There is no store yet: ${source}.`);
  makeAnew(target);
  let db: DatabaseSync | null = null;
  try {
    db = new DatabaseSync(source, { readOnly: true });
    // In one transaction: a copy page by page would begin again with each commit of the daemon, and on a busy one never end.
    db.prepare('VACUUM INTO ?').run(target);
  } catch (error) {
    fs.rmSync(target);
    if (!(error instanceof Error)) throw error;
    throw new CorralError('STORE_FAILED', `The store ${source} could not be copied to ${target} (${error.message}).`);
  } finally {
    db?.close();
  }
}

/** Private from its first moment: the store holds the environments of jobs. */
function makeAnew(target: string): void {
  try {
    fs.closeSync(fs.openSync(target, 'wx', 0o600));
  } catch (error) {
    if (isErrno(error, 'EEXIST'))
      throw new CorralError('INVALID_PARAMS', `${target} is there already. Name another file, or remove it.`);
    if (!(error instanceof Error)) throw error;
    throw new CorralError('INVALID_PARAMS', `${target} cannot be made: ${error.message}.`);
  }
}

try {
  main(process.argv[2] ?? '');
} catch (error) {
  if (!(error instanceof CorralError)) throw error;
  process.stderr.write(`${JSON.stringify({ code: error.code, message: error.message })}\n`);
  process.exitCode = 1;
}
