import fs from 'node:fs';
import { isErrno } from '../../protocol/index.ts';
import type { ProcessIdentity } from '../core/index.ts';
import { ifProcessLives, isAlive, isDelegated, type Mark, readStat, signalIf } from '../linux/index.ts';
import { type Containment, type Hold, markVariable, type SweepReport } from './containment.ts';
import { instanceText, type Marker, markText } from './marks.ts';
import { sweepProcesses } from './sweep.ts';

/** Where leaves can be made: a folder for this daemon's, and the cgroup that the daemon itself is in. */
export interface CgroupPlace {
  readonly mount: string;
  readonly base: string;
  readonly home: string;
  readonly reason: string;
}

/**
 * Finds a place for leaves, by trying. Our own cgroup if it was delegated to us or we own it; for root, the top of the hierarchy.
 *
 * @returns the place, or the sentence that says why there is none
 */
export function findCgroupPlace(instance: number, uid: number): CgroupPlace | string {
  const mount = cgroup2Mount();
  if (mount === null) return 'no cgroup v2 hierarchy is mounted';
  const own = ownCgroup();
  if (own === null) return 'this process is in no cgroup v2';
  const home = own === '/' ? mount : `${mount}${own}`;
  const name = `corral-${instanceText(instance)}`;
  const ownIsOurs = own !== '/' && (uid === 0 ? isDelegated(home) : ownerOf(home) === uid);
  if (!ownIsOurs && uid !== 0) {
    return `the cgroup ${home} is not delegated to this user; under a systemd user manager it would be: systemd-run --user -p Delegate=yes`;
  }
  const base = ownIsOurs ? `${home}/${name}` : `${mount}/${name}`;
  const failure = probe(base, home);
  if (failure !== null) return failure;
  return {
    mount,
    base,
    home,
    reason: ownIsOurs ? `the cgroup ${home} is delegated to this daemon` : `root may make cgroups in ${mount}`,
  };
}

/** Does once what every launch does: make a leaf, go in, come out, kill it, remove it. */
function probe(base: string, home: string): string | null {
  const leaf = `${base}/probe`;
  try {
    fs.mkdirSync(leaf, { recursive: true });
    try {
      fs.writeFileSync(`${leaf}/cgroup.procs`, '0');
    } finally {
      fs.writeFileSync(`${home}/cgroup.procs`, '0');
    }
    fs.writeFileSync(`${leaf}/cgroup.kill`, '1');
    fs.rmdirSync(leaf);
    return null;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return `the cgroup ${base} cannot be used: ${error.message}${error.message.includes('cgroup.kill') ? ' (cgroup.kill needs Linux 5.14)' : ''}`;
  }
}

/** What the holds of one containment share. */
interface Shared {
  readonly mount: string;
  readonly homeFd: number;
  readonly marker: Marker;
  readonly draining: Set<LeafHold>;
  readonly removeLeaf: (leaf: string) => void;
}

/** A leaf whose last process is still dying cannot be removed; it is tried again after this long. */
const removeAgainMs = 20;

/** Tier cgroup: each attempt has a cgroup of its own, which a process cannot leave by any means of its own. cgroups(7) */
export class CgroupContainment implements Containment {
  readonly tier = 'cgroup';
  readonly guarantee =
    'Every process of a job is in a cgroup of its own from its first instruction on, and the kernel ends all of them at once.';
  readonly holes: readonly string[];
  readonly reason: string;
  readonly killSwitch: string;
  readonly #place: CgroupPlace;
  readonly #marker: Marker;
  readonly #shared: Shared;
  readonly #unremoved = new Set<string>();
  #removeAgain: NodeJS.Timeout | null = null;

