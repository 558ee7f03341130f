import fs from 'node:fs';
import path from 'node:path';
import type { FSWatcher } from 'chokidar';
import { isErrno } from '../../protocol/index.ts';

/** The file must have been left alone for this long: whoever writes it may empty it first. */
const quietMs = 250;

export interface WatchOptions {
  readonly file: string;
  /** The file may be another than it was. Called when nothing more has happened to it for a moment. */
  readonly onChange: () => void;
  /** It cannot be watched, for a reason such as the limit on inotify watches. Called once. */
  readonly onFailure: (reason: string) => void;
}

/**
 * Watches the configuration: a file that need not be there, nor its folder, and that may be reached through symbolic links, each of
 * which may be made to point elsewhere. Keeps no process alive.
 */
export class ConfigWatch {
  readonly #options: WatchOptions;
  #watcher: FSWatcher | null = null;
  #watched: readonly string[] = [];
  #quiet: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Resolves when it watches, or has said why it cannot. */
  async start(): Promise<void> {
    try {
      // 20 ms that the start of a daemon need not wait for.
      const { watch } = await import('chokidar');
      if (this.#isClosed) return;
      const places = placesOf(this.#options.file);
      this.#watched = places;
      const watcher = watch(places, {
        // A folder in its place may be large, and is no configuration.
        ignored: (path) => places.some((place) => path.startsWith(`${place}/`)),
        backend: 'native',
        followSymlinks: false,
        ignoreInitial: true,
        ignorePermissionErrors: true,
        persistent: false,
        atomic: false,
      });
      this.#watcher = watcher;
      watcher.on('all', () => this.#stir());
      await new Promise<void>((resolve) => {
        watcher.once('ready', resolve);
        watcher.on('error', (error) => {
          this.#fail(error);
          resolve();
        });
      });
      this.#stir(); // It may have changed before it was watched.
    } catch (error) {
      this.#fail(error);
    }
  }

  close(): void {
    this.#isClosed = true;
    if (this.#quiet !== null) clearTimeout(this.#quiet);
    void this.#watcher?.close();
    this.#watcher = null;
  }

  #stir(): void {
    if (this.#isClosed) return;
    if (this.#quiet !== null) clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => this.#settle(), quietMs).unref();
  }

  #settle(): void {
    this.#quiet = null;
    this.#options.onChange();
    const places = placesOf(this.#options.file);
    if (places.join('\0') === this.#watched.join('\0')) return;
    void this.#watcher?.close();
    void this.start();
  }

  #fail(error: unknown): void {
    if (this.#isClosed) return;
    this.close();
    this.#options.onFailure(error instanceof Error ? error.message : String(error));
  }
}

/** Linux follows as many. path_resolution(7) */
const mostLinks = 40;

/** The file, and each symbolic link on the way to it, its folders included: whatever is made of one of them makes another file. */
function placesOf(file: string): string[] {
  const links: string[] = [];
  let at = '/';
  let parts = file.split('/').filter((part) => part !== '');
  while (parts.length > 0) {
    const [part = '', ...rest] = parts;
    const here = path.join(at, part);
    const target = links.length < mostLinks ? targetOf(here) : null;
    if (target === null) {
      at = here;
      parts = rest;
      continue;
    }
    links.push(here);
    if (target.startsWith('/')) at = '/';
    parts = [...target.split('/').filter((one) => one !== ''), ...rest];
  }
  return [...new Set([...links, at])];
}

function targetOf(link: string): string | null {
  try {
    return fs.readlinkSync(link);
  } catch (error) {
    // Not a link, or nothing; what cannot be looked into cannot be read either, and that is said where it is read.
    if (isErrno(error, 'EINVAL', 'ENOENT', 'ENOTDIR', 'EACCES', 'ENAMETOOLONG')) return null;
    throw error;
  }
}
