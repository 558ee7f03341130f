/**
 * `corral doctor`: looks at the host, the paths and the store, and says what to do about what it finds. A program of its own,
 * so that it works where no daemon can be started. It changes nothing.
 *
 * Arguments: `--deep` checks every page, index and reference of the store. `--tier-known`: a daemon runs and says itself what
 * tier it has. `--scan-because=REASON`: that is tier scan, and nobody asked for it.
 */
import fs from 'node:fs';
import os from 'node:os';
import { dirname } from 'node:path';
import {
  CorralError,
  type CorralPaths,
  type Diagnosis,
  type Finding,
  formatSize,
  isErrno,
  limitFacts,
  resolvePaths,
  version,
} from '../protocol/index.ts';
import { type Config, LiveConfig } from './config/index.ts';
import { diskRoom, diskShortage } from './core/index.ts';
import { canMark } from './linux/index.ts';
import { OutputFiles, tierHere } from './process/index.ts';
import { inspectStore, settingAside } from './store/index.ts';

type Facts = Record<string, string>;

const uid = process.getuid?.() ?? 0;
const facts: Record<string, Facts> = {};
const findings: Finding[] = [];

function find(level: Finding['level'], topic: string, message: string, todo: string | null): void {
  findings.push({ level, topic, message, todo });
}

/** What is looked at must not keep the rest from being looked at. */
function look(topic: string, work: () => Facts): void {
  try {
    facts[topic] = work();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const todo = error instanceof CorralError ? todoFor(error) : 'If nothing below explains it, please report it.';
    find('problem', topic, error.message, todo);
  }
}

/** Most messages say what to do themselves; this is what comes after that. */
function todoFor({ code }: CorralError): string {
  return code === 'CONFIG_INVALID'
    ? 'Mend what is named, then: corral daemon reload, or corral daemon start'
    : 'Do what it says, then look again: corral doctor';
}

function readOr(path: string, otherwise: string): string {
  try {
    return fs.readFileSync(path, 'utf8').trim();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EACCES', 'EPERM', 'EINVAL')) return otherwise;
    throw error;
  }
}

function host(): Facts {
  const release = /^PRETTY_NAME="?([^"\n]+)/m.exec(readOr('/etc/os-release', ''))?.[1] ?? 'not known';
  const [major = 0, minor = 0] = os.release().split('.').map(Number);
  if (major < 5 || (major === 5 && minor < 14))
    find(
      'warning',
      'host',
      `Linux ${os.release()} has no cgroup.kill, so tier cgroup cannot be had.`,
      'Use Linux 5.14 or later.',
    );
  if (Date.now() < Date.UTC(2024, 0))
    find(
      'warning',
      'host',
      `The clock says ${new Date().toISOString()}. Durations are right all the same; the times that corral shows are not.`,
      'Set the clock: timedatectl set-ntp true',
    );
  return {
    system: release,
    kernel: `Linux ${os.release()} on ${os.machine()}`,
    cores: String(os.availableParallelism()),
    memory: formatSize(os.totalmem()),
    'first process': readOr('/proc/1/comm', 'not known'),
    node: `${process.version} (${process.execPath})`,
    corral: version,
    user: `uid ${uid}`,
  };
}

function containment(config: Config | null): Facts {
  if (!canMark())
    find(
      'warning',
      'containment',
      'The hard limit RLIMIT_RTTIME is set, so processes of jobs cannot be marked. In tier scan, one that wipes its environment and leaves its session may then escape.',
      'Take the limit away where the daemon is started: LimitRTTIME=infinity in the unit.',
    );
  const because = process.argv.find((word) => word.startsWith(scanBecause))?.slice(scanBecause.length);
  if (because !== undefined) warnOfScan(`The daemon runs in tier scan: ${because}.`);
  if (process.argv.includes('--tier-known')) return {};
  const place = tierHere(config?.containment ?? 'auto', uid);
  if (place.tier === 'scan' && config?.containment !== 'scan')
    warnOfScan(`Only tier scan can be had here: ${place.reason}.`);
  return { 'tier to be had': place.tier, reason: place.reason, ...limitFacts(place.limits) };
}

