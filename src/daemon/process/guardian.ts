import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { programUrl } from '../../protocol/index.ts';
import { type ChildReaper, readStat } from '../linux/index.ts';

/**
 * The guardian: a shell that waits on a pipe from the daemon, in a few hundred KB. When the daemon dies, in whatever way, the
 * kernel closes the pipe. The guardian then kills the cgroup of all attempts (one write, tier cgroup), and becomes the
 * sweeper, which ends by its mark what is left. A daemon that stopped in order has said `done` before.
 *
 * It ignores the signals of a terminal and of a service manager. It holds the guardian lock until it has finished, so a new
 * daemon cannot start jobs that an old guardian would take for its own.
 */
const script = `
trap '' HUP INT QUIT TERM PIPE
while read -r word; do [ "$word" = done ] && exit 0; done
[ -z "$1" ] || echo 1 >"$1/cgroup.kill"
shift
exec "$@"
`;

const sweeper = fileURLToPath(programUrl('./sweeper', import.meta.url));

/** Where not even a shell can be started, such as at a limit on processes, it is tried again after this long. */
const startAgainMs = 1_000;

/** How long a guardian that is dismissed may take to go. */
const dismissMs = 1_000;

export interface GuardianOptions {
  readonly killSwitch: string | null;
  readonly instance: number;
  /** Descriptor of the guardian lock, already locked; the guardian inherits it. */
  readonly lockFd: number;
  readonly reaper: ChildReaper;
  readonly onLost: (reason: string) => void;
}

/** Keeps one guardian alive for as long as the daemon lives. */
export class Guardian {
  readonly #options: GuardianOptions;
  #child: ChildProcess | null = null;

  constructor(options: GuardianOptions) {
    this.#options = options;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Starts the guardian, and another whenever it dies. */
  start(): void {
    const { killSwitch, instance, lockFd, reaper, onLost } = this.#options;
    const sweep = [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      sweeper,
      String(instance),
      killSwitch ?? '',
    ];
    const child = spawn('/bin/sh', ['-c', script, 'corral-guardian', killSwitch ?? '', ...sweep], {
      detached: true,
      cwd: '/',
      stdio: ['pipe', 'ignore', 'ignore', lockFd],
    });
    this.#child = child;
    if (child.pid !== undefined) noteHolder(lockFd, child.pid);
    if (child.pid !== undefined) child.on('exit', reaper.leaveToLibuv(child.pid));
    // A dead guardian's pipe breaks; its exit event is what is acted upon.
    child.stdin?.on('error', () => {});
    child.on('error', (error) => {
      onLost(error.message);
      setTimeout(() => this.#restart(child), startAgainMs);
    });
    child.on('exit', (code, signal) => {
      if (this.#child === child) onLost(`pid ${child.pid} ended with ${signal ?? code}`);
      this.#restart(child);
    });
  }

  #restart(lost: ChildProcess): void {
    if (this.#child === lost) this.start();
  }

  /** All jobs have ended: the guardian may go without doing anything. Resolves when it has. */
  async dismiss(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      // All jobs are over, so a guardian that does not answer, such as a stopped one, is no loss.
      const timer = setTimeout(() => child.kill('SIGKILL'), dismissMs);
      child.on('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      child.stdin?.end('done\n');
    });
  }
}

/** Writes into the lock file who holds it, so that a later daemon can end a guardian that hangs. */
function noteHolder(lockFd: number, pid: number): void {
  fs.ftruncateSync(lockFd);
  fs.writeSync(lockFd, `${pid} ${readStat(pid)?.startTicks ?? 0}\n`, 0);
}
