/** The composition root: builds the shells, puts them together, starts the loop. */
import fs from 'node:fs';
import { CorralError, errorTable, type GroupView, isErrno, stackOf, version } from '../protocol/index.ts';
import { ConfigWatch, LiveConfig } from './config/index.ts';
import { assessHealth, currentAttempt, describeHookFailure, hookCalls, unenforcedCaps, viewOf } from './core/index.ts';
import { connectionsWithin, startIpcServer } from './ipc/index.ts';
import { Keeper } from './keeper.ts';
import {
  becomeSubreaper,
  ChildReaper,
  closeInheritedDescriptors,
  descriptorLimit,
  peerCredentials,
  readBootId,
  ServiceManager,
} from './linux/index.ts';
import { chooseStyle, createLog, type OwnLog } from './log.ts';
import { Notifier } from './notifier.ts';
import {
  chooseContainment,
  chooseLauncher,
  Guardian,
  Hooks,
  MissedEnds,
  OutputFiles,
  OutputWatch,
  ReportPipe,
  Runner,
  Sampler,
  UsageMeter,
} from './process/index.ts';
import type { Clock, Log } from './shells.ts';
import { checkOwnFiles, lockSocket, lockStateDir, makePrivateDir, setStrangeOutputAside } from './state-dir.ts';
import { SqliteStore } from './store/index.ts';
import { Supervisor } from './supervisor.ts';
import { Vitals } from './vitals.ts';

/** A background daemon says on its stdout, in one JSON line, that it is ready or why it is not. */
const isBackground = process.env.CORRAL_BACKGROUND === '1';
delete process.env.CORRAL_BACKGROUND;
const stdout = 1;

/** How long hooks may go on in a daemon that stops. A service manager waits for it. */
const lastHooksMs = 2_000;

