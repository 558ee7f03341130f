/**
 * The daemon's pulse. Each second it measures how late it is itself, looks at the disk, and tells the service manager that it
 * lives: a daemon whose loop hangs has none, and is restarted by the watchdog.
 */
import fs from 'node:fs';
import { isErrno } from '../protocol/index.ts';
import { diskRoom, diskShortage, type VitalFacts } from './core/index.ts';
import { descriptorLimit } from './linux/index.ts';

/** Between two beats. */
const beatMs = 1_000;

/** Beats over which the longest lag is remembered. */
const lagBeats = 60;

export interface VitalsOptions {
  readonly stateDir: string;
  /** Asked at each beat: the configuration may change. */
  readonly diskMinFreeBytes: () => number | null;
  /** What is short on the disk, or `null`; at each beat. */
  readonly onDisk: (shortage: string | null) => void;
  /** At each beat. Whoever hears it knows that the loop runs. */
  readonly onBeat: () => void;
}

export class Vitals {
  readonly #options: VitalsOptions;
  readonly #lagsMs: number[] = [];
  #timer: NodeJS.Timeout | null = null;
  #lastBeatMs = 0;
  #diskFreeBytes: number | null = null;
  /** Since when a look at the disk is under way. */
  #lookingSinceMs: number | null = null;

  constructor(options: VitalsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#lastBeatMs = performance.now();
    this.#timer = setInterval(() => this.#beat(), beatMs);
    this.#lookAtDisk();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** What was measured, and what is counted now. */
  facts(): Pick<
    VitalFacts,
    'loopLagMs' | 'diskSilentMs' | 'diskFreeBytes' | 'diskMinFreeBytes' | 'openFds' | 'maxFds'
  > {
    return {
      loopLagMs: Math.max(0, ...this.#lagsMs, performance.now() - this.#lastBeatMs - beatMs),
      diskSilentMs: this.#lookingSinceMs === null ? 0 : performance.now() - this.#lookingSinceMs,
      diskFreeBytes: this.#diskFreeBytes,
      diskMinFreeBytes: this.#options.diskMinFreeBytes(),
      openFds: openDescriptors(),
      maxFds: descriptorLimit(),
    };
  }

  #beat(): void {
    const nowMs = performance.now();
    this.#lagsMs.push(nowMs - this.#lastBeatMs - beatMs);
    if (this.#lagsMs.length > lagBeats) this.#lagsMs.shift();
    this.#lastBeatMs = nowMs;
    this.#options.onBeat();
    this.#lookAtDisk();
  }

  /** Not on the loop: a file system that hangs must not take the daemon along. */
  #lookAtDisk(): void {
    if (this.#lookingSinceMs !== null) return;
    this.#lookingSinceMs = performance.now();
    fs.statfs(this.#options.stateDir, (error, disk) => {
      this.#lookingSinceMs = null;
      if (this.#timer === null) return;
      if (error !== null) {
        this.#diskFreeBytes = null; // A disk that cannot be asked shows in the store.
        return;
      }
      const room = diskRoom(disk);
      this.#diskFreeBytes = room.freeBytes;
      const { stateDir, diskMinFreeBytes, onDisk } = this.#options;
      onDisk(diskShortage(stateDir, room, diskMinFreeBytes()));
    });
  }
}

/** Looking takes a descriptor, too: where none is left, all are open. */
function openDescriptors(): number {
  try {
    return fs.readdirSync('/proc/self/fd').length - 1; // One of them is the look itself.
  } catch (error) {
    if (isErrno(error, 'EMFILE', 'ENFILE')) return descriptorLimit();
    throw error;
  }
}
