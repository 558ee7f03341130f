import type { HostLimits, ProcessIdentity, SettledResources } from '../core/index.ts';
import {
  type ChildReaper,
  childrenOf,
  isAlive,
  type Mark,
  type ProcessStat,
  readStat,
  signalExactly,
  ticksNow,
} from '../linux/index.ts';
import { type Containment, type Hold, markVariable, type Seen, type SweepReport } from './containment.ts';
import { hostLimitsWithoutLeaves, limitProcesses } from './limits.ts';
import type { Marker } from './marks.ts';
import { type Kin, Orphans } from './orphans.ts';
import { nothingSeen, peakOf } from './peaks.ts';
import { Rounds } from './rounds.ts';
import { sweepProcesses } from './sweep.ts';

/** Looks until one is undisturbed; after that somebody else gets a turn of the event loop. */
const maxLooks = 10;

/** The kernel counts CPU time in ticks of 10 ms: USER_HZ. proc_pid_stat(5) */
const usecPerTick = 10_000;

/** Rounds in which new processes may turn up while a tree is being signalled; more come with the next SIGCHLD. */
const maxRounds = 100;

/** So old the list of orphans may be for a sample. What became one since is seen in the next. */
const orphansFreshMs = 100;

/**
 * Tier scan: needs nothing of the host. The daemon is a subreaper, so every process of a job is below it, either under the
 * job's leader or, orphaned, under the daemon itself. Which orphan belongs to which attempt is told by the mark that it
 * inherited (linux/mark.ts), its session, its process group or its environment.
 */
export class ScanContainment implements Containment {
  readonly tier = 'scan';
  readonly guarantee =
    'Processes of a job are found by descent, session, process group and inherited mark, again until none is left.';
  readonly holes: readonly string[];
  readonly reason: string;
  readonly killSwitch = null;
  readonly hostLimits: HostLimits;
  readonly #reaper: ChildReaper;
  readonly #shared: Shared;

  constructor(reason: string, marker: Marker, reaper: ChildReaper) {
    this.reason = reason;
    this.hostLimits = hostLimitsWithoutLeaves(reason);
    this.#reaper = reaper;
    const orphans = new Orphans(reaper, marker.instance);
    this.#shared = { marker, orphans, rounds: new Rounds(() => orphans.list()), draining: new Set() };
    this.holes = [
      marker.isIndelible
        ? 'a process that resets its RLIMIT_RTTIME, wipes its environment, leaves its session and outlives its parents is not found until the daemon stops'
        : 'the hard limit of RLIMIT_RTTIME is low here, so a process that wipes its environment, leaves its session and outlives its parents is not found',
      'a process that changes its uid (sudo, setuid programs) can be seen but not signalled by a daemon that is not root',
      'a program that forks faster than /proc can be read is chased, not caught at once',
      "what a job asks another service to start (systemd-run, at, docker) is that service's",
    ];
  }

