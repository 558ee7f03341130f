import { type ChildReaper, type Mark, type ProcessStat, readStat } from '../linux/index.ts';
import { markOf, markText } from './marks.ts';

/**
 * Orphans of jobs, which the daemon has adopted, looked up once for many attempts: by the session, process group or mark that
 * they have from their leader. Made anew for each look, and listed only if somebody asks.
 */
export class Orphans {
  readonly #reaper: ChildReaper;
  #byOrigin: Map<string, ProcessStat[]> | null = null;

  constructor(reaper: ChildReaper) {
    this.#reaper = reaper;
  }

  /** Those of one attempt, each once. */
  of(leaderPid: number | undefined, mark: Mark): ProcessStat[] {
    this.#byOrigin ??= this.#list();
    const found = new Map<number, ProcessStat>();
    for (const origin of [`session ${leaderPid}`, `group ${leaderPid}`, `mark ${markText(mark)}`])
      for (const stat of this.#byOrigin.get(origin) ?? []) found.set(stat.pid, stat);
    return [...found.values()];
  }

  #list(): Map<string, ProcessStat[]> {
    const byOrigin = new Map<string, ProcessStat[]>();
    for (const pid of this.#reaper.adoptedChildren()) {
      const stat = readStat(pid);
      if (stat === undefined) continue;
      const mark = markOf(pid);
      const origins = [`session ${stat.session}`, `group ${stat.pgrp}`, ...(mark === null ? [] : [`mark ${mark}`])];
      for (const origin of origins) byOrigin.set(origin, [...(byOrigin.get(origin) ?? []), stat]);
    }
    return byOrigin;
  }
}
