/** Opening the file of the store, and telling damage from other trouble. */
import fs from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { CorralError } from '../../protocol/index.ts';
import { findDamage, isDamage } from './check.ts';
import { migrate } from './schema.ts';

/** How long opening waits for another process that has the file locked. */
const openTimeoutMs = 5_000;

/** How long each commit does. The daemon stands still meanwhile; what cannot be written is tried again. */
const busyTimeoutMs = 100;

/** A store up to this size is checked at each start, in 0.1 s (measured: 3.7 ms a MB on a busy machine). A larger one by `corral doctor`. */
const maxBytesToCheck = 32 * 1024 * 1024;

/** Opens or makes the file and brings its schema up to date. What is damaged is left as it is. */
export function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | null = null;
  try {
    if (path === ':memory:') return migrated(new DatabaseSync(path), path);
    makeFile(path);
    // Before anything can write to it: the end of a session copies what is in the log.
    const hasJournal = fs.existsSync(`${path}-journal`);
    if (!hasJournal) check(new DatabaseSync(path, { readOnly: true }), path).close();
    db = new DatabaseSync(path, { timeout: openTimeoutMs });
    if (hasJournal) check(db, path); // A journal that another program left is dealt with when the file is opened to write.
    return migrated(db, path);
  } catch (error) {
    if (db?.isOpen) db.close();
    if (error instanceof CorralError || !(error instanceof Error)) throw error;
    throw isDamage(error) ? damaged(path, error.message) : notOpened(path, error);
  }
}

/** No database is smaller than its smallest page. SQLite takes such a file for a new store. */
const minDatabaseBytes = 512;

function makeFile(path: string): void {
  const isNew = !fs.existsSync(path);
  // SQLite gives the -wal and -shm files the mode of the database file.
  const fd = fs.openSync(path, fs.constants.O_CREAT | fs.constants.O_RDWR, 0o600);
  const { size } = fs.fstatSync(fd);
  fs.closeSync(fd);
  // Empty it may be after a crash at the very first start; beside what jobs have printed it has been emptied.
  const wasCutOff = size === 0 ? !isNew && fs.existsSync(`${dirname(path)}/output`) : size < minDatabaseBytes;
  if (wasCutOff) throw damaged(path, `it has ${size} bytes`);
}

function check(db: DatabaseSync, path: string): DatabaseSync {
  const { page_count: pages } = db.prepare('PRAGMA page_count').get() ?? {};
  const { page_size: pageBytes } = db.prepare('PRAGMA page_size').get() ?? {};
  // SQLite takes what is missing of the last page for zeros. A crash may leave that so, with the whole page in the log.
  const hasNoLog = (fs.statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) === 0;
  if (hasNoLog && fs.statSync(path).size % Number(pageBytes) !== 0) {
    db.close();
    throw damaged(path, 'it ends in the middle of a page');
  }
  const damage = Number(pages) * Number(pageBytes) > maxBytesToCheck ? [] : findDamage(db, 'quick');
  if (damage.length === 0) return db;
  db.close();
  throw damaged(path, damage.join('; '));
}

function migrated(db: DatabaseSync, path: string): DatabaseSync {
  migrate(db, path);
  db.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
  return db;
}

export function damaged(path: string, finding: string): CorralError {
  return new CorralError(
    'STORE_DAMAGED',
    `The store ${path} is damaged (${finding}). Nothing was changed. Put a backup in its place; or ${settingAside(path)}`,
  );
}

/** The command gives each its own folder: an earlier one that was set aside is not touched. */
export function settingAside(path: string): string {
  return `set it aside and begin anew: d=$(mktemp -d ${dirname(path)}/damaged.XXXXXX) && mv ${path}* "$d"/`;
}

function notOpened(path: string, error: Error): CorralError {
  return new CorralError(
    'STORE_FAILED',
    `The store ${path} cannot be opened (${error.message}). Nothing was changed. Check that its folder is yours, can be written, and has room.`,
    { cause: error },
  );
}

/**
 * Does something with the store, and says what is the matter with it where that fails.
 *
 * @throws CorralError `STORE_DAMAGED`, `STORE_FAILED`
 */
export function withStore<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Error && 'errcode' in error)) throw error;
    if (isDamage(error)) throw damaged(path, error.message);
    throw new CorralError('STORE_FAILED', `The store ${path} cannot be read (${error.message}). Check its disk.`, {
      cause: error,
    });
  }
}
