import { createHash } from 'node:crypto';
import type { StatementSync } from 'node:sqlite';
import { text } from './rows.ts';

/** Values that are kept in memory, and the size of one in characters: 2 MiB together at most. */
const maxKept = 64;
const maxKeptText = 32 * 1024;

export interface SharedStatements {
  readonly find: StatementSync;
  readonly read: StatementSync;
  readonly insert: StatementSync;
}

/**
 * What many jobs have in common and is large, such as the environment of their caller: kept once, in a table of its own, and
 * known by the digest of its text. Rows that no job refers to are removed by a trigger.
 */
export class SharedValues<T extends object> {
  readonly #sql: SharedStatements;
  readonly #write: (value: T) => string;
  readonly #parse: (text: string) => T;
  /** Jobs of one batch share one object: it is digested once. */
  readonly #digests = new WeakMap<T, { digest: string; text: string }>();
  /** Jobs of one page usually share theirs, and reading one takes longer than the rest of a job. */
  readonly #kept = new Map<number, T>();

  constructor(sql: SharedStatements, write: (value: T) => string, parse: (text: string) => T) {
    this.#sql = sql;
    this.#write = write;
    this.#parse = parse;
  }

  idOf(value: T): number {
    let digested = this.#digests.get(value);
    if (digested === undefined) {
      const written = this.#write(value);
      digested = { text: written, digest: createHash('sha256').update(written).digest('hex') };
      this.#digests.set(value, digested);
    }
    const found = this.#sql.find.get(digested.digest);
    if (found !== undefined) return Number(found.id);
    const id = Number(this.#sql.insert.run(digested.digest, digested.text).lastInsertRowid);
    this.#kept.delete(id); // It may have been another's, whose jobs are all gone.
    return id;
  }

  get(id: number): T {
    const known = this.#kept.get(id);
    if (known !== undefined) return known;
    const written = text(this.#sql.read.get(id)?.text);
    const value = this.#parse(written);
    if (written.length > maxKeptText) return value;
    if (this.#kept.size === maxKept) this.#kept.clear();
    this.#kept.set(id, value);
    return value;
  }
}
