import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Client, type ConnectOptions, connect } from '../../src/client/index.ts';
import { findCgroupPlace } from '../../src/daemon/process/cgroup-place.ts';
import { removeTree } from '../../src/daemon/process/cgroup-tree.ts';
import { instanceText } from '../../src/daemon/process/marks.ts';
import { sweepProcesses } from '../../src/daemon/process/sweep.ts';
import { isAlive } from './processes.ts';
import { waitFor } from './wait-for.ts';

const program = fileURLToPath(new URL('../../src/daemon/main.ts', import.meta.url));

/** Daemons of tests start in half the time when they need not compile themselves anew. */
const compileCache = fileURLToPath(new URL('../../node_modules/.cache/corral', import.meta.url));

export type Tier = 'cgroup' | 'scan';

const leavesParent = findLeavesParent();

/** The tiers that this host can give, with the reason for one that it cannot. */
export const tiers: readonly { tier: Tier; skip: string | false }[] = [
  { tier: 'cgroup', skip: whyNoCgroup() },
  { tier: 'scan', skip: false },
];

function whyNoCgroup(): string | false {
  return leavesParent.startsWith('/') ? false : `tier cgroup cannot be had here: ${leavesParent}`;
}

/**
 * The cgroup that daemons of tests make theirs in, or why there is none. Asked once, under a name that no daemon and no other
 * test process has: to ask is to go into the cgroup for a moment, and a guardian or another test that kills it in that
 * moment would kill this process.
 */
function findLeavesParent(): string {
  const place = findCgroupPlace(0xf000_0000 + process.pid, process.getuid?.() ?? 0);
  if (typeof place === 'string') return place;
  fs.rmdirSync(place.base);
  return path.dirname(place.base);
}

export interface DaemonOptions {
  readonly tier?: Tier;
  readonly parallel?: number;
  readonly env?: Record<string, string>;
  /** A disk of its own for the state, of this size, such as `8m`. Needs root: see `whyNoSmallDisk`. */
  readonly diskSize?: string;
  /** A line of shell that comes before the daemon, in the same process: `ulimit -n 128`. */
  readonly prelude?: string;
}

/** Why tests cannot have a small disk; `false` where they can. */
export const whyNoSmallDisk: string | false =
  process.getuid?.() === 0 ? false : 'a disk of its own for a test can be mounted by root only';

/** A folder for one test's daemon, with everything that the daemon leaves in it, and on the machine, gone at the end of the test. */
export class DaemonUnderTest {
  readonly dir: string;
  readonly socket: string;
  readonly stateDir: string;
  readonly env: Record<string, string>;
  readonly #clients: Client[] = [];
  readonly #hasDisk: boolean;
  #instance: number | null = null;
  readonly #prelude: string;
  #child: ChildProcess | null = null;

