import { CorralError } from '../../protocol/index.ts';
import { type Config, readConfig } from './read.ts';

export interface ConfigStatus {
  readonly path: string | null;
  /** When the configuration in force was read. */
  readonly loadedAt: string;
  /** Why the newest one is not in force; `null` if it is. */
  readonly error: string | null;
  /** Keys whose new value is looked at only at the next start. */
  readonly atNextStart: string[];
}

/** What settles at the start how the daemon does its work. */
const onlyAtStart = ['containment', 'launcher'] as const;

/** The configuration in force. One that cannot be used leaves it as it is, and is remembered as an error. */
export class LiveConfig {
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #uid: number;
  readonly #started: Config;
  #current: Config;
  #loadedAt: string;
  #error: string | null = null;

  /** @throws CorralError `CONFIG_INVALID`: at start there is no last good one */
  constructor(env: Readonly<Record<string, string | undefined>>, uid: number, wallMs: number) {
    this.#env = { ...env };
    this.#uid = uid;
    this.#started = readConfig(env, uid);
    this.#current = this.#started;
    this.#loadedAt = new Date(wallMs).toISOString();
  }

  get current(): Config {
    return this.#current;
  }

  status(): ConfigStatus {
    const waiting = onlyAtStart.filter((name) => this.#current[name] !== this.#started[name]);
    return {
      path: this.#current.file,
      loadedAt: this.#loadedAt,
      error: this.#error,
      atNextStart: waiting.map((name) => `daemon.${name}`),
    };
  }

  /** Reads it again. `status` then says what came of it. */
  reload(wallMs: number): void {
    try {
      // Where things are was settled when the locks were taken.
      this.#current = { ...readConfig(this.#env, this.#uid), paths: this.#started.paths };
      this.#loadedAt = new Date(wallMs).toISOString();
      this.#error = null;
    } catch (error) {
      if (!(error instanceof CorralError)) throw error;
      this.#error = error.message;
    }
  }
}
