import fs from 'node:fs';
import { isErrno } from '../../protocol/index.ts';
import { ifProcessLives, isAlive, readStat } from '../linux/index.ts';

/** Live processes in a cgroup and those below it: a job may make cgroups in its leaf. */
export function alivePids(cgroup: string): number[] {
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

export function leavesOf(cgroup: string, recursive = false): string[] {
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
export function removeTree(cgroup: string): boolean {
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
export function isIn(pid: number, leaf: string): boolean {
  const own = ifProcessLives(() => fs.readFileSync(`/proc/${pid}/cgroup`, 'utf8'));
  const path = own === undefined ? null : unifiedPath(own);
  return path !== null && `${path}/`.startsWith(`${leaf}/`);
}

/** The path after `0::`, which is the cgroup v2 one. cgroups(7) */
export function unifiedPath(text: string): string | null {
  return /^0::(.*)$/m.exec(text)?.[1] ?? null;
}
