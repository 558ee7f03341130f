import fs from 'node:fs';
import { canMark, ifProcessLives, type Mark, maxLaunches, readMark, withMark } from '../linux/index.ts';
import { markVariable } from './containment.ts';

/** Hands out the marks by which the processes of this daemon's attempts are told from all others. */
export class Marker {
  readonly instance: number;
  readonly #kernelMark: boolean;
  #launches = 0;

  constructor(instance: number) {
    this.instance = instance;
    this.#kernelMark = canMark();
  }

  /** Whether the kernel lets us set the mark that no process loses. If not, only the environment carries one. */
  get isIndelible(): boolean {
    return this.#kernelMark;
  }

  next(): Mark {
    this.#launches = (this.#launches + 1) % maxLaunches;
    return { instance: this.instance, launch: this.#launches };
  }

  spawnMarked<T>(mark: Mark, spawn: () => T): T {
    return this.#kernelMark ? withMark(mark, spawn) : spawn();
  }
}

export function markText(mark: Mark): string {
  return `${instanceText(mark.instance)}.${mark.launch}`;
}

export function instanceText(instance: number): string {
  return (instance >>> 0).toString(16).padStart(8, '0');
}

/**
 * The mark that a process carries, as text: in the limit that it inherited, or, where that says nothing of this instance, in the
 * environment that it was started with.
 */
export function markOf(pid: number, instance: number): string | null {
  const kernel = readMark(pid);
  return kernel?.instance === instance ? markText(kernel) : environmentMark(pid);
}

/** Whether a process carries any mark of this instance. */
export function carriesInstance(pid: number, instance: number): boolean {
  return (
    readMark(pid)?.instance === instance || (environmentMark(pid)?.startsWith(`${instanceText(instance)}.`) ?? false)
  );
}

function environmentMark(pid: number): string | null {
  const environ = ifProcessLives(() => fs.readFileSync(`/proc/${pid}/environ`, 'latin1')) ?? '';
  const prefix = `${markVariable}=`;
  const found = environ.startsWith(prefix) ? 0 : environ.indexOf(`\0${prefix}`) + 1;
  if (found === 0 && !environ.startsWith(prefix)) return null;
  const end = environ.indexOf('\0', found);
  return environ.slice(found + prefix.length, end === -1 ? undefined : end);
}
