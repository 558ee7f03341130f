import fs from 'node:fs';
import { dirname } from 'node:path';
import { ifProcessLives, isDelegated } from '../linux/index.ts';
import { unifiedPath } from './cgroup-tree.ts';
import { instanceText } from './marks.ts';

/** Where leaves can be made: a folder for this daemon's, and the cgroup that the daemon itself is in. */
export interface CgroupPlace {
  readonly mount: string;
  readonly base: string;
  readonly home: string;
  readonly reason: string;
}

/** Where the daemon puts itself, in a cgroup that is its own, so that the kernel lets it hold the others to limits. */
export const daemonCgroup = 'corrald';

/** The name of a folder for a daemon's leaves, somewhere in the path of a cgroup. */
const leafPattern = /\/corral-[0-9a-f]{8}\//;

/**
 * Finds a place for leaves, by trying. Our own cgroup if it was delegated to us, we own it, or it is a job's leaf;
 * else, for root, the top of the hierarchy.
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
  // A daemon that a job of another daemon started stays below that job's leaf, so that it ends with the job.
  const isInLeaf = leafPattern.test(own);
  // Whoever comes after a daemon that put itself below its cgroup, such as a newer one in its place, finds itself there.
  const unit = home.endsWith(`/${daemonCgroup}`) ? dirname(home) : home;
  const ownIsOurs = unit !== mount && (uid === 0 ? isInLeaf || isDelegated(unit) : ownerOf(unit) === uid);
  if (!ownIsOurs && uid !== 0) {
    return `the cgroup ${home} is not delegated to this user; under a systemd user manager it would be: systemd-run --user -p Delegate=yes`;
  }
  const base = ownIsOurs ? `${unit}/${name}` : `${mount}/${name}`;
  const failure = probe(base, home);
  if (failure !== null) return failure;
  return {
    mount,
    base,
    home,
    reason: ownIsOurs ? `the cgroup ${unit} is this daemon's to use` : `root may make cgroups in ${mount}`,
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

function ownerOf(path: string): number | null {
  return ifProcessLives(() => fs.statSync(path).uid) ?? null;
}
