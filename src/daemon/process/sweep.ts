import { setTimeout as delay } from 'node:timers/promises';
import type { ProcessIdentity } from '../core/index.ts';
import { isAlive, listPids, type ProcessStat, readBootId, readStat, signalExactly } from '../linux/index.ts';
import type { SweepReport } from './containment.ts';
import { carriesInstance } from './marks.ts';

/** SIGKILL takes effect at once but for processes in state D; those are given this long, then reported. */
const patienceMs = 5_000;

/** Pause between two looks at processes that were killed and are not gone yet. */
const settleMs = 2;

/** On a busy host some stranger ends during nearly every look. So many looks in a row that find none are taken for none. */
const maxDisturbed = 10;

export interface SweepTarget {
  /** Whose marks to look for. */
  readonly instance: number;
  /** Leaders that were recorded, with the proof that tells them from later owners of the same pid. */
  readonly leaders: readonly ProcessIdentity[];
}

/**
 * Ends every process that belongs to attempts of this instance, to a fixpoint: it looks again until a look finds none. A
 * process belongs if it carries the mark, or is a recorded leader (same pid, start and boot), or is in the session of such a
 * leader, or descends from one that belongs. Nothing else is touched.
 */
export async function sweepProcesses(target: SweepTarget): Promise<SweepReport> {
  const bootId = readBootId();
  const leaders = new Map(
    target.leaders.filter((leader) => leader.bootId === bootId).map((leader) => [leader.pid, leader.startTicks]),
  );
  const ended = new Set<string>();
  const startedMs = performance.now();
  for (let disturbed = 0; ; ) {
    const { found, isUndisturbed } = findBelonging(target.instance, leaders);
    for (const stat of found) {
      if (signalExactly(stat, 'SIGKILL') === 'sent') ended.add(`${stat.pid}/${stat.startTicks}`);
    }
    disturbed = found.length > 0 ? 0 : disturbed + 1;
    if (found.length === 0 && (isUndisturbed || disturbed === maxDisturbed))
      return { ended: ended.size, unkillable: 0 };
    if (performance.now() - startedMs > patienceMs) return { ended: ended.size, unkillable: found.length };
    await delay(settleMs);
  }
}

/** `isUndisturbed`: every process that was listed could be looked at, so "none" is not the gap between two links of a chain. */
function findBelonging(
  instance: number,
  leaders: ReadonlyMap<number, number>,
): { found: ProcessStat[]; isUndisturbed: boolean } {
  const stats = new Map<number, ProcessStat>();
  let isUndisturbed = true;
  for (const pid of listPids()) {
    const stat = readStat(pid);
    if (stat === undefined) isUndisturbed = false;
    else if (isAlive(stat)) stats.set(pid, stat);
  }
  const isLeader = (pid: number) => leaders.has(pid) && stats.get(pid)?.startTicks === leaders.get(pid);
  const verdicts = new Map<number, boolean>([[process.pid, false]]);
  const belongs = (stat: ProcessStat): boolean => {
    const known = verdicts.get(stat.pid);
    if (known !== undefined) return known;
    verdicts.set(stat.pid, false); // Ends the walk where pids were reused into a loop.
    const parent = stats.get(stat.ppid);
    const verdict =
      isLeader(stat.pid) ||
      isLeader(stat.session) ||
      carriesInstance(stat.pid, instance) ||
      (parent !== undefined && parent.pid !== process.pid && belongs(parent));
    verdicts.set(stat.pid, verdict);
    return verdict;
  };
  return { found: [...stats.values()].filter(belongs), isUndisturbed };
}
