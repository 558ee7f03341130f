import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { alivePids } from '../../src/daemon/process/cgroup-tree.ts';
import { run } from '../packaging/installed.ts';
import type { Outcome } from '../support/cli.ts';

const script = fileURLToPath(new URL('./box', import.meta.url));

/** Why no systemd can be booted here; `false` where one can. */
export const whyNoBox: string | false = findObstacle();

function findObstacle(): string | false {
  if (process.getuid?.() !== 0) return 'a systemd of its own for a test needs root';
  if (!fs.existsSync('/lib/systemd/systemd')) return 'systemd is not installed (/lib/systemd/systemd)';
  if (!/ - cgroup2 /.test(fs.readFileSync('/proc/self/mountinfo', 'utf8'))) return 'no cgroup v2 hierarchy is mounted';
  const { error, status, stderr } = spawnSync('unshare', ['-m', '-p', '-C', '-u', '-i', '--fork', 'true']);
  return status === 0 ? false : `namespaces cannot be made here: ${error?.message ?? String(stderr).trim()}`;
}

export interface BoxUser {
  readonly uid: number;
  readonly env: NodeJS.ProcessEnv;
}

const basicEnv = { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', HOME: '/root', LANG: 'C.UTF-8' };

/** A host of its own with a real systemd; see the script beside this file. */
export class Box {
  readonly #process: ChildProcess;
  readonly #init: number;

  private constructor(process: ChildProcess, init: number) {
    this.#process = process;
    this.#init = init;
  }

  /** `share` is its /mnt. It lives until `shutDown`, and no longer than this process. */
  static async boot(scratch: string, share: string): Promise<Box> {
    const child = spawn(script, [scratch, share], { stdio: ['pipe', 'pipe', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    const init = await Promise.race([once(child.stdout, 'data'), once(child, 'close')]);
    const pid = Number.parseInt(String(init[0]), 10);
    if (!(pid > 1)) throw new Error(`systemd did not come up: ${stderr}`);
    return new Box(child, pid);
  }

  async shutDown(): Promise<void> {
    const closed = once(this.#process, 'close');
    this.#process.stdin?.end();
    await closed;
  }

  /** Runs a command as root, or as a user. It is outside the cgroups of the box, as a login from elsewhere. */
  run(command: readonly string[], { user, env }: { user?: BoxUser; env?: NodeJS.ProcessEnv } = {}): Promise<Outcome> {
    const identity = user === undefined ? [] : ['-S', String(user.uid), '-G', String(user.uid)];
    return run('nsenter', ['-t', String(this.#init), '-a', ...identity, '--', ...command], {
      env: { ...basicEnv, ...user?.env, ...env },
    });
  }

  /** The stdout of a command that succeeds, without its last newline. */
  async must(command: readonly string[], options: { user?: BoxUser; env?: NodeJS.ProcessEnv } = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(command, options);
    if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}: ${stderr}${stdout}`);
    return stdout.trimEnd();
  }

  /** A property of a unit. */
  show(property: string, unit: string): Promise<string> {
    return this.must(['systemctl', 'show', `--property=${property}`, '--value', unit]);
  }

  /** Pids, as the host counts them, of what lives in a cgroup of the box and those below it. */
  pidsIn(cgroup: string): number[] {
    const [, mount] =
      /^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 /m.exec(fs.readFileSync('/proc/self/mountinfo', 'utf8')) ?? [];
    const [, box] = /^0::(\/.*)\/init\.scope$/m.exec(fs.readFileSync(`/proc/${this.#init}/cgroup`, 'utf8')) ?? [];
    if (mount === undefined || box === undefined) throw new Error('the cgroup of the box is not where it was');
    return alivePids(`${mount}${box}${cgroup}`);
  }
}