async function main(): Promise<void> {
  process.title = 'corrald'; // Node's own is MainThread, in ps and in systemctl status.
  closeInheritedDescriptors();
  const uid = process.getuid?.() ?? 0;
  const startedAt = new Date().toISOString();
  const liveConfig = new LiveConfig(process.env, uid, Date.now());
  const config = liveConfig.current;
  const { stateDir, runtimeDir, socket } = config.paths;
  const mended = [
    ...makePrivateDir(stateDir, uid),
    ...makePrivateDir(runtimeDir, uid),
    ...checkOwnFiles(stateDir, uid),
  ];
  const { guardianLockFd } = await lockStateDir(stateDir);
  const socketLock = lockSocket(socket);
  const log = createLog({
    level: config.logLevel,
    file: isBackground ? `${stateDir}/daemon.log` : null,
    style: chooseStyle(process.stderr, process.env.JOURNAL_STREAM),
  });
  dieLoudly(log);
  for (const sentence of [...mended, ...setStrangeOutputAside(stateDir, Date.now())]) log.warn(sentence);
  const tell = serviceManager(process.env.NOTIFY_SOCKET, log);

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

  const clock = clockFrom(Date.now(), readBootId());
  const watch = new OutputWatch({
    output,
    emit: (event) => supervisor.emit(event),
    total: {
      maxBytes: () => liveConfig.current.keeping.maxOutputBytes,
      retainedBytes: () => store.retainedOutputBytes(),
    },
  });
  const reportPipe = new ReportPipe({
    path: `${socket}.report`,
    mayMake: () => socketLock.isHeld(),
    emit: (event) => supervisor.emit(event),
    complain: (message, fields) => log.warn(message, fields),
  });
  const missedEnds = new MissedEnds({
    // To itself: libuv looks as well, for the children that it knows.
    lookAgain: () => process.kill(process.pid, 'SIGCHLD'),
    onMissed: ({ jobId, leader }) => log.error('the end of a job was missed', { jobId, pid: leader.pid }),
  });
  const runner = new Runner({
    containment,
    launcher,
    output,
    watch,
    missedEnds,
    socket,
    reportPipe: reportPipe.path,
    emit: (event) => supervisor.emit(event),
  });
  const hooks = new Hooks({
    containment,
    reaper,
    socket,
    env: process.env,
    viewOf: (job) => viewOf(job, output.facts(job), supervisor.waitingFor(job)),
    onFailure: (job, failure) => {
      log.warn('hook failed', { jobId: job.id, reason: describeHookFailure(failure) });
      supervisor.emit({ type: 'hookFailed', jobIds: [job.id], ended: new Map(), failure });
    },
  });
  const holdOf = (jobId: number) => runner.holdOf(jobId);
  const sampler = new Sampler({
    readMonoMs,
    holdOf,
    outputFilesOf: (job) => output.files(job),
    onSampled: (samples) => supervisor.emit({ type: 'sampled', samples }),
    onFailure: ({ id }, error) => log.error('a look at a job failed', { jobId: id, error: stackOf(error) }),
  });
  const usage = new UsageMeter({ holdOf });
  const supervisor: Supervisor = new Supervisor({
    store,
    processes: {
      tier: containment.tier,
      hostLimits: containment.hostLimits,
      launch: (job) => void runner.launch(job),
      together: (act) => runner.together(act),
      terminate: (jobId) => runner.terminate(jobId),
      kill: (jobId) => runner.kill(jobId),
      signal: (jobId, signal) => runner.signal(jobId, signal),
      freeze: (jobId) => runner.freeze(jobId),
      thaw: (jobId) => runner.thaw(jobId),
      sample: (checks) => sampler.take(checks),
      countAlive: (jobIds) => runner.countAlive(jobIds),
    },
    output,
    clock,
    log,
    onWritten: (changes) => hooks.run(hookCalls(changes, liveConfig.current.hooks)),
    onDrained: (unwritten) => void exit(unwritten),
  });
  const vitals = new Vitals({
    stateDir,
    diskMinFreeBytes: () => liveConfig.current.diskMinFreeBytes,
    onDisk: (shortage) => {
      if ((shortage === null) === (supervisor.pausedFor === null)) return;
      // A quota does not show in what the disk says of itself, so before jobs start again, a file is tried.
      if (shortage === null && !output.hasRoom()) return;
      supervisor.emit({ type: 'diskChecked', shortage });
    },
    onBeat: () => {
      tell('WATCHDOG=1', `STATUS=${statusLine(supervisor.groups(), containment.tier)}`);
      watch.look(performance.now());
      missedEnds.look(performance.now());
      supervisor.lookForStalls();
      void keeper.look();
      reportPipe.ensure();
    },
  });
  const keeper = new Keeper({
    store,
    maxJobs: () => liveConfig.current.keeping.maxJobs,
    outputBeyondBytes: () => watch.beyondBytes(),
    steadyWallMs: () => clock().steadyWallMs,
    remove: (jobIds) => supervisor.ask({ type: 'remove', jobIds }),
    forgetEarlier: (bytes) => supervisor.ask({ type: 'forgetEarlier', bytes }),
    giveWay: (bytes) => watch.giveWay(bytes),
    log,
  });
  const recovered = supervisor.recover(snapshot, config.groups);

  const stop = () => {
    log.info('stopping');
    tell('STOPPING=1');
    supervisor.emit({ type: 'shutdown' });
  };
  const capsInVain = () => unenforcedCaps(liveConfig.current.jobDefaults.caps.resources, containment.hostLimits);
  const warnOfCaps = () => {
    for (const reason of capsInVain()) log.warn('a cap cannot be enforced', { reason });
  };
  const takeOverConfig = (when: 'always' | 'changed') => {
    const wasRead = liveConfig.reload(Date.now(), when);
    const status = liveConfig.status();
    if (!wasRead) return status;
    log.setLevel(liveConfig.current.logLevel);
    supervisor.emit({ type: 'setRetryPace', ...liveConfig.current.retryPace });
    if (status.error !== null) log.error('configuration not taken over', { error: status.error });
    else {
      log.info('configuration read again', { path: status.path, atNextStart: status.atNextStart });
      warnOfCaps();
    }
    return status;
  };
  const reload = () => {
    tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1_000n}`);
    const status = takeOverConfig('always');
    tell('READY=1');
    return status;
  };
  let configUnwatched: string | null = null;
  const configWatch = new ConfigWatch({
    file: config.paths.configFile,
    onChange: () => void takeOverConfig('changed'),
    onFailure: (reason) => {
      configUnwatched = `${config.paths.configFile} cannot be watched (${reason}).`;
      log.warn('the configuration cannot be watched', { reason, path: config.paths.configFile });
    },
  });
  const server = await startIpcServer({
    socketPath: socket,
    maxConnections: connectionsWithin(descriptorLimit()),
    ownerUid: uid,
    peerUid: (fd) => peerCredentials(fd).uid,
    claimSocket: () => {
      makePrivateDir(runtimeDir, uid);
      return socketLock.claim();
    },
    log,
    backend: {
      supervisor,
      store,
      output,
      usage,
      get jobDefaults() {
        return { ...liveConfig.current.jobDefaults, hostLimits: containment.hostLimits };
      },
      stop,
      reload,
      health: () =>
        assessHealth({
          ...vitals.facts(),
          samplerLagMs: sampler.lagMs(),
          ...supervisor.vitals(),
          ...watch.facts(performance.now()),
          storeTrouble: supervisor.storeTrouble?.message ?? misplacedStore(store, stateDir),
          configError: liveConfig.status().error,
          configUnwatched,
          unenforcedCaps: capsInVain(),
          guardianPid: guardian.pid,
          stuckJobs: supervisor.stalledJobs(liveConfig.current.stuckAfterMs),
          leftBehind: swept.unkillable,
          hooks: hooks.facts(),
        }),
      config: () => {
        const { loadedAt, error } = liveConfig.status();
        return { ...liveConfig.shown(), loadedAt, error };
      },
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
          limits: containment.hostLimits.how,
        },
        jobs: store.countJobs(),
        config: liveConfig.status(),
      }),
    },
  });
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('SIGHUP', reload);
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
  warnOfCaps();
  reportPipe.ensure();
  supervisor.emit({ type: 'setRetryPace', ...config.retryPace });
  supervisor.start();
  vitals.start();
  // Whoever starts a service is told by its manager, and then reads what it said.
  sayReady({ ok: true, pid: process.pid });
  tell('READY=1', `STATUS=${statusLine(supervisor.groups(), containment.tier)}`);
  void configWatch.start();

  async function exit(unwritten: number): Promise<void> {
    if (unwritten > 0) log.error('stopped before the store could be written', { unwritten });
    server.close();
    vitals.stop();
    configWatch.close();
    reportPipe.close();
    const notRun = await hooks.finish(unwritten > 0 ? 0 : lastHooksMs);
    if (notRun > 0) log.warn('hooks were not run', { count: notRun });
    await guardian.dismiss();
    containment.close();
    reaper.stop();
    store.close();
    log.info('stopped');
    log.close();
    process.exit(unwritten === 0 ? 0 : 1);
  }
}

const readMonoMs = () => Number(process.hrtime.bigint()) / 1e6;

/**
 * `monoMs` is CLOCK_MONOTONIC, which the next daemon of this boot reads on.
 *
 * @param startWallMs the wall clock now: from here on the steady one goes its own way
 */
function clockFrom(startWallMs: number, bootId: string): Clock {
  const startMonoMs = readMonoMs();
  return () => {
    const monoMs = readMonoMs();
    const steadyWallMs = Math.round(startWallMs + monoMs - startMonoMs);
    return { monoMs, wallMs: Date.now(), steadyWallMs, unitRandom: Math.random(), bootId };
  };
}

/** Without a service manager there is nobody to tell. */
function serviceManager(
  address: string | undefined,
  log: Pick<Log, 'warn' | 'info'>,
): (...assignments: string[]) => void {
  if (address === undefined || address === '') return () => {};
  const notifier = new Notifier(() => new ServiceManager(address), log);
  return (...assignments) => notifier.tell(...assignments);
}

/** An idle daemon would notice only at its next commit. */
function misplacedStore(store: SqliteStore, stateDir: string): string | null {
  const misplacement = store.misplacement();
  return misplacement === null ? null : `The store ${stateDir}/corral.db cannot be written (${misplacement}).`;
}

function statusLine(groups: readonly GroupView[], tier: string): string {
  const sum = (field: 'active' | 'queued') => groups.reduce((total, group) => total + group[field], 0);
  return `${sum('active')} running, ${sum('queued')} queued; containment ${tier}`;
}

/** What nobody foresaw ends the daemon, and so, through the guardian, its jobs: better than half a supervisor. */
function dieLoudly(log: OwnLog): void {
  const die = (error: unknown) => {
    log.error('fatal', { error: stackOf(error) });
    log.close();
    process.exit(1);
  };
  process.on('uncaughtException', die);
  process.on('unhandledRejection', die);
}

/** What is no better at the next try has a code of its own, for the service manager: EX_CONFIG of sysexits(3). */
function startFailure({ code }: CorralError): number {
  const needsHand = code === 'CONFIG_INVALID' || code === 'STORE_DAMAGED';
  return needsHand ? errorTable.CONFIG_INVALID.exit : errorTable.DAEMON_START_FAILED.exit;
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
  const priority = chooseStyle(process.stderr, process.env.JOURNAL_STREAM) === 'journal' ? '<3>' : '';
  const details = error instanceof Error && !(error instanceof CorralError) ? error.stack : message;
  if (!isBackground) process.stderr.write(`${priority}corral: ${details}\n`);
  serviceManager(process.env.NOTIFY_SOCKET, { warn: () => {}, info: () => {} })(`STATUS=${message}`);
  process.exit(error instanceof CorralError ? startFailure(error) : 1);
});
