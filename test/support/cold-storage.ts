import fs from 'node:fs';
import type { TestContext } from 'node:test';
import { waitFor } from './wait-for.ts';

/** Where cgroup v1 freezes processes: in it, SIGKILL waits until they are thawed, as in state D. */
const freezer = '/sys/fs/cgroup/freezer';

/** Why processes cannot be made unkillable here; `false` where they can. */
export const whyNoColdStorage: string | false =
  process.getuid?.() === 0 && fs.existsSync(`${freezer}/cgroup.procs`)
    ? false
    : 'needs root and a freezer of cgroup v1, the only way to a process that SIGKILL does not end';

/**
 * Makes processes unkillable, until they are let go or the test ends. To be had before the daemon of the test: what is added first is
 * cleaned up first, and the daemon's processes have to end.
 */
export class ColdStorage {
  readonly #dir = `${freezer}/corral-test-${process.pid}`;

  constructor(t: TestContext) {
    fs.mkdirSync(this.#dir);
    t.after(async () => {
      await this.letGo();
      fs.rmdirSync(this.#dir);
    });
  }

  async freeze(pid: number): Promise<void> {
    fs.writeFileSync(`${this.#dir}/cgroup.procs`, String(pid));
    fs.writeFileSync(`${this.#dir}/freezer.state`, 'FROZEN');
    await waitFor('it is frozen', () => fs.readFileSync(`${this.#dir}/freezer.state`, 'utf8').trim() === 'FROZEN');
  }

  /** They end now, for SIGKILL is what waits for them. */
  async letGo(): Promise<void> {
    const pids = () => fs.readFileSync(`${this.#dir}/cgroup.procs`, 'utf8').split('\n').filter(Boolean);
    for (const pid of pids()) process.kill(Number(pid), 'SIGKILL');
    fs.writeFileSync(`${this.#dir}/freezer.state`, 'THAWED');
    await waitFor('they are gone', () => pids().length === 0);
  }
}
