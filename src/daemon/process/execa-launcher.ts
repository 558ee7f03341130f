import { noUsage } from '../core/index.ts';
import type { ChildReaper } from '../linux/index.ts';
import { startWithFiles } from './execa-child.ts';
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
    const { pid, exited } = await startWithFiles(spec, inside, this.#reaper);
    return { pid, ended: exited.then((exit) => ({ exit, usage: noUsage })) };
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
