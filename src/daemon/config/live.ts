import { CorralError, type ShownConfig } from '../../protocol/index.ts';
import { type Config, type ConfigText, readConfigText, useText } from './read.ts';
import { showConfig } from './show.ts';

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

type Environment = Readonly<Record<string, string | undefined>>;

/** The configuration in force. One that cannot be used leaves it as it is, and is remembered as an error. */
export class LiveConfig {
  readonly #env: Environment;
  readonly #uid: number;
  readonly #started: Config;
  #current: Config;
  #loadedAt: string;
  #error: string | null = null;
  /** The text that was looked at last, or why it could not be read. */
  #seen: string | null;

  /** @throws CorralError `CONFIG_INVALID`: at start there is no last good one */
  constructor(env: Environment, uid: number, wallMs: number) {
    this.#env = { ...env };
    this.#uid = uid;
    const read = readConfigText(env, uid);
    this.#seen = read.text;
    this.#started = useText(read, env);
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

  shown(): ShownConfig {
    return showConfig(this.#current);
  }

  /**
   * Reads it again. `status` then says what came of it.
   *
   * @param when `changed`: only if the file is not as it was when it was last looked at
   * @returns whether it was looked at
   */
  reload(wallMs: number, when: 'always' | 'changed' = 'always'): boolean {
    const seen = this.#seen;
    const read = this.#read();
    this.#seen = read instanceof CorralError ? read.message : read.text;
    if (when === 'changed' && this.#seen === seen) return false;
    try {
      if (read instanceof CorralError) throw read;
      // Where things are was settled when the locks were taken.
      this.#current = { ...useText(read, this.#env), paths: this.#started.paths };
      this.#loadedAt = new Date(wallMs).toISOString();
      this.#error = null;
    } catch (error) {
      if (!(error instanceof CorralError)) throw error;
      this.#error = error.message;
    }
    return true;
  }

  #read(): ConfigText | CorralError {
    try {
      return readConfigText(this.#env, this.#uid);
    } catch (error) {
      if (error instanceof CorralError) return error;
      throw error;
    }
  }
}
