import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Outcome, outcomeOf } from '../support/cli.ts';
import { DaemonUnderTest } from '../support/daemon.ts';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Who installs or uses the package. */
export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export const self: User = { name: 'this user', uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

/** nobody, who owns nothing. Only root can become somebody else. */
export const nobody: User = { name: 'an ordinary user', uid: 65_534, gid: 65_534 };

interface RunOptions {
  readonly user?: User;
  readonly umask?: string;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

export function start(program: string, args: readonly string[], options: RunOptions = {}): ChildProcess {
  const { user = self, umask = '022', cwd = '/', env = process.env } = options;
  const identity = user === self ? {} : { uid: user.uid, gid: user.gid };
  return spawn('/bin/sh', ['-c', 'umask "$1"; shift; exec "$@"', 'sh', umask, program, ...args], {
    ...identity,
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return outcomeOf(start(program, args, options));
}

export async function mustRun(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(program, args, options);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
  return stdout;
}

/** The tarball that would be published. */
export async function pack(destination: string): Promise<string> {
  await mustRun('npm', ['run', 'pack', '--', '--pack-destination', destination], { cwd: root });
  const [tarball, ...others] = fs.readdirSync(destination).filter((name) => name.endsWith('.tgz'));
  if (tarball === undefined || others.length > 0) throw new Error(`npm pack made ${tarball} ${others}`);
  return `${destination}/${tarball}`;
}

/** How the registry is reached, where the environment says it. */
const reaching = /^npm_config_(cafile|ca|strict_ssl|proxy|https_proxy|noproxy)$/;

/** For an npm that installs the package: the registry of the checkout, and none of its other settings. */
export function npmEnvironment(): NodeJS.ProcessEnv {
  const registry = execFileSync('npm', ['config', 'get', 'registry'], { cwd: root, encoding: 'utf8' }).trim();
  return {
    ...Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith('npm_') || reaching.test(name)),
    ),
    npm_config_registry: registry,
    npm_config_ignore_scripts: 'true',
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_prefer_offline: 'true',
  };
}

/** A folder of somebody who has installed the tarball in it. */
export class Installation {
  readonly dir: string;
  readonly owner: User;
  readonly umask: string;

  constructor(dir: string, owner: User, umask: string) {
    this.dir = dir;
    this.owner = owner;
    this.umask = umask;
  }

  /** The package as it lies there. */
  get package(): string {
    return `${this.dir}/node_modules/corral`;
  }

  bin(name: string): string {
    return `${this.dir}/node_modules/.bin/${name}`;
  }

  /** `nodeDir` holds the Node to install and run with. */
  async install(tarball: string, nodeDir: string): Promise<this> {
    fs.mkdirSync(this.dir);
    fs.writeFileSync(`${this.dir}/package.json`, '{ "private": true, "type": "module" }\n');
    for (const file of [this.dir, `${this.dir}/package.json`]) fs.chownSync(file, this.owner.uid, this.owner.gid);
    const { code, stdout, stderr } = await this.npmInstall([tarball], nodeDir);
    if (code !== 0) throw new Error(`npm install ${tarball} ended with ${code}: ${stderr}${stdout}`);
    return this;
  }

  /** For something more that is to lie beside it. */
  npmInstall(args: readonly string[], nodeDir: string): Promise<Outcome> {
    const home = this.owner === self ? {} : { HOME: this.dir };
    return run('npm', ['install', ...args], {
      user: this.owner,
      umask: this.umask,
      cwd: this.dir,
      env: { ...npmEnvironment(), ...home, PATH: `${nodeDir}:${process.env.PATH}` },
    });
  }
}

/** A user of an installation, with folders of their own for a daemon, which is gone at the end of the test. */
export class Usage {
  readonly daemon: DaemonUnderTest;
  readonly options: {
    readonly user: User;
    readonly umask: string;
    readonly cwd: string;
    readonly env: NodeJS.ProcessEnv;
  };
  readonly #installation: Installation;

  constructor(t: TestContext, installation: Installation, user: User, nodeDir: string, tier?: 'scan') {
    t.after(() => this.corral('daemon', 'stop'));
    this.daemon = new DaemonUnderTest(t, tier === undefined ? {} : { tier });
    fs.chownSync(this.daemon.dir, user.uid, user.gid);
    const { NODE_COMPILE_CACHE: _ofTheCheckout, ...env } = this.daemon.env;
    this.options = {
      user,
      umask: installation.umask,
      cwd: this.daemon.dir,
      env: { ...env, PATH: `${nodeDir}:${process.env.PATH}` },
    };
    this.#installation = installation;
  }

  corral(...args: string[]): Promise<Outcome> {
    return run(this.#installation.bin('corral'), args, this.options);
  }

  corrald(...args: string[]): ChildProcess {
    return start(this.#installation.bin('corrald'), args, this.options);
  }
}

/** `path: mode` of each thing below a folder that its owner is not alone with. */
export function sharedFolders(dir: string): string[] {
  const folders = [dir, ...fs.readdirSync(dir).map((name) => path.join(dir, name))];
  return folders.flatMap((folder) => {
    const stat = fs.lstatSync(folder);
    return stat.isDirectory() && (stat.mode & 0o777) !== 0o700 ? [`${folder}: ${(stat.mode & 0o777).toString(8)}`] : [];
  });
}
