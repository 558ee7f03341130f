/**
 * Controllers of cgroup v2: what makes the kernel hold a cgroup to limits. They are handed down level by level, and, but for the
 * root, only by a cgroup that has no processes of its own. So the daemon puts itself into a cgroup beside those of its jobs, as
 * systemd asks of services with Delegate=yes. cgroups(7); systemd.resource-control(5)
 *
 * Each cgroup with the memory controller costs the kernel memory, also for a while after it is gone, so leaves of jobs that ask
 * for no limits are made in `plain`, which hands nothing down.
 */
import fs from 'node:fs';
import { dirname } from 'node:path';
import { isErrno } from '../../protocol/index.ts';
import { ifProcessLives } from '../linux/index.ts';
import { type CgroupPlace, daemonCgroup } from './cgroup-place.ts';
import { removeTree } from './cgroup-tree.ts';

const allControllers: readonly string[] = ['memory', 'cpu', 'pids'];

/** What the kernel says where a cgroup is not ours, in use, gone, or has no such controller. */
const refusals = ['EACCES', 'EPERM', 'EROFS', 'EBUSY', 'ENOENT', 'EOPNOTSUPP', 'ENOTSUP', 'EINVAL'];

export interface Controllers {
  /** The cgroup that the daemon is in from now on. */
  readonly home: string;
  /** Those that leaves in `limited` have. */
  readonly enabled: readonly string[];
  /** Of each of the others: why it cannot be had. */
  readonly missing: ReadonlyMap<string, string>;
}

/** Which leaves there are below the daemon's, once any controller is enabled. */
export const leafFolders = { limited: 'limited', plain: 'plain' } as const;

/** Takes as many controllers as the host lets it have, by trying. What could not be had leaves everything as it was. */
export function enableControllers(place: CgroupPlace, wanted: readonly string[] = allControllers): Controllers {
  const { available, missing } = lookAtControllers(place, wanted);
  const without = (reason: string): Controllers => ({
    home: place.home,
    enabled: [],
    missing: new Map(wanted.map((name) => [name, missing.get(name) ?? reason])),
  });
  if (available.length === 0) return without('');
  const parent = dirname(place.base);
  const home = moveBelow(parent, place.home);
  try {
    const reason = whyNotHandDown(parent, available);
    if (reason === null) {
      handDown(place.base, available);
      tryLeaf(place.base, home);
      return { home, enabled: available, missing };
    }
    moveBack(parent, place.home);
    return without(reason);
  } catch (error) {
    takeBack(parent, place, available);
    if (!isErrno(error, ...refusals)) throw error;
    return without(`the controllers of ${parent} cannot be handed down: ${error.message}`);
  }
}

/** What is there to be had, without changing anything. */
export function lookAtControllers(
  place: CgroupPlace,
  wanted: readonly string[] = allControllers,
): Pick<Controllers, 'missing'> & { readonly available: string[] } {
  const parent = dirname(place.base);
  const there = wordsOf(`${parent}/cgroup.controllers`);
  const missing = wanted
    .filter((name) => !there.includes(name))
    .map((name) => [name, whyMissing(name, parent)] as const);
  return { available: wanted.filter((name) => there.includes(name)), missing: new Map(missing) };
}

/** Makes sure that leaves in `limited` have the controllers. Somebody may have tidied the folders away. */
export function handDown(base: string, controllers: readonly string[]): void {
  const limited = `${base}/${leafFolders.limited}`;
  fs.mkdirSync(limited, { recursive: true });
  for (const cgroup of [base, limited]) hand(cgroup, controllers);
}

/** Goes once where jobs with limits will be, and comes back. */
function tryLeaf(base: string, home: string): void {
  const leaf = `${base}/${leafFolders.limited}/probe`;
  fs.mkdirSync(leaf);
  try {
    fs.writeFileSync(`${leaf}/cgroup.procs`, '0');
  } finally {
    fs.writeFileSync(`${home}/cgroup.procs`, '0');
  }
  fs.rmdirSync(leaf);
}

/** Gives everything back, before the daemon goes. */
export function returnControllers(place: CgroupPlace, { home, enabled }: Controllers): void {
  if (home === place.home) return;
  takeBack(dirname(place.base), place, enabled);
}

/** Jobs in progress keep what they have: then nothing is taken back. */
function takeBack(parent: string, place: CgroupPlace, controllers: readonly string[]): void {
  if (fs.existsSync(`${parent}/cgroup.type`)) {
    removeTree(`${place.base}/${leafFolders.limited}`);
    for (const cgroup of [place.base, parent]) tidyUp(() => hand(cgroup, controllers, '-'));
  }
  moveBack(parent, place.home);
}

function hand(cgroup: string, controllers: readonly string[], sign: '+' | '-' = '+'): void {
  fs.writeFileSync(`${cgroup}/cgroup.subtree_control`, controllers.map((name) => `${sign}${name}`).join(' '));
}

/**
 * Hands down from the cgroup that was there before. One with processes must not even be tried: the kernel would hand down `cpu` and
 * `pids` alone, and then let no process into the cgroups below. cgroups(7), "threaded"
 */
function whyNotHandDown(parent: string, controllers: readonly string[]): string | null {
  const handed = wordsOf(`${parent}/cgroup.subtree_control`);
  if (controllers.every((name) => handed.includes(name))) return null;
  const isRoot = !fs.existsSync(`${parent}/cgroup.type`);
  const others = isRoot ? [] : wordsOf(`${parent}/cgroup.procs`);
  if (others.length > 0)
    return `the cgroup ${parent} has processes beside the daemon (such as pid ${others[0]}); give the daemon one of its own, as a systemd unit with Delegate=yes has`;
  hand(parent, controllers);
  return null;
}

function whyMissing(controller: string, parent: string): string {
  const version1 = version1Mount(controller);
  if (version1 !== null)
    return `the controller ${controller} is taken by cgroup v1 (${version1}); boot with a unified hierarchy to have it`;
  return `the cgroup ${parent} has no controller ${controller}; run the daemon as a systemd unit with Delegate=yes`;
}

function version1Mount(controller: string): string | null {
  for (const line of fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [mount, kind] = line.split(' - ');
    const [type, , options] = kind?.split(' ') ?? [];
    if (type === 'cgroup' && options?.split(',').includes(controller)) return mount?.split(' ')[4] ?? null;
  }
  return null;
}

/** The daemon leaves the cgroup that is to hand controllers down. Returns where it is then. */
function moveBelow(parent: string, home: string): string {
  const isAtRoot = !fs.existsSync(`${parent}/cgroup.type`);
  if (home !== parent || isAtRoot) return home;
  const below = `${parent}/${daemonCgroup}`;
  fs.mkdirSync(below, { recursive: true });
  fs.writeFileSync(`${below}/cgroup.procs`, '0');
  return below;
}

/** Where it has moved. Somebody may be left below, such as the guardian; then it stays. */
function moveBack(parent: string, home: string): void {
  if (home !== parent) return;
  tidyUp(() => {
    fs.writeFileSync(`${home}/cgroup.procs`, '0');
    removeTree(`${parent}/${daemonCgroup}`);
  });
}

/** Tidies up, where that is allowed and nobody is in the way. */
function tidyUp(tidy: () => void): void {
  try {
    tidy();
  } catch (error) {
    if (!isErrno(error, ...refusals)) throw error;
  }
}

function wordsOf(file: string): string[] {
  return (ifProcessLives(() => fs.readFileSync(file, 'utf8')) ?? '').split(/\s+/).filter((word) => word !== '');
}
