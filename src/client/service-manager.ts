/** Starts the daemon as a service of systemd, so that it has a cgroup of its own and ends with nothing left behind. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import { CorralError, type CorralPaths, isErrno, resolvePaths } from '../protocol/index.ts';
import type { ReadyReport } from './ready-report.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** The unit of systemd/ in this package, where somebody has installed it. */
const unit = 'corral.service';

/** What decides where things are. A manager has an environment of its own, in which they must not say something else. */
const placeVariables = [
  'CORRAL_STATE_DIR',
  'CORRAL_RUNTIME_DIR',
  'CORRAL_SOCKET',
  'CORRAL_CONFIG',
  'XDG_STATE_HOME',
  'XDG_CONFIG_HOME',
  'HOME',
];

export interface ServiceManager {
  /** Whose: `system` is asked by root and for the installed unit only. */
  readonly scope: 'system' | 'user';
  readonly env: Environment;
}

/** The manager that services of this user are started by, or `null` where none runs. */
export function findServiceManager(env: Environment, uid: number): ServiceManager | null {
  // sd_booted(3)
  if (uid === 0) return lstat('/run/systemd/system')?.isDirectory() === true ? { scope: 'system', env } : null;
  const runtimeDir = env.XDG_RUNTIME_DIR ?? '';
  const socket = runtimeDir.startsWith('/') ? lstat(`${runtimeDir}/systemd/private`) : null;
  return socket?.isSocket() === true && socket.uid === uid ? { scope: 'user', env } : null;
}

/** Whether these are the places of a daemon that nobody has told where to be, as the installed unit's is. */
export function areUsualPlaces(paths: CorralPaths, env: Environment, uid: number): boolean {
  const home = accountOf()?.homedir;
  const usual = resolvePaths({ HOME: home, XDG_RUNTIME_DIR: env.XDG_RUNTIME_DIR }, uid);
  return (['stateDir', 'socket', 'configFile'] as const).every((name) => paths[name] === usual[name]);
}

/**
 * Starts the installed unit, and waits until it is ready.
 *
 * @returns what the daemon would report itself, or `null` where no such unit is installed or the manager does not answer
 * @throws CorralError `DAEMON_START_FAILED` with the daemon's own reason: beside a unit no other daemon is started, for the unit
 *   could not start any more then
 */
export async function startInstalledUnit(manager: ServiceManager): Promise<ReadyReport | null> {
  const known = await show(manager, 'LoadState', 'ActiveState');
  if (known.LoadState === undefined || known.LoadState === 'not-found') return null;
  if (known.ActiveState === 'active') {
    return { ok: false, code: 'DAEMON_RUNNING', message: `The unit ${unit} is active already.` };
  }
  const { code, stderr } = await run('systemctl', [`--${manager.scope}`, 'start', unit], manager.env);
  const { MainPID, StatusText } = await show(manager, 'MainPID', 'StatusText');
  if (code === 0) return { ok: true, pid: Number(MainPID) };
  const reason = StatusText || (stderr.split('\n')[0] ?? '');
  const systemctl = manager.scope === 'user' ? 'systemctl --user' : 'systemctl';
  throw new CorralError(
    'DAEMON_START_FAILED',
    `The daemon did not start: ${reason} Look at its unit: ${systemctl} status corral`,
  );
}

/** Properties of the unit; none where the manager does not answer. */
async function show(manager: ServiceManager, ...names: string[]): Promise<Record<string, string>> {
  const { stdout } = await run(
    'systemctl',
    [`--${manager.scope}`, 'show', `--property=${names.join(',')}`, unit],
    manager.env,
  );
  const lines = stdout.split('\n').filter((line) => line.includes('='));
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

export interface Service {
  /** Program and arguments. */
  readonly command: readonly string[];
  /** All that it gets of the caller's environment. */
  readonly env: Environment;
  readonly stdoutFile: string;
  readonly stderrFile: string;
  readonly readyWithinMs: number;
}

/**
 * Runs a program as a unit of its own under the user's manager, and waits until it says that it is ready, or ends.
 *
 * @returns why the manager says that it did not work; `null` where it did
 */
export async function runAsUnit(service: Service): Promise<string | null> {
  const names = Object.keys(service.env).filter((name) => service.env[name] !== undefined);
  const properties = [
    'Type=notify',
    `TimeoutStartSec=${service.readyWithinMs}ms`,
    // As in systemd/user/corral.service.
    'WatchdogSec=30',
    'Delegate=yes',
    'KillMode=mixed',
    'TimeoutStopSec=10',
    'OOMPolicy=continue',
    'LimitNOFILE=524288',
    'TasksMax=infinity',
    `UnsetEnvironment=${placeVariables.filter((name) => !names.includes(name)).join(' ')}`,
    `StandardOutput=file:${service.stdoutFile}`,
    `StandardError=append:${service.stderrFile}`,
  ];
  const args = [
    '--user',
    '--quiet',
    '--collect',
    // Never the name of one that is just ending; whoever is second finds the state directory taken.
    `--unit=corral-${randomBytes(4).toString('hex')}`,
    '--description=corral job supervisor, started on demand',
    ...properties.map((property) => `--property=${property}`),
    // By name only: everybody can read the arguments of a process.
    ...names.map((name) => `--setenv=${name}`),
    '--',
    ...service.command.map((word) => word.replaceAll('$', '$$$$')),
  ];
  const { code, stderr } = await run('systemd-run', args, service.env, service.readyWithinMs);
  return code === 0 ? null : (stderr.trim().split('\n')[0] ?? '');
}

/** A sentence on what becomes of a daemon under the user's manager at the last logout; `null` where nothing does. loginctl(1) */
export function lingeringNotice(): string | null {
  const user = accountOf()?.username;
  if (user === undefined || lstat(`/var/lib/systemd/linger/${user}`) !== null) return null;
  return 'the daemon and its jobs end when you log out for the last time; to keep them: loginctl enable-linger';
}

interface Outcome {
  /** `null` where the program could not be run, or not to its end. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How much longer than the service itself the manager may take. */
const patienceMs = 5_000;

function run(program: string, args: readonly string[], env: Environment, withinMs = 60_000): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(program, args, { env, timeout: withinMs + patienceMs }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
      resolve({ code, stdout, stderr: stderr || (error?.message ?? '') });
    });
  });
}

/** Who this is for the system; `null` for a uid that has no account. */
function accountOf(): { username: string; homedir: string } | null {
  try {
    return os.userInfo();
  } catch (error) {
    if (isErrno(error, 'ERR_SYSTEM_ERROR')) return null;
    throw error;
  }
}

function lstat(path: string): fs.Stats | null {
  try {
    return fs.lstatSync(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return null;
    throw error;
  }
}