  constructor(place: CgroupPlace, marker: Marker, uid: number) {
    this.#place = place;
    this.#marker = marker;
    this.reason = place.reason;
    this.killSwitch = place.base;
    this.#shared = {
      mount: place.mount,
      homeFd: fs.openSync(`${place.home}/cgroup.procs`, 'w'),
      marker,
      draining: new Set(),
      removeLeaf: (leaf) => this.#removeLeaf(leaf),
    };
    this.holes = [
      ...(uid === 0
        ? [
            'a job that runs as root can move its processes to another cgroup; the next start still ends them by their mark',
          ]
        : []),
      "what a job asks another service to start (systemd-run, at, docker) is that service's",
    ];
  }

  open(attempt: { jobId: number; number: number }): Hold {
    const path = `${this.#place.base}/${attempt.jobId}.${attempt.number}`;
    fs.mkdirSync(path);
    return new LeafHold(path, this.#shared);
  }

  async sweep(lost: readonly ProcessIdentity[]): Promise<SweepReport> {
    fs.mkdirSync(this.#place.base, { recursive: true });
    const inLeaves = leavesOf(this.#place.base).flatMap((leaf) => alivePids(`${this.#place.base}/${leaf}`)).length;
    fs.writeFileSync(`${this.#place.base}/cgroup.kill`, '1');
    const marked = await sweepProcesses({ instance: this.#marker.instance, leaders: lost });
    removeLeaves(this.#place.base);
    return { ended: Math.max(inLeaves, marked.ended), unkillable: marked.unkillable };
  }

  onExits(): void {
    for (const hold of this.#shared.draining) hold.checkEmpty();
  }

  close(): void {
    if (this.#removeAgain !== null) clearTimeout(this.#removeAgain);
    removeTree(this.#place.base);
    fs.closeSync(this.#shared.homeFd);
  }

  #removeLeaf(leaf: string): void {
    if (removeTree(leaf)) this.#unremoved.delete(leaf);
    else this.#unremoved.add(leaf);
    if (this.#unremoved.size === 0 || this.#removeAgain !== null) return;
    this.#removeAgain = setTimeout(() => {
      this.#removeAgain = null;
      for (const left of this.#unremoved) this.#removeLeaf(left);
    }, removeAgainMs);
  }
}

class LeafHold implements Hold {
  readonly env: Readonly<Record<string, string>>;
  readonly #path: string;
  readonly #mark: Mark;
  readonly #shared: Shared;
  #stopWatching: (() => void) | null = null;
  #onEmpty: (() => void) | null = null;

  constructor(path: string, shared: Shared) {
    this.#path = path;
    this.#mark = shared.marker.next();
    this.#shared = shared;
    this.env = { [markVariable]: markText(this.#mark) };
  }

  /**
   * The daemon itself goes in, spawns, and comes out: the child is born inside. Writing the child's pid after the spawn would
   * lose the race against its first fork.
   */
  launchInside<T>(spawn: () => T): T {
    return this.#shared.marker.spawnMarked(this.#mark, () => {
      enter(this.#path);
      try {
        return spawn();
      } finally {
        fs.writeSync(this.#shared.homeFd, '0');
      }
    });
  }

  setLeader(): void {}

  countAlive(): number {
    return this.#isPopulated() ? alivePids(this.#path).length : 0;
  }

  signalAll(signal: NodeJS.Signals): void {
    const leaf = this.#path.slice(this.#shared.mount.length);
    for (const pid of alivePids(this.#path)) signalIf(pid, signal, () => isIn(pid, leaf));
  }

  killAll(): void {
    fs.writeFileSync(`${this.#path}/cgroup.kill`, '1');
  }

  whenEmpty(callback: () => void): void {
    this.#onEmpty = callback;
    this.#shared.draining.add(this);
    this.#stopWatching = watchEvents(`${this.#path}/cgroup.events`, () => this.checkEmpty());
    this.checkEmpty();
  }

  checkEmpty(): void {
    if (this.#onEmpty === null || this.countAlive() > 0) return;
    const callback = this.#onEmpty;
    this.#stopDraining();
    callback();
  }

  cpuMs(): number | null {
    const usage = /^usage_usec (\d+)$/m.exec(fs.readFileSync(`${this.#path}/cpu.stat`, 'utf8'))?.[1];
    return usage === undefined ? null : Number(usage) / 1_000;
  }

  release(): void {
    this.#stopDraining();
    this.#shared.removeLeaf(this.#path);
  }

  #stopDraining(): void {
    this.#onEmpty = null;
    this.#stopWatching?.();
    this.#stopWatching = null;
    this.#shared.draining.delete(this);
  }

  #isPopulated(): boolean {
    return fs.readFileSync(`${this.#path}/cgroup.events`, 'utf8').includes('populated 1');
  }
}

function enter(leaf: string): void {
  try {
    fs.writeFileSync(`${leaf}/cgroup.procs`, '0');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`the cgroup of the job cannot be entered: ${reason}`, { cause: error });
  }
}

/** How often emptiness is looked at where the kernel has no inotify watch left to give. */
const withoutWatchMs = 50;

function watchEvents(path: string, onChange: () => void): () => void {
  try {
    const watcher = fs.watch(path, onChange);
    return () => watcher.close();
  } catch (error) {
    if (!isErrno(error, 'ENOSPC', 'EMFILE', 'ENFILE')) throw error;
    const timer = setInterval(onChange, withoutWatchMs);
    return () => clearInterval(timer);
  }
}

/** Live processes in a cgroup and those below it: a job may make cgroups in its leaf. */
function alivePids(cgroup: string): number[] {
  return ['', ...leavesOf(cgroup, true)].flatMap((below) => {
    const procs =
      ifProcessLives(() =>
        fs.readFileSync(below === '' ? `${cgroup}/cgroup.procs` : `${cgroup}/${below}/cgroup.procs`, 'utf8'),
      ) ?? '';
    return procs
      .split('\n')
      .filter((line) => line !== '' && line !== '0')
      .map(Number)
      .filter((pid) => {
        const stat = readStat(pid);
        return stat !== undefined && isAlive(stat);
      });
  });
}

function leavesOf(cgroup: string, recursive = false): string[] {
  const entries = ifProcessLives(() => fs.readdirSync(cgroup, { withFileTypes: true, recursive })) ?? [];
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(cgroup.length + 1));
}

/** Removes the leaves below a cgroup whose processes have all been killed. Those that are still dying stay. */
export function removeLeaves(base: string): void {
  for (const leaf of leavesOf(base)) removeTree(`${base}/${leaf}`);
}

/** Removes a cgroup and those below it. False where processes are still dying in it. */
function removeTree(cgroup: string): boolean {
  if (removeOne(cgroup)) return true;
  for (const below of leavesOf(cgroup, true).reverse()) if (!removeOne(`${cgroup}/${below}`)) return false;
  return removeOne(cgroup);
}

function removeOne(cgroup: string): boolean {
  try {
    fs.rmdirSync(cgroup);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return true;
    if (isErrno(error, 'EBUSY', 'ENOTEMPTY')) return false;
    throw error;
  }
}

/** Whether a process is in this cgroup or below it. `leaf` counts from the mount, as /proc/PID/cgroup does. */
function isIn(pid: number, leaf: string): boolean {
  const own = ifProcessLives(() => fs.readFileSync(`/proc/${pid}/cgroup`, 'utf8'));
  const path = own === undefined ? null : unifiedPath(own);
  return path !== null && `${path}/`.startsWith(`${leaf}/`);
}

function cgroup2Mount(): string | null {
  for (const line of fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [mount, kind] = line.split(' - ');
    if (kind?.startsWith('cgroup2 ')) return mount?.split(' ')[4] ?? null;
  }
  return null;
}

function ownCgroup(): string | null {
  return unifiedPath(fs.readFileSync('/proc/self/cgroup', 'utf8'));
}

/** The path after `0::`, which is the cgroup v2 one. cgroups(7) */
function unifiedPath(text: string): string | null {
  return /^0::(.*)$/m.exec(text)?.[1] ?? null;
}

function ownerOf(path: string): number | null {
  return ifProcessLives(() => fs.statSync(path).uid) ?? null;
}
