import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { compileCacheDir } from '../compile-cache.ts';
import { CorralError, type CorralPaths, isErrorCode, programUrl } from '../protocol/index.ts';
import type { ReadyReport } from './ready-report.ts';
import {
  areUsualPlaces,
  findServiceManager,
  lingeringNotice,
  runAsUnit,
  type ServiceManager,
  startInstalledUnit,
} from './service-manager.ts';

export const daemonProgram = fileURLToPath(programUrl('../daemon/entry', import.meta.url));

/** Flags for the Node that runs the daemon: node:sqlite still warns that it is new. */
export const nodeFlags = ['--disable-warning=ExperimentalWarning'];

/** The daemon would turn its cache on itself, but only after its first files. */
export function compileCache(env: Environment): { NODE_COMPILE_CACHE?: string } {
  const dir = compileCacheDir(env, process.getuid?.() ?? 0);
  return dir === null ? {} : { NODE_COMPILE_CACHE: dir };
}

/** How long a daemon may take until it answers: it may have to end what an earlier one left behind. */
const startTimeoutMs = 30_000;

/** A daemon outlives whoever started it, so of the environment it gets only what it needs itself. Jobs have their caller's. */
const inherited = /^(HOME|PATH|USER|LOGNAME|LANG|LC_.*|TZ|TMPDIR|XDG_.*|DBUS_SESSION_BUS_ADDRESS|NODE_.*|CORRAL_.*)$/;
const ofJobs = ['CORRAL_JOB_ID', 'CORRAL_ATTEMPT', 'CORRAL_REPORT', 'CORRAL_MARK', 'CORRAL_SCOPE'];

type Environment = Readonly<Record<string, string | undefined>>;

/** For a person who is there: a sentence about the daemon that has just been started. */
export type Notice = (sentence: string) => void;

/**
 * Starts a daemon in the background and waits until it is ready: as a service where systemd runs, so that it has a cgroup, else
 * as a process of its own.
 *
 * @returns its pid, or `null` where another was quicker and is running
 * @throws CorralError with the daemon's own reason
 */
export async function startDaemon(
  paths: CorralPaths,
  env: Environment,
  notice: Notice = () => {},
): Promise<number | null> {
  const logFile = `${paths.stateDir}/daemon.log`;
  const report = await launch(paths, env, logFile, notice);
  if (report === null) {
    throw new CorralError(
      'DAEMON_START_FAILED',
      `The daemon ended before it was ready, or was not ready within ${startTimeoutMs / 1_000} s. Its log: ${logFile}`,
    );
  }
  if (report.ok) return report.pid;
  if (report.code === 'DAEMON_RUNNING') return null;
  throw new CorralError(
    isErrorCode(report.code) ? report.code : 'DAEMON_START_FAILED',
    `The daemon did not start: ${report.message}`,
  );
}

async function launch(
  paths: CorralPaths,
  env: Environment,
  logFile: string,
  notice: Notice,
): Promise<ReadyReport | null> {
  const uid = process.getuid?.() ?? 0;
  const manager = findServiceManager(env, uid);
  if (manager !== null && areUsualPlaces(paths, env, uid)) {
    const report = await startInstalledUnit(manager);
    if (report !== null) return withLingering(report, manager, notice);
  }
  // root's daemon has the host's cgroups without a service.
  if (manager?.scope !== 'user') return launchProcess(paths, env, logFile);
  const { report, failure } = await launchUnit(paths, env, logFile);
  if (report !== null) return withLingering(report, manager, notice);
  notice(
    `the user's service manager did not start the daemon, so it runs without (${failure}); see: corral daemon status`,
  );
  return launchProcess(paths, env, logFile);
}

function withLingering(report: ReadyReport, manager: ServiceManager, notice: Notice): ReadyReport {
  const sentence = report.ok && manager.scope === 'user' ? lingeringNotice() : null;
  if (sentence !== null) notice(sentence);
  return report;
}

/** The daemon's own. Ask for it once there is a state directory: the compile cache is in it. */
function environmentOf(env: Environment): Environment {
  const kept = Object.entries(env).filter(([name]) => inherited.test(name) && !ofJobs.includes(name));
  return { ...Object.fromEntries(kept), ...compileCache(env), CORRAL_BACKGROUND: '1' };
}

/** The daemon says in a file of its own whether it is ready, for a manager tells no more than that it failed. */
async function launchUnit(
  paths: CorralPaths,
  env: Environment,
  logFile: string,
): Promise<{ report: ReadyReport | null; failure: string | null }> {
  fs.closeSync(openLog(paths.stateDir, logFile));
  const stdoutFile = `${paths.stateDir}/start-${randomUUID()}.json`;
  try {
    const failure = await runAsUnit({
      command: [process.execPath, ...nodeFlags, daemonProgram],
      env: environmentOf(env),
      stdoutFile,
      stderrFile: logFile,
      readyWithinMs: startTimeoutMs,
    });
    const text = fs.existsSync(stdoutFile) ? fs.readFileSync(stdoutFile, 'utf8') : '';
    return { report: text.endsWith('\n') ? (JSON.parse(text) as ReadyReport) : null, failure };
  } finally {
    fs.rmSync(stdoutFile, { force: true });
  }
}

function launchProcess(paths: CorralPaths, env: Environment, logFile: string): Promise<ReadyReport | null> {
  const logFd = openLog(paths.stateDir, logFile);
  const child = spawn(process.execPath, [...nodeFlags, daemonProgram], {
    detached: true,
    cwd: '/',
    env: environmentOf(env),
    stdio: ['ignore', 'pipe', logFd],
  });
  fs.closeSync(logFd);
  child.unref();
  const ready = child.stdout;
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => settle(null), startTimeoutMs);
    const settle = (report: ReadyReport | null) => {
      clearTimeout(timer);
      ready?.destroy();
      resolve(report);
    };
    child.on('error', (error) =>
      reject(new CorralError('DAEMON_START_FAILED', `The daemon could not be started: ${error.message}`)),
    );
    ready?.on('data', (chunk) => {
      text += String(chunk);
      if (text.endsWith('\n')) settle(JSON.parse(text) as ReadyReport);
    });
    ready?.on('end', () => settle(null));
  });
}

function openLog(stateDir: string, logFile: string): number {
  try {
    fs.mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    return fs.openSync(logFile, 'a', 0o600);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new CorralError(
      'DAEMON_START_FAILED',
      `The state directory ${stateDir} cannot be used: ${error.message}. Set CORRAL_STATE_DIR to a folder that is yours.`,
    );
  }
}
