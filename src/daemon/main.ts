/** The composition root: builds the shells, puts them together, starts the loop. */
import fs from 'node:fs';
import { CorralError, isErrno, version } from '../protocol/index.ts';
import { readConfig } from './config/index.ts';
import { currentAttempt } from './core/index.ts';
import { startIpcServer } from './ipc/index.ts';
import { becomeSubreaper, ChildReaper, closeInheritedDescriptors, peerCredentials } from './linux/index.ts';
import { createLog } from './log.ts';
import { chooseContainment, chooseLauncher, Guardian, OutputFiles, Runner } from './process/index.ts';
import type { Log } from './shells.ts';
import { lockSocket, lockStateDir, makePrivateDir } from './state-dir.ts';
import { SqliteStore } from './store/index.ts';
import { Supervisor } from './supervisor.ts';

/** A background daemon says on its stdout, in one JSON line, that it is ready or why it is not. */
const isBackground = process.env.CORRAL_BACKGROUND === '1';
delete process.env.CORRAL_BACKGROUND;
const stdout = 1;

async function main(): Promise<void> {
  closeInheritedDescriptors();
  const uid = process.getuid?.() ?? 0;
  const startedAt = new Date().toISOString();
  const config = readConfig(process.env, uid);
  const { stateDir, runtimeDir, socket } = config.paths;
  makePrivateDir(stateDir, uid);
  makePrivateDir(runtimeDir, uid);
  const { guardianLockFd } = await lockStateDir(stateDir);
  lockSocket(socket);
  const log = createLog({
    level: config.logLevel,
    file: isBackground ? `${stateDir}/daemon.log` : null,
    isTerminal: process.stderr.isTTY === true,
  });
  dieLoudly(log);

  becomeSubreaper();
  const reaper = new ChildReaper();
  const store = new SqliteStore(`${stateDir}/corral.db`);
  const snapshot = store.load();
  const containment = chooseContainment({ wanted: config.containment, instance: snapshot.instance, uid, reaper });
  const launcher = await chooseLauncher(config.launcher, reaper);
  const output = new OutputFiles(stateDir);

  // Before anything is served or started: end what an earlier daemon left behind.
  const lost = snapshot.jobs.flatMap((job) =>
    job.phase.status === 'queued' ? [] : (currentAttempt(job).leader ?? []),
  );
  const swept = await containment.sweep(lost);

  const guardian = new Guardian({
    killSwitch: containment.killSwitch,
    instance: snapshot.instance,
    lockFd: guardianLockFd,
    reaper,
    onLost: (reason) => log.warn('guardian lost, starting another', { reason }),
  });
  guardian.start();
  reaper.onExits = () => containment.onExits();
  reaper.start();

  const runner = new Runner({ containment, launcher, output, socket, emit: (event) => supervisor.emit(event) });
  const supervisor: Supervisor = new Supervisor({
    store,
    processes: {
      tier: containment.tier,
      launch: (job) => void runner.launch(job),
      terminate: (jobId) => runner.terminate(jobId),
      kill: (jobId) => runner.kill(jobId),
      signal: (jobId, signal) => runner.signal(jobId, signal),
    },
    output,
    clock: () => ({ monoMs: performance.now(), wallMs: Date.now() }),
    log,
    onDrained: () => void exit(),
  });
  const recovered = supervisor.recover(snapshot, config.groups);

  const stop = () => {
    log.info('stopping');
    supervisor.emit({ type: 'shutdown' });
  };
  const server = await startIpcServer({
    socketPath: socket,
    ownerUid: uid,
    peerUid: (fd) => peerCredentials(fd).uid,
    log,
    backend: {
      supervisor,
      store,
      output,
      jobDefaults: config.jobDefaults,
      stop,
      status: () => ({
        version,
        pid: process.pid,
        guardianPid: guardian.pid,
        socket,
        stateDir,
        startedAt,
        launcher: launcher.name,
        containment: {
          tier: containment.tier,
          guarantee: containment.guarantee,
          holes: [...containment.holes],
          reason: containment.reason,
        },
        jobs: store.countJobs(),
        config: { path: null, loadedAt: startedAt, error: null },
      }),
    },
  });
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('SIGHUP', () => log.info('SIGHUP: there is no configuration file to read again'));
  log.info('ready', {
    version,
    pid: process.pid,
    socket,
    stateDir,
    tier: containment.tier,
    reason: containment.reason,
    recovered,
    ...swept,
  });
  supervisor.start();
  sayReady({ ok: true, pid: process.pid });

  async function exit(): Promise<void> {
    server.close();
    await guardian.dismiss();
    containment.close();
    reaper.stop();
    store.close();
    log.info('stopped');
    await log.close();
    process.exit(0);
  }
}

/** What nobody foresaw ends the daemon, and so, through the guardian, its jobs: better than half a supervisor. */
function dieLoudly(log: Log & { close(): Promise<void> }): void {
  const die = (error: unknown) => {
    log.error('fatal', { error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    void log.close().finally(() => process.exit(1));
  };
  process.on('uncaughtException', die);
  process.on('unhandledRejection', die);
}

function sayReady(report: { ok: true; pid: number } | { ok: false; code: string; message: string }): void {
  if (!isBackground) return;
  try {
    fs.writeSync(stdout, `${JSON.stringify(report)}\n`);
    fs.closeSync(stdout);
    fs.openSync('/dev/null', 'w'); // Takes the number that is free: stdout's.
  } catch (error) {
    if (!isErrno(error, 'EPIPE', 'EBADF')) throw error; // Whoever started us did not stay to hear it.
  }
}

main().catch((error: unknown) => {
  const code = error instanceof CorralError ? error.code : 'INTERNAL';
  const message = error instanceof Error ? error.message : String(error);
  sayReady({ ok: false, code, message });
  if (!isBackground)
    process.stderr.write(
      `corral: ${error instanceof CorralError ? message : error instanceof Error ? error.stack : message}\n`,
    );
  process.exit(error instanceof CorralError ? 3 : 1);
});
