import fs from 'node:fs';

let tokens = 0;

/**
 * A duration for sleep(1) that no other process on the machine has, so that the processes of one test can be counted by
 * their command lines, whatever else they have shaken off.
 */
export function sleepToken(): string {
  tokens += 1;
  return `6${String(process.pid).padStart(7, '0')}.${String(tokens).padStart(4, '0')}`;
}

/** Pids of the live processes that have the token among their arguments. */
export function pidsWith(token: string): number[] {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && commandLine(name).includes(token))
    .map(Number);
}

/** Empty for zombies, kernel threads and processes that are gone. */
function commandLine(pid: string): string {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return '';
    throw error;
  }
}

export function isAlive(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(fs.readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return false;
    throw error;
  }
}

/** Ends processes of a test that nobody else ends, by pid. */
export function endAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
  }
}
