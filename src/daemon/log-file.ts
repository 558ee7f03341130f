import fs from 'node:fs';
import { isErrno } from '../protocol/index.ts';

export interface LogFileOptions {
  readonly path: string;
  /** At this size the file is renamed to `daemon1.log`, an earlier `daemon1.log` to `daemon2.log`, and so on. */
  readonly maxBytes: number;
  /** Files that are kept, the one that is written to included. */
  readonly maxFiles: number;
}

/**
 * A log file that stays below a bound. Lines are written at once. What cannot be written, as on a full disk, is lost and counted:
 * the log must neither end the daemon nor keep it from ending.
 */
export class LogFile {
  readonly #options: LogFileOptions;
  #fd: number | null = null;
  #bytes = 0;
  #lost = 0;

  constructor(options: LogFileOptions) {
    this.#options = options;
  }

  append(line: string): void {
    try {
      this.#open();
      this.#write(this.#lost === 0 ? line : `${lostLines(this.#lost)}${line}`);
      this.#lost = 0;
      if (this.#bytes >= this.#options.maxBytes) this.#rotate();
    } catch (error) {
      if (!isErrno(error, 'ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'EACCES', 'ENOENT', 'EMFILE', 'ENFILE')) throw error;
      this.#lost += 1;
    }
  }

  close(): void {
    if (this.#fd !== null) fs.closeSync(this.#fd);
    this.#fd = null;
  }

  #open(): void {
    if (this.#fd !== null) return;
    this.#fd = fs.openSync(this.#options.path, 'a', 0o600);
    this.#bytes = fs.fstatSync(this.#fd).size;
  }

  #write(text: string): void {
    const bytes = Buffer.from(text);
    if (this.#fd !== null) this.#bytes += fs.writeSync(this.#fd, bytes);
  }

  #rotate(): void {
    this.close();
    const nameOf = (age: number) => this.#options.path.replace(/(\.log)$/, `${age === 0 ? '' : age}$1`);
    for (let age = this.#options.maxFiles - 2; age >= 0; age -= 1)
      if (fs.existsSync(nameOf(age))) fs.renameSync(nameOf(age), nameOf(age + 1));
  }
}

function lostLines(count: number): string {
  const fields = { level: 'warn', message: 'lines of the log were lost', count, timestamp: new Date().toISOString() };
  return `${JSON.stringify(fields)}\n`;
}
