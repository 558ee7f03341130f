import fs from 'node:fs';
import { isErrno } from '../../protocol/index.ts';
import { ifProcessLives, readFromStart, readProcFile } from '../linux/index.ts';

/** How many leaves have theirs open, of all that share this, and how many may. */
export interface OpenCpuStats {
  open: number;
  readonly most: number;
}

/** The file in which the kernel counts the CPU time of a cgroup. Kept open: to read it anew costs a third of opening it. */
export class CpuStat {
  readonly #path: string;
  readonly #all: OpenCpuStats;
  #reads = 0;
  #fd: number | null = null;

  constructor(cgroup: string, all: OpenCpuStats) {
    this.#path = `${cgroup}/cpu.stat`;
    this.#all = all;
  }

  /** In µs; `null` where the cgroup has gone. */
  usageUsec(): number | null {
    const text = this.#read();
    const usage = text === undefined ? undefined : /^usage_usec (\d+)$/m.exec(text)?.[1];
    return usage === undefined ? null : Number(usage);
  }

  close(): void {
    if (this.#fd === null) return;
    fs.closeSync(this.#fd);
    this.#fd = null;
    this.#all.open -= 1;
  }

  /** Most jobs are read but once, at their end: a file that is asked for again is kept. */
  #read(): string | undefined {
    this.#reads += 1;
    if (this.#fd === null && this.#reads > 1 && this.#all.open < this.#all.most) this.#open();
    const fd = this.#fd;
    return fd === null ? readProcFile(this.#path) : ifProcessLives(() => readFromStart(fd));
  }

  #open(): void {
    try {
      this.#fd = fs.openSync(this.#path, 'r');
      this.#all.open += 1;
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'EMFILE', 'ENFILE')) throw error; // Read without, or found to be gone.
    }
  }
}
