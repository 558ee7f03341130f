import fs from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { CorralError, isErrno } from '../../protocol/index.ts';
import type { Job, OutputFacts } from '../core/index.ts';
import { watchFile } from './watch-file.ts';

export type StreamName = 'stdout' | 'stderr';

/** Jobs per folder, so that no folder grows without bound. */
const jobsPerFolder = 1_000;

/**
 * The output files of jobs: one per attempt with both streams in order, or one per stream. Jobs write to them directly
 * (O_APPEND); the daemon only opens, reads and deletes.
 */
export class OutputFiles {
  readonly #root: string;

  constructor(stateDir: string) {
    this.#root = `${stateDir}/output`;
  }

  /**
   * Opens the files of a new attempt. The caller closes both descriptors; they are the same where the streams are not split.
   * Not on the event loop: making a file waits for the file system's journal, which the store's own commits keep busy (1.4 ms
   * of 2.3 ms per job, measured).
   */
  async open(jobId: number, attempt: number, split: boolean): Promise<{ stdout: number; stderr: number }> {
    const stdout = await this.#openToAppend(this.path(jobId, attempt, split, 'stdout'));
    if (!split) return { stdout, stderr: stdout };
    try {
      return { stdout, stderr: await this.#openToAppend(this.path(jobId, attempt, split, 'stderr')) };
    } catch (error) {
      fs.closeSync(stdout);
      throw error;
    }
  }

  path(jobId: number, attempt: number, split: boolean, stream: StreamName): string {
    return `${this.#folder(jobId)}/${jobId}.${attempt}.${split ? (stream === 'stdout' ? 'out' : 'err') : 'log'}`;
  }

  /** The files of a job's newest attempt, and how large they are together. */
  facts(job: Job): OutputFacts {
    const attempt = job.attempts.length;
    if (attempt === 0) return { files: [], bytes: 0 };
    const split = job.definition.splitOutput;
    const streams: readonly StreamName[] = split ? ['stdout', 'stderr'] : ['stdout'];
    const files = streams.map((stream) => this.path(job.id, attempt, split, stream));
    return { files, bytes: files.reduce((sum, file) => sum + this.size(file), 0) };
  }

  /** Bytes in a file; 0 where it does not exist, as before the first attempt, or where its job has put it out of reach. */
  size(path: string): number {
    try {
      return fs.statSync(path).size;
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP')) return 0;
      throw error;
    }
  }

  /**
   * Reads at most `length` bytes from `offset` on. Nothing where the file does not exist (any more).
   *
   * @throws CorralError `OUTPUT_UNREADABLE` where the job has put something else in its place
   */
  read(path: string, offset: number, length: number): Buffer {
    let fd: number;
    try {
      // A FIFO in its place would hold the daemon until somebody writes to it.
      fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return Buffer.alloc(0);
      throw unreadable(path, error instanceof Error ? error.message : String(error));
    }
    try {
      const stat = fs.fstatSync(fd);
      if (!stat.isFile()) throw unreadable(path, 'it is not a file any more');
      const buffer = Buffer.alloc(Math.min(length, Math.max(0, stat.size - offset)));
      return buffer.subarray(0, buffer.length === 0 ? 0 : fs.readSync(fd, buffer, 0, buffer.length, offset));
    } finally {
      fs.closeSync(fd);
    }
  }

  /** Calls back each time the file grows. Returns how to stop, or `null` where there is no file (yet). */
  watch(path: string, onGrowth: () => void): (() => void) | null {
    return fs.existsSync(path) ? watchFile(path, onGrowth) : null;
  }

  /** Whether there is room for another file, found by making one. */
  hasRoom(): boolean {
    const probe = `${this.#root}/.probe`;
    try {
      fs.mkdirSync(this.#root, { recursive: true, mode: 0o700 });
      fs.writeFileSync(probe, 'x', { mode: 0o600 });
      return true;
    } catch (error) {
      if (isErrno(error, 'ENOSPC', 'EDQUOT')) return false;
      throw error;
    } finally {
      fs.rmSync(probe, { force: true });
    }
  }

  /** By their names: to look for them would take longer the more jobs share the folder. */
  remove({ id, attempts, definition }: Job): void {
    const streams: readonly StreamName[] = definition.splitOutput ? ['stdout', 'stderr'] : ['stdout'];
    for (const { number } of attempts) {
      for (const stream of streams)
        fs.rmSync(this.path(id, number, definition.splitOutput, stream), { force: true, recursive: true });
    }
  }

  /** What the output of an attempt takes. */
  bytesOf({ id, definition }: Pick<Job, 'id' | 'definition'>, attempt: number): number {
    const { splitOutput } = definition;
    const streams: readonly StreamName[] = splitOutput ? ['stdout', 'stderr'] : ['stdout'];
    return streams.reduce((sum, stream) => sum + this.size(this.path(id, attempt, splitOutput, stream)), 0);
  }

  /** The jobs that have any file here. */
  *jobsWithFiles(): Generator<number> {
    const folders = fs.existsSync(this.#root) ? fs.readdirSync(this.#root) : [];
    for (const folder of folders.filter((name) => /^\d+$/.test(name))) {
      const names = fs.readdirSync(`${this.#root}/${folder}`);
      yield* new Set(names.map((name) => Number.parseInt(name, 10)));
    }
  }

  async #openToAppend(path: string): Promise<number> {
    // What is there was left by a job that had this number in a store that was since replaced by a backup.
    const flags = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_APPEND | fs.constants.O_TRUNC;
    try {
      return await openFile(path, flags, 0o600);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
      fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      return openFile(path, flags, 0o600);
    }
  }

  #folder(jobId: number): string {
    return `${this.#root}/${Math.floor(jobId / jobsPerFolder)}`;
  }
}

const openFile = promisify(fs.open);

function unreadable(path: string, reason: string): CorralError {
  return new CorralError(
    'OUTPUT_UNREADABLE',
    `The output file ${path} cannot be read: ${reason}. The job itself may have changed it.`,
  );
}
