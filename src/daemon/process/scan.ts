import type { HostLimits, ProcessIdentity, SettledResources } from '../core/index.ts';
import {
  type ChildReaper,
  childrenOf,
  isAlive,
  type Mark,
  type ProcessStat,
  readStat,
  signalExactly,
} from '../linux/index.ts';
import { type Containment, type Hold, markVariable, type Seen, type SweepReport } from './containment.ts';
import { hostLimitsWithoutLeaves, limitProcesses } from './limits.ts';
import { carriesMark, type Marker, markText } from './marks.ts';
import type { Orphans } from './orphans.ts';
import { nothingSeen, peakOf } from './peaks.ts';
import { sweepProcesses } from './sweep.ts';

/** Looks until one is undisturbed; after that somebody else gets a turn of the event loop. */
const maxLooks = 10;

/** The kernel counts CPU time in ticks of 10 ms: USER_HZ. proc_pid_stat(5) */
const usecPerTick = 10_000;

/** Rounds in which new processes may turn up while a tree is being signalled; more come with the next SIGCHLD. */
const maxRounds = 100;

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
  readonly #marker: Marker;
  readonly #reaper: ChildReaper;
  readonly #draining = new Set<ScanHold>();

  constructor(reason: string, marker: Marker, reaper: ChildReaper) {
    this.reason = reason;
    this.hostLimits = hostLimitsWithoutLeaves(reason);
    this.#marker = marker;
    this.#reaper = reaper;
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
    return new ScanHold(resources, this.#marker, this.#reaper, this.#draining);
  }

  countAlive(): null {
    return null;
  }

  sweep(lost: readonly ProcessIdentity[]): Promise<SweepReport> {
    return sweepProcesses({ instance: this.#marker.instance, leaders: lost });
  }

  onExits(): void {
    for (const hold of this.#draining) hold.lookAgain();
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

/** With all below it. */
function addTree(stat: ProcessStat, found: Map<number, ProcessStat>): void {
  if (found.has(stat.pid)) return;
  found.set(stat.pid, stat);
  for (const pid of childrenOf(stat.pid, stat.threads)) {
    const child = readStat(pid);
    if (child !== undefined) addTree(child, found);
  }
}

class ScanHold implements Hold {
  readonly env: Readonly<Record<string, string>>;
  /** In ticks. */
  readonly countsAllCpu = false;
  readonly #resources: SettledResources | null;
  readonly #mark: Mark;
  readonly #marker: Marker;
  readonly #reaper: ChildReaper;
  readonly #draining: Set<ScanHold>;
  #leader: { pid: number; startTicks: number } | null = null;
  #killing = false;
  #onEmpty: (() => void) | null = null;
  /** While it is frozen: its processes that stood still already, by themselves. */
  #stoppedBefore: Set<string> | null = null;

  constructor(resources: SettledResources | null, marker: Marker, reaper: ChildReaper, draining: Set<ScanHold>) {
    this.#resources = resources;
    this.#marker = marker;
    this.#mark = marker.next();
    this.#reaper = reaper;
    this.#draining = draining;
    this.env = { [markVariable]: markText(this.#mark) };
  }

  launchInside<T>(spawn: () => T): T {
    return this.#marker.spawnMarked(this.#mark, spawn);
  }

  setLeader(pid: number, startTicks: number): void {
    this.#leader = { pid, startTicks };
  }

  limit(leaderPid: number): void {
    if (this.#resources === null) return;
    limitProcesses(this.#resources, leaderPid, () => this.#members().map(({ pid }) => pid));
  }

  /** Of the leader and what is below it: to look for orphans of every job would cost too much. */
  seen(): Seen {
    const leader = this.#leader;
    if (leader === null || readStat(leader.pid)?.startTicks !== leader.startTicks) return nothingSeen;
    const stats = aliveTree(leader.pid);
    const cpuTicks = stats.reduce((sum, stat) => sum + stat.cpuTicks, 0);
    return { peakRssBytes: peakOf(stats.map(({ pid }) => pid)), cpuMs: (cpuTicks * usecPerTick) / 1_000 };
  }

  atLimits(): null {
    return null;
  }

  /**
   * "None" is proven by a look during which no orphan came or went: whatever is alive is below one that stood in the list from
   * beginning to end. Zombies are reaped first; a dying parent hands its children to the daemon before it becomes one.
   */
  countAlive(): number | null {
    for (let look = 0; look < maxLooks; look += 1) {
      this.#reaper.reap();
      const before = this.#reaper.adoptedChildren();
      const members = this.#members(before).length;
      if (members > 0) return members;
      const after = this.#reaper.adoptedChildren();
      const isSettled = before.length === after.length && before.every((pid, index) => pid === after[index]);
      if (isSettled && !before.some(isZombie)) return 0;
    }
    return null;
  }

  /** While it is frozen, SIGSTOP and SIGCONT say what will be once it is thawed, as in tier cgroup. */
  signalAll(signal: NodeJS.Signals): void {
    const stopped = this.#stoppedBefore;
    if (stopped === null) this.#signalToFixpoint(signal);
    else if (signal === 'SIGCONT') stopped.clear();
    else if (signal === 'SIGSTOP') for (const stat of this.#members()) stopped.add(identity(stat));
    else this.#signalToFixpoint(signal);
  }

  /**
   * SIGSTOP to all that do not stand still, until a look finds none that has not had it: a member that had not may have forked,
   * or continued another. One that has it runs no more, even if its state does not show that yet.
   */
  freeze(): void {
    const sent = new Set<string>();
    this.#stoppedBefore ??= new Set();
    for (let round = 0, isNews = true; isNews && round < maxRounds; round += 1) {
      isNews = false;
      for (const stat of this.#members()) {
        const id = identity(stat);
        if (isStopped(stat)) {
          if (!sent.has(id)) this.#stoppedBefore.add(id);
          continue;
        }
        isNews ||= !sent.has(id);
        sent.add(id);
        signalExactly(stat, 'SIGSTOP');
      }
    }
  }

  thaw(): void {
    const stopped = this.#stoppedBefore;
    this.#stoppedBefore = null;
    if (stopped === null) return;
    for (const stat of this.#members()) if (!stopped.has(identity(stat))) signalExactly(stat, 'SIGCONT');
  }

  /** From here on every process that turns up is killed, until the attempt is over. */
  killAll(): void {
    this.#killing = true;
    this.#draining.add(this);
    this.#signalToFixpoint('SIGKILL');
  }

  whenEmpty(callback: () => void): void {
    this.#onEmpty = callback;
    this.#draining.add(this);
    this.lookAgain();
  }

  /** The last process of an attempt to die is always a child of the daemon, so a SIGCHLD comes for it. */
  lookAgain(): void {
    if (this.#killing) this.#signalToFixpoint('SIGKILL');
    if (this.#onEmpty === null || this.countAlive() !== 0) return;
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
  cpuUsec(orphans: Orphans): number | null {
    const stats = this.#family(orphans);
    return stats.length === 0 ? null : stats.reduce((sum, { cpuTicks }) => sum + cpuTicks, 0) * usecPerTick;
  }

  pids(orphans: Orphans): number[] {
    return this.#family(orphans)
      .filter(isAlive)
      .map(({ pid }) => pid);
  }

  release(): void {
    this.#onEmpty = null;
    this.#draining.delete(this);
  }

  /** Its processes, zombies included: what they have used is not their parent's yet. */
  #family(orphans: Orphans): ProcessStat[] {
    const leader = this.#leader === null ? undefined : readStat(this.#leader.pid);
    const isLeader = leader !== undefined && leader.startTicks === this.#leader?.startTicks;
    const family = new Map<number, ProcessStat>();
    for (const root of [...(isLeader ? [leader] : []), ...orphans.of(this.#leader?.pid, this.#mark)])
      addTree(root, family);
    return [...family.values()];
  }

  #signalToFixpoint(signal: NodeJS.Signals): void {
    // Where many jobs are ended in one turn, each would look through the zombies of all those before it.
    this.#reaper.reap();
    const sent = new Set<string>();
    this.#reaper.reap(); // Or each of many jobs that are ended in one turn would look at all zombies of those before it.
    for (let round = 0; round < maxRounds; round += 1) {
      const fresh = this.#members().filter((stat) => !sent.has(identity(stat)));
      if (fresh.length === 0) return;
      for (const stat of fresh) {
        sent.add(identity(stat));
        signalExactly(stat, signal);
      }
    }
  }

  /** Every live process of the attempt: those below its leader, and the orphans that are its own with all below them. */
  #members(adopted = this.#reaper.adoptedChildren()): ProcessStat[] {
    const members: ProcessStat[] = [];
    const leader = this.#leader === null ? undefined : readStat(this.#leader.pid);
    if (leader !== undefined && leader.startTicks === this.#leader?.startTicks) this.#collect(leader, true, members);
    for (const pid of adopted) {
      const stat = readStat(pid);
      if (stat !== undefined) this.#collect(stat, false, members);
    }
    return members;
  }

  #collect(stat: ProcessStat, parentBelongs: boolean, members: ProcessStat[]): void {
    if (!isAlive(stat)) return; // Its children have another parent already. exit(2)
    const belongs = parentBelongs || this.#isOurs(stat);
    if (belongs) members.push(stat);
    for (const pid of childrenOf(stat.pid)) {
      const child = readStat(pid);
      if (child !== undefined) this.#collect(child, belongs, members);
    }
  }

  /**
   * Asked only of processes below the daemon, so a session or group with the leader's number is the leader's: the number
   * stays taken as long as anything is in it. setsid(2)
   */
  #isOurs(stat: ProcessStat): boolean {
    const leader = this.#leader?.pid;
    return stat.session === leader || stat.pgrp === leader || carriesMark(stat.pid, this.#mark);
  }
}

function isZombie(pid: number): boolean {
  const stat = readStat(pid);
  return stat === undefined || !isAlive(stat);
}

/** By a signal, or by a debugger. proc_pid_stat(5) */
function isStopped(stat: ProcessStat): boolean {
  return stat.state === 'T' || stat.state === 't';
}

function identity(stat: ProcessStat): string {
  return `${stat.pid}/${stat.startTicks}`;
}
