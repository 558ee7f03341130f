import fs from 'node:fs';
import type { AtLimits, HostLimits, ProcessIdentity, SettledResources } from '../core/index.ts';
import { descriptorLimit, ifProcessLives, type Mark, signalIf } from '../linux/index.ts';
import type { CgroupPlace } from './cgroup-place.ts';
import { alivePids, isIn, leavesOf, removeLeaves, removeTree } from './cgroup-tree.ts';
import { type Containment, type Hold, markVariable, type Seen, type SweepReport } from './containment.ts';
import { type Controllers, enableControllers, handDown, leafFolders, returnControllers } from './controllers.ts';
import { CpuStat, type OpenCpuStats } from './cpu-stat.ts';
import { hostLimitsWith, limitLeaf, limitProcesses, readAtLimits } from './limits.ts';
import { type Marker, markText } from './marks.ts';
import { peakOf } from './peaks.ts';
import { sweepProcesses } from './sweep.ts';
import { watchFile } from './watch-file.ts';

/** What the holds of one containment share. */
interface Shared {
  readonly mount: string;
  readonly homeFd: number;
  readonly marker: Marker;
  readonly draining: Set<LeafHold>;
  readonly removeLeaf: (leaf: string) => void;
  readonly cpuStats: OpenCpuStats;
}