  open(_name: string, resources: SettledResources | null): Hold {
    return new ScanHold(resources, this.#shared);
  }

  together<T>(act: () => T): T {
    return this.#shared.rounds.together(act);
  }

  countAlive(): null {
    return null;
  }

  sweep(lost: readonly ProcessIdentity[]): Promise<SweepReport> {
    return sweepProcesses({ instance: this.#shared.marker.instance, leaders: lost });
  }

  /** Only those look again of whose orphans some have come or gone, which the new list tells. */
  onExits(): void {
    const { draining, rounds } = this.#shared;
    if (draining.size === 0) return;
    rounds.look(() => {
      for (const hold of draining) if (hold.isTouched) hold.lookAgain();
    });
  }

  /** What is still below the daemon belongs to no attempt that we know of, but to a job: nobody else starts processes here. */
  close(): void {
    for (let round = 0; round < maxRounds; round += 1) {
      const left = this.#reaper.adoptedChildren().flatMap(aliveTree);
      if (left.length === 0) return;
      for (const stat of left) signalExactly(stat, 'SIGKILL');
    }
  }
}

/** A process and all below it, as far as they are alive. */
function aliveTree(pid: number): ProcessStat[] {
  const stat = readStat(pid);
  if (stat === undefined) return [];
  return [...(isAlive(stat) ? [stat] : []), ...childrenOf(pid).flatMap(aliveTree)];
}

/** What a look found. */
interface Found {
  /** Zombies included: what they have used is not their parent's yet. */
  readonly processes: Map<number, ProcessStat>;
  /** Were listed as its own, or as children of those, and are that no more. */
  readonly vanished: Set<number>;
}

/**
 * With all below it.
 *
 * @param isMeant tells it from a later owner of its number
 */
function findTree(pid: number, isMeant: (stat: ProcessStat) => boolean, found: Found): void {
  const stat = readStat(pid);
  if (stat === undefined || !isMeant(stat)) {
    found.vanished.add(pid);
    return;
  }
  if (found.processes.has(pid)) return;
  found.processes.set(pid, stat);
  if (!isAlive(stat)) return; // Its children have another parent already. exit(2)
  for (const child of childrenOf(pid, stat.threads)) findTree(child, ({ ppid }) => ppid === pid, found);
}

/** What the holds of one containment share. */
interface Shared {
  readonly marker: Marker;
  readonly orphans: Orphans;
  readonly rounds: Rounds;
  readonly draining: Set<ScanHold>;
}

/** How a hold came to stand still. */
interface Frozen {
  /** Stood still already, by themselves. */
  readonly stoppedBefore: Set<string>;
  readonly sent: Set<string>;
  /** Have ended, and may have left a child to the daemon that nobody has seen. */
  readonly ended: Set<number>;
}

/** With the children that they waited for. */
function cpuUsecOf(stats: readonly ProcessStat[]): number {
  return stats.reduce((sum, { cpuTicks }) => sum + cpuTicks, 0) * usecPerTick;
}

class ScanHold implements Hold {
  readonly env: Readonly<Record<string, string>>;
  /** In ticks. */
  readonly countsAllCpu = false;
  readonly #resources: SettledResources | null;
  readonly #shared: Shared;
  readonly #mark: Mark;
  readonly #kin: Kin;
  #killing = false;
  #onEmpty: (() => void) | null = null;
  #frozen: Frozen | null = null;

  constructor(resources: SettledResources | null, shared: Shared) {
    this.#resources = resources;
    this.#shared = shared;
    this.#mark = shared.marker.next();
    this.#kin = shared.orphans.open(this.#mark);
    this.env = { [markVariable]: this.#kin.mark };
  }

  /** Something may have changed since it last looked. */
  get isTouched(): boolean {
    return this.#kin.isTouched;
  }

  launchInside<T>(spawn: () => T): T {
    return this.#shared.marker.spawnMarked(this.#mark, spawn);
  }

  setLeader(pid: number, startTicks: number): void {
    this.#shared.orphans.setLeader(this.#kin, pid, startTicks);
  }

  limit(leaderPid: number): void {
    if (this.#resources === null) return;
    limitProcesses(this.#resources, leaderPid, () => {
      this.#shared.orphans.list();
      return this.#members().map(({ pid }) => pid);
    });
  }

  seen(): Seen {
    const stats = [...this.#lookBriefly().processes.values()];
    if (stats.length === 0) return nothingSeen;
    const alive = stats.filter(isAlive).map(({ pid }) => pid);
    return { peakRssBytes: peakOf(alive), cpuMs: cpuUsecOf(stats) / 1_000 };
  }

  atLimits(): null {
    return null;
  }

  /** "None" is proven by a complete list that names neither its leader nor an orphan of its own, be it a zombie. */
  countAlive(): number | null {
    const { rounds, orphans } = this.#shared;
    return rounds.look(() => {
      for (let look = 0; look < maxLooks; look += 1) {
        if (look > 0) orphans.list();
        const found = this.#look();
        const alive = aliveOf(found).length;
        if (alive > 0) return alive;
        if (orphans.isComplete && found.processes.size === 0 && this.#kin.orphans.size === 0) return 0;
      }
      return null;
    });
  }

  /** While it is frozen, SIGSTOP and SIGCONT say what will be once it is thawed, as in tier cgroup. */
  signalAll(signal: NodeJS.Signals): void {
    const stopped = this.#frozen?.stoppedBefore;
    if (stopped === undefined) this.#signalToFixpoint(signal);
    else if (signal === 'SIGCONT') stopped.clear();
    else if (signal === 'SIGSTOP') this.#forEach((stat) => stopped.add(identity(stat)));
    else this.#signalToFixpoint(signal);
  }

  /**
   * SIGSTOP to all that do not stand still, until a look finds none that has not had it, and none that has ended: a member that
   * had not may have forked, or continued another. One that has it runs no more, even if its state does not show that yet.
   */
  freeze(): void {
    this.#frozen ??= { stoppedBefore: new Set(), sent: new Set(), ended: new Set() };
    const frozen = this.#frozen;
    // Thawed in the same go, it is not to be stopped by the last rounds of this.
    const again = () => this.#frozen === frozen && this.#stopAll(frozen);
    this.#shared.rounds.untilNothingIsNew({ first: again, again });
  }

  #stopAll({ stoppedBefore, sent, ended }: Frozen): boolean {
    const before = sent.size + ended.size;
    const { processes, vanished } = this.#look();
    for (const pid of vanished) ended.add(pid);
    for (const stat of processes.values()) {
      const id = identity(stat);
      if (!isAlive(stat)) ended.add(stat.pid);
      else if (!isStopped(stat)) {
        sent.add(id);
        signalExactly(stat, 'SIGSTOP');
      } else if (!sent.has(id)) stoppedBefore.add(id);
    }
    return sent.size + ended.size > before;
  }

  thaw(): void {
    const stopped = this.#frozen?.stoppedBefore;
    this.#frozen = null;
    if (stopped === undefined) return;
    this.#forEach((stat) => {
      if (!stopped.has(identity(stat))) signalExactly(stat, 'SIGCONT');
    });
  }

  /** From here on every process that turns up is killed, until the attempt is over. */
  killAll(): void {
    this.#killing = true;
    this.#shared.draining.add(this);
    this.#signalToFixpoint('SIGKILL');
  }

  whenEmpty(callback: () => void): void {
    this.#onEmpty = callback;
    this.#shared.draining.add(this);
    this.lookAgain();
  }

  /** The last process of an attempt to die is always a child of the daemon, so a SIGCHLD comes for it. */
  lookAgain(): void {
    this.#kin.isTouched = false;
    if (this.#killing) this.#signalToFixpoint('SIGKILL');
    if (this.#onEmpty === null) return;
    const alive = this.countAlive();
    this.#kin.isTouched ||= alive === null;
    if (alive !== 0) return;
    const callback = this.#onEmpty;
    this.#onEmpty = null;
    callback();
  }

  /** Sampling /proc would miss the children that came and went between two looks; the leader's own usage is reported instead. */
  cpuMs(): number | null {
    return null;
  }

  /**
   * What the living ones have used, with the children that they waited for. The time of an orphan goes with it: whoever comes
   * and goes between two looks, and has no parent that waits for it, is not seen.
   */
  cpuUsec(): number | null {
    const stats = [...this.#lookBriefly().processes.values()];
    return stats.length === 0 ? null : cpuUsecOf(stats);
  }

  pids(): number[] {
    return aliveOf(this.#lookBriefly()).map(({ pid }) => pid);
  }

  release(): void {
    this.#onEmpty = null;
    this.#shared.draining.delete(this);
    this.#shared.orphans.close(this.#kin);
  }

  /**
   * Each gets it once, and so does each that is forked meanwhile. In the last rounds, which may be a while later, only SIGKILL is
   * for whoever turns up: what a handler of another signal starts is not meant.
   */
  #signalToFixpoint(signal: NodeJS.Signals): void {
    const sent = new Set<string>();
    const begunTicks = ticksNow();
    const sendToFresh = (isMeant: (stat: ProcessStat) => boolean) => {
      const fresh = this.#members().filter((stat) => !sent.has(identity(stat)) && isMeant(stat));
      for (const stat of fresh) {
        sent.add(identity(stat));
        signalExactly(stat, signal);
      }
      return fresh.length > 0;
    };
    const isOlder = ({ startTicks }: ProcessStat) => startTicks < begunTicks;
    this.#shared.rounds.untilNothingIsNew({
      first: () => {
        for (let round = 0; round < maxRounds && sendToFresh(() => true); round += 1);
      },
      again: () => sendToFresh(signal === 'SIGKILL' ? () => true : isOlder),
    });
  }

  #forEach(act: (stat: ProcessStat) => void): void {
    this.#shared.rounds.look(() => {
      for (const stat of this.#members()) act(stat);
    });
  }

  /** Every live process of the attempt. */
  #members(): ProcessStat[] {
    return aliveOf(this.#look());
  }

  /** For a sample: what became an orphan a moment ago may be missing. */
  #lookBriefly(): Found {
    this.#shared.orphans.listWithin(orphansFreshMs);
    return this.#look();
  }

  /** Those below its leader, and the orphans that are its own with all below them. */
  #look(): Found {
    const found: Found = { processes: new Map(), vanished: new Set() };
    const { leader, orphans, belowUnknown } = this.#kin;
    for (const { pid, startTicks } of [...(leader === null ? [] : [leader]), ...belowUnknown])
      findTree(pid, (stat) => stat.startTicks === startTicks, found);
    for (const pid of orphans) findTree(pid, ({ ppid }) => ppid === process.pid, found);
    return found;
  }
}

function aliveOf({ processes }: Found): ProcessStat[] {
  return [...processes.values()].filter(isAlive);
}

/** By a signal, or by a debugger. proc_pid_stat(5) */
function isStopped(stat: ProcessStat): boolean {
  return stat.state === 'T' || stat.state === 't';
}

function identity(stat: ProcessStat): string {
  return `${stat.pid}/${stat.startTicks}`;
}
