import { CorralError } from '../../protocol/index.ts';
import { type Config, readConfig } from './read.ts';

export interface ConfigStatus {
  readonly path: string | null;
  /** When the configuration in force was read. */
  readonly loadedAt: string;
  /** Why the newest one is not in force; `null` if it is. */
  readonly error: string | null;
}

/** The configuration in force. One that cannot be used leaves it as it is, and is remembered as an error. */
export class LiveConfig {
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #uid: number;
  #current: Config;
  #loadedAt: string;
  #error: string | null = null;

  /** @throws CorralError `CONFIG_INVALID`: at start there is no last good one */
  constructor(env: Readonly<Record<string, string | undefined>>, uid: number, wallMs: number) {
    this.#env = { ...env };
    this.#uid = uid;
    this.#current = readConfig(env, uid);
    this.#loadedAt = new Date(wallMs).toISOString();
  }

  get current(): Config {
    return this.#current;
  }

  status(): ConfigStatus {
    return { path: this.#current.file, loadedAt: this.#loadedAt, error: this.#error };
  }

  /** Reads it again. Returns the settings that changed and are looked at only at the start of the daemon. */
  reload(wallMs: number): string[] {
    try {
      const before = this.#current;
      // Where things are was settled when the locks were taken.
      this.#current = { ...readConfig(this.#env, this.#uid), paths: before.paths };
      this.#loadedAt = new Date(wallMs).toISOString();
      this.#error = null;
      return (['containment', 'launcher'] as const).filter((name) => this.#current[name] !== before[name]);
    } catch (error) {
      if (!(error instanceof CorralError)) throw error;
      this.#error = error.message;
      return [];
    }
  }
}
