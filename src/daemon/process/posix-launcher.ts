import { isErrno } from '../../protocol/index.ts';
import { type ChildReaper, spawnSession } from '../linux/index.ts';
import type { Launcher, LaunchSpec, Leader, LeaderEnd } from './launcher.ts';

/** Starts leaders with posix_spawn(3): the same cost at any heap size, and it reports the leader's resource usage. */
export class PosixLauncher implements Launcher {
  readonly name = 'posix_spawn';
  readonly #reaper: ChildReaper;

  constructor(reaper: ChildReaper) {
    this.#reaper = reaper;
  }

  async launch(spec: LaunchSpec, inside: <T>(spawn: () => T) => T): Promise<Leader> {
    const pid = inside(() => spawnScriptOrProgram(spec));
    const ownPeakRssBytes = process.resourceUsage().maxRSS * 1024;
    const ended = new Promise<LeaderEnd>((resolve) => {
      this.#reaper.expectLeader(pid, ({ code, signal, cpuMs, peakRssBytes }) => {
        // Until its exec the child shares the daemon's memory, and the kernel counts that as the child's peak. A figure says
        // something only where it is beyond the daemon's own. (Measured: `true` shows the daemon's 118 MiB.)
        const peak = peakRssBytes > ownPeakRssBytes ? peakRssBytes : null;
        resolve({ exit: { code, signal }, usage: { cpuMs: Math.round(cpuMs), peakRssBytes: peak } });
      });
    });
    return { pid, ended };
  }
}

/** A text file without a `#!` line is run by the shell, as execvp(3) does. */
function spawnScriptOrProgram(spec: LaunchSpec): number {
  const { file, argv, env, cwd, stdio } = spec;
  try {
    return spawnSession({ path: file, argv, env, cwd, stdio });
  } catch (error) {
    if (!isErrno(error, 'ENOEXEC')) throw error;
    return spawnSession({ path: '/bin/sh', argv: ['sh', file, ...argv.slice(1)], env, cwd, stdio });
  }
}
