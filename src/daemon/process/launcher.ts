import type { LeaderExit, Usage } from '../core/index.ts';

/** A program, resolved and ready to start as the leader of a new session. Texts stand for bytes, see protocol/bytes.ts. */
export interface LaunchSpec {
  /** Absolute path of the program. */
  readonly file: string;
  /** All arguments, the program's name first. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Open descriptors for stdin, stdout and stderr. The caller closes them. */
  readonly stdio: readonly [number, number, number];
}

export interface LeaderEnd {
  readonly exit: LeaderExit;
  /** Of the leader, as the kernel told it. */
  readonly usage: Omit<Usage, 'outputBytes'>;
}

export interface Leader {
  readonly pid: number;
  readonly ended: Promise<LeaderEnd>;
}

/** Starts leaders. Two implementations, one contract (test/contract/launcher.test.ts). */
export interface Launcher {
  readonly name: 'posix_spawn' | 'execa';
  /**
   * Starts the program within `inside`, which must be left again before anything else happens: the spawn is synchronous.
   *
   * @throws an error with `code` (`ENOENT`, `EACCES`, `E2BIG`, …) where the program cannot be executed
   */
  launch(spec: LaunchSpec, inside: <T>(spawn: () => T) => T): Promise<Leader>;
}
