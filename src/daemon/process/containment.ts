import type { AtLimits, HostLimits, ProcessIdentity, SettledResources } from '../core/index.ts';

/** How the processes of attempts are held together. Chosen once, at start. */
export interface Containment {
  readonly tier: 'cgroup' | 'scan';
  /** What this tier promises, and what it cannot; for people. */
  readonly guarantee: string;
  readonly holes: readonly string[];
  /** Why this tier was chosen. */
  readonly reason: string;
  /** The cgroup whose `cgroup.kill` ends every attempt at once; `null` in tier scan. */
  readonly killSwitch: string | null;
  /** How attempts can be held to the limits that their jobs ask for. */
  readonly hostLimits: HostLimits;
  /** Makes room for one attempt, or one hook, before its launch. @param name no other one has, and a file may have */
  open(name: string, resources: SettledResources | null): Hold;
  /**
   * Asks many holds in one go. What they were asked is done when it returns, not before: where a hold has to look for its
   * processes, one list of orphans serves all.
   */
  together<T>(act: () => T): T;
  /** Live processes of these jobs together, as the kernel counts them; `null` where only holds can tell. */
  countAlive(jobIds: ReadonlySet<number>): number | null;
  /** Ends everything that an earlier daemon of this state directory left behind. Call it before anything is launched. */
  sweep(lost: readonly ProcessIdentity[]): Promise<SweepReport>;
  /** Processes may have ended: attempts that drain look again. */
  onExits(): void;
  /** Removes what the tier made for itself, after the last attempt is released. */
  close(): void;
}

/** One attempt's grip on its processes. */
export interface Hold {
  /** Variables that the leader must be started with. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs a synchronous spawn so that the child is held from its first instruction. */
  launchInside<T>(spawn: () => T): T;
  /**
   * Holds the attempt to its limits. Call it as soon as the leader has been spawned: until then the daemon itself may have been
   * inside, and its own threads and memory would have counted.
   *
   * @throws LimitError where a process cannot be held to one
   */
  limit(leaderPid: number): void;
  setLeader(pid: number, startTicks: number): void;
  /**
   * How many processes are alive. Ask it once the leader has been reaped. 0 is proven; `null` is not: processes came and went
   * while they were looked at, as in a chain of short-lived forks. Look again then.
   */
  countAlive(): number | null;
  signalAll(signal: NodeJS.Signals): void;
  /** None of them runs from here on, nor any that they fork meanwhile. A process that had stopped itself is told from those. */
  freeze(): void;
  /** They go on where they were, but for those that had stopped themselves. */
  thaw(): void;
  /** SIGKILL to all of them, and to those that they fork meanwhile. */
  killAll(): void;
  /** Calls back once, when no process is alive any more. At once if that is so already. */
  whenEmpty(callback: () => void): void;
  /** CPU time of all processes that ever were in it, in ms; `null` where the tier cannot know. */
  cpuMs(): number | null;
  /**
   * CPU time so far, in µs, as well as the tier can count it while the attempt runs; `null` where that failed. Two of these are
   * compared. Cheap: it is asked of every job again and again.
   */
  cpuUsec(): number | null;
  /** Whether `cpuUsec` grows whenever any of its processes runs, be it for a moment. */
  readonly countsAllCpu: boolean;
  /** The processes that are alive. */
  pids(): number[];
  /** What can be seen of it now that its end may not tell. */
  seen(): Seen;
  /** What happened at the limits; `null` where the kernel does not count that. */
  atLimits(): AtLimits | null;
  /** Gives up what the hold needed. The attempt is over. */
  release(): void;
}

/** `null` where it cannot be asked, or need not be, because `cpuMs` tells it. */
export interface Seen {
  /** Largest resident memory that any one of the processes that are alive ever had. */
  readonly peakRssBytes: number | null;
  /** CPU time of the processes that are alive, and of the children that they waited for. */
  readonly cpuMs: number | null;
}

export interface SweepReport {
  /** Processes that were ended. */
  readonly ended: number;
  /** Processes that are still there after SIGKILL. */
  readonly unkillable: number;
}

/** Name of the variable that each process of a job inherits, unless it wipes its environment. */
export const markVariable = 'CORRAL_MARK';
