/**
 * The pipe into which jobs write their reports: a FIFO beside the socket, so that one `echo` of any language will do.
 *
 * The daemon holds both ends, so a writer never waits for a reader and the pipe never ends. When nobody reads fast enough, the kernel
 * lets the writers wait: nothing piles up here, and nothing is lost.
 */
import fs from 'node:fs';
import net from 'node:net';
import type { Event } from '../core/index.ts';
import { makeFifo } from '../linux/index.ts';
import { ReportLines } from './report-batch.ts';

/** Bytes that are read in one turn of the loop: what they take to read apart must not be felt. */
const pieceBytes = 4 * 1024;

/** A pause after a full piece: whoever floods the pipe gets no more of the daemon's time than this leaves. */
const fullPauseMs = 10;

/** Between two lines in the log about reports that cannot be read. */
const complainEveryMs = 10_000;

export interface ReportPipeOptions {
  /** Beside the socket. */
  readonly path: string;
  /** Whether this daemon has the lock of the socket now: another's pipe must not be taken away. */
  readonly mayMake: () => boolean;
  readonly emit: (event: Extract<Event, { type: 'reportsRead' }>) => void;
  readonly complain: (message: string, fields?: Record<string, unknown>) => void;
}

export class ReportPipe {
  readonly #options: ReportPipeOptions;
  #open: { readonly socket: net.Socket; readonly inode: bigint } | null = null;
  #lines = new ReportLines();
  #unreadableLines = 0;
  #complainedMs = Number.NEGATIVE_INFINITY;
  #hasFailed = false;

  constructor(options: ReportPipeOptions) {
    this.#options = options;
  }

  get path(): string {
    return this.#options.path;
  }

  /** Makes the pipe, also where it was removed or something else stands in its place. Called now and then. */
  ensure(): void {
    const { mayMake, complain } = this.#options;
    try {
      if (this.#isThere() || !mayMake()) return;
      const wasOpen = this.#open !== null;
      this.#open?.socket.destroy();
      this.#open = null;
      this.#clearPlace();
      this.#make();
      if (wasOpen) complain('the pipe for reports was removed; it was made again', { path: this.path });
      this.#hasFailed = false;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
      if (!this.#hasFailed) complain('the pipe for reports cannot be made', { error: error.message });
      this.#hasFailed = true;
    }
  }

  /** Whoever opens a pipe that nobody reads waits for ever, so it goes with the daemon. */
  close(): void {
    if (this.#open !== null && this.#isThere()) fs.rmSync(this.path, { force: true });
    this.#open?.socket.destroy();
    this.#open = null;
  }

  #isThere(): boolean {
    const there = fs.lstatSync(this.path, { throwIfNoEntry: false, bigint: true });
    return there !== undefined && there.ino === this.#open?.inode;
  }

  /** A folder may hold what somebody misses, and would keep every report out: it is set aside. */
  #clearPlace(): void {
    const isFolder = fs.lstatSync(this.path, { throwIfNoEntry: false })?.isDirectory() === true;
    if (isFolder) fs.renameSync(this.path, `${this.path}.strange-${Date.now()}`);
    else fs.rmSync(this.path, { force: true });
  }

  #make(): void {
    makeFifo(this.path);
    const fd = fs.openSync(this.path, fs.constants.O_RDWR | fs.constants.O_NONBLOCK | fs.constants.O_NOFOLLOW);
    // A job that reads from it by mistake would take what others report.
    fs.fchmodSync(fd, 0o200);
    const { ino: inode } = fs.fstatSync(fd, { bigint: true });
    this.#lines = new ReportLines();
    const socket: net.Socket = new net.Socket({
      fd,
      readable: true,
      writable: false,
      onread: {
        buffer: Buffer.alloc(pieceBytes),
        callback: (length, buffer) => {
          const isFull = length === pieceBytes;
          this.#read(buffer.subarray(0, length), !isFull);
          if (isFull) setTimeout(() => socket.resume(), fullPauseMs);
          return !isFull;
        },
      },
    });
    socket.on('error', (error) => this.#options.complain('the pipe for reports failed', { error: error.message }));
    this.#open = { socket, inode };
  }

  #read(piece: Uint8Array, isDrained: boolean): void {
    const { reports, unreadable } = this.#lines.read(piece, isDrained);
    if (reports.size > 0) this.#options.emit({ type: 'reportsRead', reports });
    if (unreadable === null) return;
    this.#unreadableLines += unreadable.lines;
    const nowMs = performance.now();
    if (nowMs - this.#complainedMs < complainEveryMs) return;
    const { message } = unreadable;
    this.#options.complain('reports of jobs could not be read', { lines: this.#unreadableLines, last: message });
    this.#complainedMs = nowMs;
    this.#unreadableLines = 0;
  }
}
