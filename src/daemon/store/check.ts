import fs from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { schemaVersion } from './schema.ts';

/** Most findings that one check reports. */
const maxFindings = 20;

/**
 * Looks for damage in a database file. `quick`: the structure of every page. `full`: that indexes and tables say the same, and
 * that references lead somewhere, too. sqlite.org/pragma.html#pragma_integrity_check
 *
 * @returns what is wrong, in SQLite's words; nothing where all is well
 */
export function findDamage(db: DatabaseSync, depth: 'quick' | 'full'): string[] {
  try {
    const pragma = depth === 'quick' ? 'quick_check' : 'integrity_check';
    const rows = db.prepare(`PRAGMA ${pragma}(${maxFindings})`).all();
    const findings = rows.map((row) => String(Object.values(row)[0])).filter((finding) => finding !== 'ok');
    if (depth === 'quick' || findings.length > 0) return findings;
    const dangling = db.prepare('PRAGMA foreign_key_check').all();
    return dangling
      .slice(0, maxFindings)
      .map((row) => `row ${row.rowid} of ${row.table} refers to a missing ${row.parent}`);
  } catch (error) {
    if (!(error instanceof Error && isDamage(error))) throw error;
    return [error.message]; // Damage may be such that not even the check can be run.
  }
}

/** SQLITE_CORRUPT and SQLITE_NOTADB; SQLITE_ERROR where the text of the schema makes no sense. sqlite.org/rescode.html */
export function isDamage(error: Error): boolean {
  const code = 'errcode' in error ? Number(error.errcode) & 0xff : 0;
  return code === 11 || code === 26 || code === 1;
}

export interface StoreInspection {
  readonly bytes: number;
  /** `null` where it cannot be read. */
  readonly schema: number | null;
  readonly newestSchema: number;
  readonly damage: readonly string[];
  /** Why it could not be looked at, which says nothing of the store itself; `null` where it was. */
  readonly trouble: string | null;
  /** Ids of all jobs with a record; `null` unless it was a full check of a sound store. */
  readonly jobIds: readonly number[] | null;
}

/** Looks at a store without changing it, also while a daemon uses it. `null` where there is none. */
export function inspectStore(path: string, depth: 'quick' | 'full'): StoreInspection | null {
  if (!fs.existsSync(path)) return null;
  const bytes = fs.statSync(path).size;
  let db: DatabaseSync | null = null;
  try {
    db = new DatabaseSync(path, { readOnly: true });
    const damage = findDamage(db, depth);
    const schema = Number(db.prepare('PRAGMA user_version').get()?.user_version);
    const jobIds =
      depth === 'full' && damage.length === 0 && schema > 0
        ? db
            .prepare('SELECT id FROM jobs')
            .all()
            .map((row) => Number(row.id))
        : null;
    return { bytes, schema, newestSchema: schemaVersion, damage, trouble: null, jobIds };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const nothing = { bytes, schema: null, newestSchema: schemaVersion, jobIds: null };
    return isDamage(error)
      ? { ...nothing, damage: [error.message], trouble: null }
      : { ...nothing, damage: [], trouble: error.message };
  } finally {
    db?.close();
  }
}