/** Leaves whose cpu.stat is kept open, and their share of the descriptors that the daemon may have. The others are opened anew. */
const mostCpuStats = 2_000;
const cpuStatShare = 0.1;

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
  readonly hostLimits: HostLimits;
  readonly #place: CgroupPlace;
  readonly #controllers: Controllers;
  readonly #marker: Marker;
  readonly #shared: Shared;
  readonly #unremoved = new Set<string>();
  #removeAgain: NodeJS.Timeout | null = null;

  constructor(place: CgroupPlace, marker: Marker, uid: number) {
    this.#place = place;
    this.#controllers = enableControllers(place);
    this.hostLimits = hostLimitsWith(this.#controllers.missing);
    this.#marker = marker;
    this.reason = place.reason;
    this.killSwitch = place.base;
    this.#shared = {
      mount: place.mount,
      homeFd: fs.openSync(`${this.#controllers.home}/cgroup.procs`, 'w'),
      marker,
      draining: new Set(),
      removeLeaf: (leaf) => this.#removeLeaf(leaf),
      cpuStats: { open: 0, most: Math.min(mostCpuStats, descriptorLimit() * cpuStatShare) },
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

  open(name: string, resources: SettledResources | null): Hold {
    const path = `${this.#folderFor(resources)}/${name}`;
    fs.mkdirSync(path, { recursive: true }); // With its parent, should somebody have tidied that away.
    return new LeafHold(path, resources, this.#shared);
  }

  #folderFor(resources: SettledResources | null): string {
    const { base } = this.#place;
    const { enabled } = this.#controllers;
    if (enabled.length === 0) return base;
    if (resources === null || !Object.values(resources.enforcedBy).includes('cgroup'))
      return `${base}/${leafFolders.plain}`;
    handDown(base, enabled);
    return `${base}/${leafFolders.limited}`;
  }

  /** The kernel knows the processes of a leaf; nobody has to look for them. */
  together<T>(act: () => T): T {
    return act();
  }

  /** A leaf that is not there has nobody in it; one that a hold has given up may. */
  countAlive(jobIds: ReadonlySet<number>): number {
    const { base } = this.#place;
    return [base, ...Object.values(leafFolders).map((name) => `${base}/${name}`)]
      .flatMap((folder) => leavesOf(folder).map((leaf) => ({ leaf, path: `${folder}/${leaf}` })))
      .filter(({ leaf }) => jobIds.has(Number.parseInt(leaf, 10)))
      .reduce((total, { path }) => total + alivePids(path).length, 0);
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
    returnControllers(this.#place, this.#controllers);
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
  readonly countsAllCpu = true;
  readonly #path: string;
  readonly #resources: SettledResources | null;
  readonly #mark: Mark;
  readonly #shared: Shared;
  readonly #cpuStat: CpuStat;
  #stopWatching: (() => void) | null = null;
  #onEmpty: (() => void) | null = null;
  #isFrozen = false;

  constructor(path: string, resources: SettledResources | null, shared: Shared) {
    this.#path = path;
    this.#cpuStat = new CpuStat(path, shared.cpuStats);
    this.#resources = resources;
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

  limit(leaderPid: number): void {
    if (this.#resources === null) return;
    limitLeaf(this.#path, this.#resources);
    limitProcesses(this.#resources, leaderPid, () => alivePids(this.#path));
  }

  seen(): Seen {
    return { peakRssBytes: peakOf(pidsIn(this.#path)), cpuMs: null };
  }

  atLimits(): AtLimits | null {
    return this.#resources === null ? null : readAtLimits(this.#path);
  }

  /** Only the kernel's own word counts as empty: of a chain of forks each link may be gone by the time it is looked at. */
  countAlive(): number | null {
    return this.#isPopulated() ? alivePids(this.#path).length || null : 0;
  }

  signalAll(signal: NodeJS.Signals): void {
    const leaf = this.#path.slice(this.#shared.mount.length);
    for (const pid of alivePids(this.#path)) signalIf(pid, signal, () => isIn(pid, leaf));
  }

  /** The kernel freezes the leaf and every cgroup below it; what is frozen can still be killed. cgroups-v2, cgroup.freeze */
  freeze(): void {
    this.#isFrozen = true;
    this.#writeFreeze('1');
  }

  thaw(): void {
    if (!this.#isFrozen) return;
    this.#isFrozen = false;
    this.#writeFreeze('0');
  }

  #writeFreeze(state: '0' | '1'): void {
    ifProcessLives(() => fs.writeFileSync(`${this.#path}/cgroup.freeze`, state));
  }

  /** cgroup.kill misses a process whose main thread has exited while others run; a signal to the process does not. */
  killAll(): void {
    ifProcessLives(() => fs.writeFileSync(`${this.#path}/cgroup.kill`, '1'));
    this.signalAll('SIGKILL');
  }

  whenEmpty(callback: () => void): void {
    this.#onEmpty = callback;
    this.#shared.draining.add(this);
    this.#stopWatching = watchFile(`${this.#path}/cgroup.events`, () => this.checkEmpty());
    this.checkEmpty();
  }

  checkEmpty(): void {
    if (this.#onEmpty === null || this.#isPopulated()) return;
    const callback = this.#onEmpty;
    this.#stopDraining();
    callback();
  }

  cpuMs(): number | null {
    const usageUsec = this.#cpuStat.usageUsec();
    return usageUsec === null ? null : usageUsec / 1_000;
  }

  /** The kernel's own count: every process that ever was in the leaf, however short it lived. */
  cpuUsec(): number | null {
    return this.#cpuStat.usageUsec();
  }

  pids(): number[] {
    return alivePids(this.#path);
  }

  release(): void {
    this.#stopDraining();
    this.#cpuStat.close();
    this.#shared.removeLeaf(this.#path);
  }

  #stopDraining(): void {
    this.#onEmpty = null;
    this.#stopWatching?.();
    this.#stopWatching = null;
    this.#shared.draining.delete(this);
  }

  /** A job that runs as root may have moved out and removed its leaf; then there is nothing in it. */
  #isPopulated(): boolean {
    const events = ifProcessLives(() => fs.readFileSync(`${this.#path}/cgroup.events`, 'utf8'));
    return events?.includes('populated 1') ?? false;
  }
}

/** Those right in the leaf: a look at what a job may have made below it costs three times as much. */
function pidsIn(leaf: string): number[] {
  const procs = ifProcessLives(() => fs.readFileSync(`${leaf}/cgroup.procs`, 'latin1')) ?? '';
  return procs
    .split('\n')
    .filter((line) => line !== '' && line !== '0')
    .map(Number);
}

function enter(leaf: string): void {
  try {
    fs.writeFileSync(`${leaf}/cgroup.procs`, '0');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`the cgroup of the job cannot be entered: ${reason}`, { cause: error });
  }
}
