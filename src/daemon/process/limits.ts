/** Holds attempts to their limits: by the files of their leaf, and process by process. */
import fs from 'node:fs';
import type { AtLimits, HostLimits, SettledResources } from '../core/index.ts';
import {
  ifProcessLives,
  type LimitOutcome,
  limitData,
  lowestNice,
  niceGroup,
  niceProcess,
  niceSession,
} from '../linux/index.ts';

/** A process of the job is out of the daemon's reach. */
export class LimitError extends Error {}

/** The kernel shares CPU time out in periods of this length, and takes no share below 1 ms of it. cgroups-v2, cpu.max */
const periodUsec = 100_000;
const leastUsec = 1_000;

/** Rounds in which processes may turn up that the leader forked before it had its limits. Those that come later inherit them. */
const maxRounds = 20;

/** What a host can do. `missing`: of each controller that leaves do not have, why. */
export function hostLimitsWith(missing: ReadonlyMap<string, string>): HostLimits {
  const byLeaf = (controller: string, otherwise: 'each process' | 'not enforced') => {
    const why = missing.get(controller);
    return why === undefined ? { by: 'cgroup' as const, why: null } : { by: otherwise, why };
  };
  return {
    how: {
      memory: byLeaf('memory', 'each process'),
      cpus: byLeaf('cpu', 'not enforced'),
      pids: byLeaf('pids', 'not enforced'),
      nice: { by: 'each process', why: null },
    },
    lowestNice: lowestNice(),
  };
}

/** Tier scan has no leaves, and so no controllers. */
export function hostLimitsWithoutLeaves(whyScan: string): HostLimits {
  const why = `in tier scan a job has no cgroup (${whyScan}); a daemon that is a systemd unit with Delegate=yes gives it one`;
  return hostLimitsWith(new Map(['memory', 'cpu', 'pids'].map((controller) => [controller, why])));
}

/** Writes into a leaf what the kernel is to hold it to. */
export function limitLeaf(leaf: string, { memoryBytes, cpus, pids, enforcedBy }: SettledResources): void {
  const write = (file: string, value: string | number) => fs.writeFileSync(`${leaf}/${file}`, String(value));
  if (memoryBytes !== undefined && enforcedBy.memory === 'cgroup') {
    // One process ended for want of memory leaves a job that nobody can tell anything of: all of it ends.
    write('memory.oom.group', 1);
    // Kernels without swap have no such file.
    if (fs.existsSync(`${leaf}/memory.swap.max`)) write('memory.swap.max', 0);
    write('memory.max', memoryBytes);
  }
  if (cpus !== undefined && enforcedBy.cpus === 'cgroup')
    write('cpu.max', `${Math.max(leastUsec, Math.round(cpus * periodUsec))} ${periodUsec}`);
  if (pids !== undefined && enforcedBy.pids === 'cgroup') write('pids.max', pids);
}

/**
 * Sets what each process has for itself: on the leader first, and then on those that it has forked meanwhile, until none is new.
 *
 * @param pids the processes that are alive
 * @throws LimitError where a process may not be touched, as one that has changed its user
 */
export function limitProcesses(resources: SettledResources, leaderPid: number, pids: () => readonly number[]): void {
  const { memoryBytes, nice, enforcedBy, from } = resources;
  const limitsData = memoryBytes !== undefined && enforcedBy.memory === 'each process';
  const limitsNice = nice !== undefined && enforcedBy.nice === 'each process';
  if (!limitsData && !limitsNice) return;
  const apply = (pid: number) => {
    if (limitsData) {
      const outcome = limitData(pid, memoryBytes);
      // A job is not ended for want of a limit that it did not ask for.
      if (from?.memory !== 'config caps') check(outcome, pid, resources);
    }
    if (limitsNice) check(niceProcess(pid, nice), pid, resources);
  };
  apply(leaderPid);
  if (limitsNice) {
    check(niceGroup(leaderPid, nice), leaderPid, resources);
    niceSession(leaderPid, nice);
  }
  const known = new Set([leaderPid]);
  for (let round = 0; round < maxRounds; round += 1) {
    const fresh = pids().filter((pid) => !known.has(pid));
    if (fresh.length === 0) return;
    for (const pid of fresh) {
      known.add(pid);
      apply(pid);
    }
  }
}

function check(outcome: LimitOutcome, pid: number, { enforce }: SettledResources): void {
  if (outcome !== 'refused' || enforce === 'best-effort') return;
  throw new LimitError(
    `process ${pid} cannot be held to the limits of the job: it runs as another user than the daemon, which is not root. Take what can be had: --limits best-effort`,
  );
}

/** What the kernel has counted in a leaf; `null` where it has no controller that counts. cgroups-v2, memory.events and pids.events */
export function readAtLimits(leaf: string): AtLimits | null {
  const memory = readText(`${leaf}/memory.events`);
  const pids = readText(`${leaf}/pids.events`);
  if (memory === null && pids === null) return null;
  const peak = readText(`${leaf}/memory.peak`);
  return {
    oomKills: counter(memory, 'oom_kill'),
    oomAtOwnLimit: counter(memory, 'oom') > 0,
    refusedForks: counter(pids, 'max'),
    peakMemoryBytes: peak === null ? null : Number(peak),
  };
}

function counter(text: string | null, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text ?? '')?.[1] ?? 0);
}

function readText(file: string): string | null {
  return ifProcessLives(() => fs.readFileSync(file, 'utf8')) ?? null;
}
