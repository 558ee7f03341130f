import { type ChildReaper, childrenOf, isAlive, type Mark, type ProcessStat, readStat } from '../linux/index.ts';
import { markOf, markText } from './marks.ts';

/** While orphans of unknown origin are there: looks until one is undisturbed. After that somebody else gets a turn of the event loop. */
const maxLooks = 10;

/** What one attempt is known by, and what was found of it. */
export class Kin {
  readonly mark: string;
  leader: { readonly pid: number; readonly startTicks: number } | null = null;
  /** Adopted children of the daemon that are its own. Zombies included. */
  readonly orphans = new Set<number>();
  /** Processes of its own that the newest look found below an orphan of unknown origin. */
  readonly belowUnknown: ProcessStat[] = [];
  /** Orphans of its own have come or gone. Whoever looks after it takes this back. */
  isTouched = false;

  constructor(mark: string) {
    this.mark = mark;
  }
}

/**
 * Orphans of jobs, which the daemon has adopted, and whose they are: told by the mark, session or process group that they have
 * from their leader, or by their environment.
 *
 * Each is asked once. Whose it is never changes, whatever it does to its session or limits later, and its number is nobody else's
 * until the daemon reaps it; then it is forgotten. What is below it is of the same attempt. Only those of unknown origin
 * are asked again with each list, and all below them: one may show a mark yet.
 */
export class Orphans {
  readonly #reaper: ChildReaper;
  readonly #instance: number;
  /** Of attempts that are not over. */
  readonly #byMark = new Map<string, Kin>();
  readonly #byLeader = new Map<number, Kin>();
  /** Whose an adopted child is; `null`: unknown. */
  readonly #owners = new Map<number, Kin | null>();
  readonly #unknown = new Set<number>();
  /** Those of which something was found below an orphan of unknown origin. */
  readonly #belowUnknown = new Set<Kin>();
  #isComplete = true;
  #listedMs = Number.NEGATIVE_INFINITY;

  constructor(reaper: ChildReaper, instance: number) {
    this.#reaper = reaper;
    this.#instance = instance;
    reaper.onLeft = (pid) => this.#forget(pid);
  }

  open(mark: Mark): Kin {
    const kin = new Kin(markText(mark));
    this.#byMark.set(kin.mark, kin);
    return kin;
  }

  setLeader(kin: Kin, pid: number, startTicks: number): void {
    kin.leader = { pid, startTicks };
    this.#byLeader.set(pid, kin);
  }

  /** The attempt is over. Its number and mark may be another's by now. */
  close(kin: Kin): void {
    if (this.#byMark.get(kin.mark) === kin) this.#byMark.delete(kin.mark);
    const pid = kin.leader?.pid;
    if (pid !== undefined && this.#byLeader.get(pid) === kin) this.#byLeader.delete(pid);
  }

  /**
   * Whether of every process that was alive when the newest list was made, what it descends from is known: its attempt's leader, or
   * an orphan. A list tells that by itself, as long as nobody reaps: a dying parent hands its children to the daemon before it
   * becomes a zombie, and is listed until it is reaped. Only what is below orphans of unknown origin takes an undisturbed look.
   */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Reaps what has ended, and sees what has been adopted. */
  list(): void {
    this.#reaper.reap();
    this.#listedMs = performance.now();
    this.#takeNew();
    this.#isComplete = this.#unknown.size === 0;
    for (const kin of this.#belowUnknown) kin.isTouched = true; // What was below may have gone, and nobody tells of that.
    this.#clearBelow();
    for (let look = 0; !this.#isComplete && look < maxLooks; look += 1) {
      this.#lookBelowUnknown();
      this.#isComplete = !this.#takeNew();
    }
  }

  /** As `list`, unless there is a list that is at most so old. */
  listWithin(maxAgeMs: number): void {
    if (performance.now() - this.#listedMs > maxAgeMs) this.list();
  }

  /** Whether some of unknown origin were among them. */
  #takeNew(): boolean {
    let isUnknown = false;
    for (const pid of this.#reaper.adoptedChildren()) {
      if (this.#owners.has(pid)) continue;
      const stat = readStat(pid);
      const owner = stat === undefined ? null : this.#ownerOf(stat);
      this.#owners.set(pid, owner);
      if (owner === null) this.#unknown.add(pid);
      else this.#give(pid, owner);
      isUnknown ||= owner === null;
    }
    return isUnknown;
  }

  #lookBelowUnknown(): void {
    this.#clearBelow();
    for (const pid of this.#unknown) {
      const stat = readStat(pid);
      if (stat === undefined || !isAlive(stat)) continue; // Its children have another parent already. exit(2)
      const owner = this.#ownerOf(stat);
      if (owner === null) {
        this.#lookBelow(stat);
        continue;
      }
      this.#unknown.delete(pid);
      this.#owners.set(pid, owner);
      this.#give(pid, owner);
    }
  }

  #lookBelow(parent: ProcessStat): void {
    for (const pid of childrenOf(parent.pid)) {
      const stat = readStat(pid);
      if (stat?.ppid !== parent.pid || !isAlive(stat)) continue;
      const owner = this.#ownerOf(stat);
      if (owner === null) {
        this.#lookBelow(stat);
        continue;
      }
      owner.belowUnknown.push(stat);
      owner.isTouched = true;
      this.#belowUnknown.add(owner);
    }
  }

  #clearBelow(): void {
    for (const kin of this.#belowUnknown) kin.belowUnknown.length = 0;
    this.#belowUnknown.clear();
  }

  #give(pid: number, owner: Kin): void {
    owner.orphans.add(pid);
    owner.isTouched = true;
  }

  #forget(pid: number): void {
    const owner = this.#owners.get(pid);
    if (owner === undefined) return;
    this.#owners.delete(pid);
    this.#unknown.delete(pid);
    if (owner === null) return;
    owner.orphans.delete(pid);
    owner.isTouched = true;
  }

  /**
   * Asked only of processes below the daemon, so a session or group with a leader's number is the leader's: the number stays
   * taken as long as anything is in it. setsid(2). A mark says more: the number may have been an earlier leader's, too.
   */
  #ownerOf(stat: ProcessStat): Kin | null {
    const mark = markOf(stat.pid, this.#instance);
    return (
      (mark === null ? undefined : this.#byMark.get(mark)) ??
      this.#byLeader.get(stat.session) ??
      this.#byLeader.get(stat.pgrp) ??
      null
    );
  }
}