const scanBecause = '--scan-because=';

function warnOfScan(message: string): void {
  const hasManager = fs.existsSync(`${process.env.XDG_RUNTIME_DIR}/systemd/private`);
  const ofUser = hasManager
    ? 'Let your systemd manager run it, which gives it a cgroup: corral daemon stop; corral daemon start'
    : 'Run it under systemd, which gives it a cgroup; or be content with it: CORRAL_CONTAINMENT=scan';
  find('warning', 'containment', message, uid === 0 ? 'Mount a cgroup v2 hierarchy that can be written.' : ofUser);
}

function limits(): Facts {
  const table = fs.readFileSync('/proc/self/limits', 'utf8');
  const limit = (name: string) =>
    new RegExp(`^${name}\\s+(\\S+)\\s+(\\S+)`, 'm').exec(table)?.slice(1, 3) ?? ['?', '?'];
  const [, hardFiles] = limit('Max open files');
  const [softProcesses] = limit('Max processes');
  if (Number(hardFiles) < 1_024)
    find(
      'warning',
      'limits',
      `The daemon may have ${hardFiles} open files at most: a client takes one, a running job up to two.`,
      'Raise LimitNOFILE in the unit, or ulimit -n.',
    );
  const watches = readOr('/proc/sys/fs/inotify/max_user_watches', '?');
  if (Number(watches) < 8_192)
    find(
      'warning',
      'limits',
      `This user may have ${watches} inotify watches; a running job in tier cgroup takes one.`,
      'sysctl fs.inotify.max_user_watches=65536',
    );
  return {
    'open files': limit('Max open files').join(' soft, ').concat(' hard'),
    processes: softProcesses ?? '?',
    'process ids': readOr('/proc/sys/kernel/pid_max', '?'),
    'inotify watches': watches,
    'inotify instances': readOr('/proc/sys/fs/inotify/max_user_instances', '?'),
  };
}

function paths(where: CorralPaths): Facts {
  const shown: Facts = {};
  for (const [name, path, variable] of [
    ['state', where.stateDir, 'CORRAL_STATE_DIR'],
    ['runtime', where.runtimeDir, 'CORRAL_RUNTIME_DIR'],
  ] as const) {
    const stat = fs.existsSync(path) ? fs.lstatSync(path) : null;
    const mode = stat === null ? '' : (stat.mode & 0o777).toString(8);
    shown[name] = stat === null ? `${path} (not made yet)` : `${path} (uid ${stat.uid}, mode ${mode})`;
    if (stat === null) lookAtParent(path);
    else {
      const choose = `Choose a folder for corral alone: ${variable}`;
      if (!stat.isDirectory()) find('problem', 'paths', `${path} is not a folder.`, choose);
      else if (stat.uid !== uid)
        find('problem', 'paths', `${path} belongs to uid ${stat.uid}, not to you (uid ${uid}).`, choose);
      else {
        if (!mayWrite(path))
          find(
            'problem',
            'paths',
            `${path} cannot be written.`,
            `Look at how it is mounted (findmnt -T ${path}). ${choose}`,
          );
        if ((stat.mode & 0o077) !== 0)
          find(
            'warning',
            'paths',
            `${path} can be looked into by others (mode ${mode}).`,
            isOurs(path) ? `chmod 700 ${path}` : choose,
          );
      }
    }
  }
  shown.socket = `${where.socket}${fs.existsSync(where.socket) ? '' : ' (not there: no daemon has bound it)'}`;
  return shown;
}