  constructor(t: TestContext, options: DaemonOptions = {}) {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-test-'));
    this.stateDir = `${this.dir}/state`;
    this.socket = options.env?.CORRAL_SOCKET ?? `${this.dir}/run/corral.sock`;
    this.env = {
      PATH: process.env.PATH ?? '/usr/bin:/bin',
      HOME: this.dir,
      NODE_COMPILE_CACHE: compileCache,
      CORRAL_STATE_DIR: this.stateDir,
      CORRAL_RUNTIME_DIR: `${this.dir}/run`,
      CORRAL_LAUNCHER: process.env.CORRAL_LAUNCHER ?? 'posix_spawn',
      ...(options.tier === undefined ? {} : { CORRAL_CONTAINMENT: options.tier }),
      ...options.env,
    };
    if (options.diskSize !== undefined) {
      fs.mkdirSync(this.stateDir);
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${options.diskSize},mode=700`, 'corral-test', this.stateDir]);
    }
    this.#hasDisk = options.diskSize !== undefined;
    this.#prelude = options.prelude ?? ':';
    t.after(() => this.#cleanUp());
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('the daemon was not started');
    return pid;
  }

  /** Starts a daemon in the state directory. Resolves when it is ready. */
  async start(): Promise<this> {
    const { child, report } = spawnDaemon(this.env, this.#prelude);
    this.#child = child;
    const text = await report;
    if (!text.includes('"ok":true')) throw new Error(`the daemon did not start: ${text}${this.log()}`);
    this.#instance = readInstance(this.stateDir);
    return this;
  }

  async client(options: Partial<ConnectOptions> = {}): Promise<Client> {
    const client = await connect({ socket: this.socket, env: this.env, ...options });
    this.#clients.push(client);
    return client;
  }

  /** SIGKILL, at once. Resolves when the daemon is gone. */
  async kill(): Promise<void> {
    await this.signal('SIGKILL');
  }

  /** Sends a signal that ends the daemon. Resolves with its exit code. */
  async signal(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return null;
    const exit = once(child, 'exit');
    child.kill(signal);
    const [code] = await exit;
    return code;
  }

  log(): string {
    const file = `${this.stateDir}/daemon.log`;
    return fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';
  }

  /** The cgroup that holds this daemon's leaves, whether or not it exists now. */
  leavesDir(): string | null {
    return leavesParent.startsWith('/') ? `${leavesParent}/corral-${instanceText(this.instance())}` : null;
  }

  /** As it was at the last start: the test may have broken the store since. */
  instance(): number {
    this.#instance ??= readInstance(this.stateDir);
    return this.#instance;
  }

  async #cleanUp(): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.kill();
    if (this.#instance !== null || fs.existsSync(`${this.stateDir}/corral.db`)) {
      await sweepProcesses({ instance: this.instance(), leaders: [] });
      const leaves = this.leavesDir();
      if (leaves !== null) await waitFor('the leaves are gone', () => removeTree(leaves));
    }
    const log = this.log();
    if (this.#hasDisk) execFileSync('umount', ['--lazy', this.stateDir]);
    fs.rmSync(this.dir, { recursive: true, force: true });
    // An answer INTERNAL, or with a code that docs/protocol.md does not name for its method: a defect, whatever the test is about.
    assert.deepEqual(log.match(/^.*"message":"method \S+ failed".*$/gm), null);
  }
}

function readInstance(stateDir: string): number {
  const db = new DatabaseSync(`${stateDir}/corral.db`, { readOnly: true });
  try {
    return Number(db.prepare("SELECT value FROM meta WHERE key = 'instance'").get()?.value);
  } finally {
    db.close();
  }
}

/** Spawns a daemon; `report` resolves with the line in which it says that it is ready, or why not. */
export function spawnDaemon(
  env: Record<string, string>,
  prelude = ':',
): { child: ChildProcess; report: Promise<string> } {
  const daemon = [process.execPath, '--disable-warning=ExperimentalWarning', program];
  const child = spawn('/bin/sh', ['-c', `${prelude}; exec "$@"`, 'sh', ...daemon], {
    cwd: '/',
    env: { ...env, CORRAL_BACKGROUND: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const report = new Promise<string>((resolve) => {
    let text = '';
    child.stdout?.on('data', (chunk) => {
      text += String(chunk);
    });
    child.stdout?.on('close', () => resolve(text));
  });
  return { child, report };
}

/** A running daemon with a client. */
export async function startDaemon(
  t: TestContext,
  options: DaemonOptions = {},
): Promise<{ daemon: DaemonUnderTest; client: Client }> {
  const daemon = await new DaemonUnderTest(t, options).start();
  const client = await daemon.client();
  if (options.parallel !== undefined) await client.setGroup('default', { parallel: options.parallel });
  return { daemon, client };
}

export async function guardianPid(client: Client): Promise<number> {
  const { guardianPid: pid } = await client.status();
  if (pid === null || !isAlive(pid)) throw new Error('there is no guardian');
  return pid;
}
