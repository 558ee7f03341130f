import { execa } from 'execa';
import { noUsage } from '../core/index.ts';
import type { ChildReaper } from '../linux/index.ts';
import type { Launcher, LaunchSpec, Leader } from './launcher.ts';
import { SpawnError } from './program.ts';

/**
 * Starts leaders with Node's own spawn, through execa: works wherever Node does, and costs more as the daemon's heap grows. Node
 * reports a death by a real-time signal, for which it has no name, as exit code 0; posix_spawn does not.
 */
export class ExecaLauncher implements Launcher {
  readonly name = 'execa';
  readonly #reaper: ChildReaper;

  constructor(reaper: ChildReaper) {
    this.#reaper = reaper;
  }

  async launch(spec: LaunchSpec, inside: <T>(spawn: () => T) => T): Promise<Leader> {
    refuseBytes(spec);
    const [argv0 = spec.file, ...args] = spec.argv;
    const [stdin, stdout, stderr] = spec.stdio.map(anyDescriptor);
    const child = inside(() =>
      execa(spec.file, args, {
        argv0,
        cwd: spec.cwd,
        env: spec.env,
        extendEnv: false,
        detached: true,
        stdio: [stdin, stdout, stderr],
        buffer: false,
        reject: false,
        // The daemon's own exit paths end jobs; execa must not do it on the side.
        cleanup: false,
        forceKillAfterDelay: false,
      }),
    );
    const { pid } = child;
    if (pid === undefined) {
      const cause: unknown = (await child).cause;
      throw cause instanceof Error ? cause : new Error(`${spec.file} could not be started`);
    }
    const reaped = this.#reaper.leaveToLibuv(pid);
    const ended = child.then(({ exitCode, signal }) => {
      reaped();
      return { exit: { code: exitCode ?? null, signal: signal ?? null }, usage: noUsage };
    });
    return { pid, ended };
  }
}

/** Node's spawn takes strings only, and would put U+FFFD in the place of such bytes. */
function refuseBytes({ file, argv, env, cwd }: LaunchSpec): void {
  if ([file, cwd, ...argv, ...Object.entries(env).flat()].every((text) => text.isWellFormed())) return;
  throw new SpawnError(
    `${file}: its command, environment or folder holds bytes that are not UTF-8, which the launcher execa cannot pass on; use posix_spawn (CORRAL_LAUNCHER)`,
    126,
  );
}

/** execa takes every open descriptor, but its types name only the small ones. */
function anyDescriptor(fd: number): 3 {
  return fd as 3;
}