/** Whether it does no harm to change it: advice that is followed for /etc or /tmp would. */
function isOurs(folder: string): boolean {
  const names = fs.readdirSync(folder);
  // The cache is made by clients too, in whatever folder they were told.
  return (
    names.every((name) => name === 'compile-cache') ||
    names.some((name) => /^(corral\.db|daemon\.lock|corral\.sock(\.lock)?)$/.test(name))
  );
}

function lookAtParent(path: string): void {
  let parent = dirname(path);
  while (!fs.existsSync(parent)) parent = dirname(parent);
  if (mayWrite(parent)) return;
  find(
    'problem',
    'paths',
    `${path} cannot be made: ${parent} cannot be written.`,
    'Choose another: CORRAL_STATE_DIR, CORRAL_RUNTIME_DIR.',
  );
}

function mayWrite(path: string): boolean {
  try {
    fs.accessSync(path, fs.constants.W_OK | fs.constants.X_OK);
    return true;
  } catch (error) {
    if (isErrno(error, 'EACCES', 'EROFS', 'EPERM')) return false;
    throw error;
  }
}

function readConfiguration(): Config | null {
  let config: Config | null = null;
  look('configuration', () => {
    config = new LiveConfig(process.env, uid, Date.now()).current;
    return { file: config.file ?? `none (${config.paths.configFile} would be read)` };
  });
  return config;
}

function store(where: CorralPaths, config: Config | null): Facts {
  const deep = process.argv.includes('--deep');
  const path = `${where.stateDir}/corral.db`;
  const shown: Facts = {};
  if (fs.existsSync(where.stateDir)) {
    const room = diskRoom(fs.statfsSync(where.stateDir));
    shown['free on its disk'] = formatSize(room.freeBytes);
    const shortage = diskShortage(where.stateDir, room, config?.diskMinFreeBytes ?? null);
    if (shortage !== null) find('problem', 'store', shortage, 'Make room; until then nothing is accepted or started.');
  }
  const found = inspectStore(path, deep ? 'full' : 'quick');
  if (found === null) return { ...shown, file: `${path} (not made yet)` };
  for (const damage of found.damage)
    find(
      'problem',
      'store',
      `${path}: ${damage}`,
      `Stop the daemon and put a backup in its place; or ${settingAside(path)}`,
    );
  if (found.trouble !== null)
    find(
      'problem',
      'store',
      `${path} could not be looked at: ${found.trouble}.`,
      'This says nothing of the store itself. Check that its folder is yours, can be written, and has room; or stop the daemon and ask again.',
    );
  if (found.schema !== null && found.schema > found.newestSchema)
    find(
      'problem',
      'store',
      `${path} has schema ${found.schema}; this corral knows up to ${found.newestSchema}.`,
      'Run the newer corral that wrote it.',
    );
  if (found.jobIds !== null) {
    const known = new Set(found.jobIds);
    const strange = [...new OutputFiles(where.stateDir).jobsWithFiles()].filter((jobId) => !known.has(jobId));
    if (strange.length > 0)
      find(
        'note',
        'store',
        `There is output of ${strange.length} jobs that have no record, such as job ${strange[0]}.`,
        `It takes up room only: rm ${where.stateDir}/output/*/${strange[0]}.*`,
      );
  }
  return {
    ...shown,
    file: `${path}, ${formatSize(found.bytes)}, schema ${found.schema ?? 'not readable'}`,
    check: `${deep ? 'full' : 'quick (all of it: --deep)'}: ${found.trouble !== null ? 'not possible' : found.damage.length === 0 ? 'sound' : 'damaged'}`,
  };
}

look('host', host);
const config = readConfiguration();
look('containment', () => containment(config));
look('limits', limits);
let where: CorralPaths | null = null;
look('paths', () => {
  where = resolvePaths(process.env, uid);
  return paths(where);
});
if (where !== null) {
  const resolved: CorralPaths = where;
  look('store', () => store(resolved, config));
}
process.stdout.write(`${JSON.stringify({ facts, findings } satisfies Diagnosis)}\n`);
