import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import { after, describe, test } from 'node:test';
import type { SettledResources } from '../../src/daemon/core/index.ts';
import { lowestNice } from '../../src/daemon/linux/index.ts';
import type { CgroupPlace } from '../../src/daemon/process/cgroup-place.ts';
import { alivePids, removeTree } from '../../src/daemon/process/cgroup-tree.ts';
import {
  enableControllers,
  handDown,
  lookAtControllers,
  returnControllers,
} from '../../src/daemon/process/controllers.ts';
import { LimitError, limitLeaf, limitProcesses, readAtLimits } from '../../src/daemon/process/limits.ts';
import { peakOf } from '../../src/daemon/process/peaks.ts';

const scratch = fs.mkdtempSync(`${os.tmpdir()}/corral-limits-`);
const children: ChildProcess[] = [];

after(() => {
  for (const child of children) child.kill('SIGKILL');
  fs.rmSync(scratch, { recursive: true, force: true });
});

function folder(name: string, files: Record<string, string> = {}): string {
  const path = `${scratch}/${name}`;
  fs.mkdirSync(path, { recursive: true });
  for (const [file, text] of Object.entries(files)) fs.writeFileSync(`${path}/${file}`, text);
  return path;
}

const contents = (path: string) =>
  Object.fromEntries(fs.readdirSync(path).map((name) => [name, fs.readFileSync(`${path}/${name}`, 'utf8')]));

const inLeaf: SettledResources = {
  memoryBytes: 2 ** 26,
  cpus: 1.5,
  pids: 10,
  enforcedBy: { memory: 'cgroup', cpus: 'cgroup', pids: 'cgroup' },
  shortfalls: [],
};

describe('the files of a leaf', () => {
  test('each limit is written as the kernel wants it; swap counts as memory', () => {
    const leaf = folder('leaf', { 'memory.swap.max': 'max' });
    limitLeaf(leaf, inLeaf);
    assert.deepEqual(contents(leaf), {
      'cpu.max': '150000 100000',
      'memory.max': '67108864',
      'memory.oom.group': '1',
      'memory.swap.max': '0',
      'pids.max': '10',
    });
  });

  test('a kernel without swap has no file for it, and no share of the CPU is below 1 ms', () => {
    const leaf = folder('without-swap');
    limitLeaf(leaf, { ...inLeaf, cpus: 0.001 });
    assert.equal(contents(leaf)['cpu.max'], '1000 100000');
    assert.equal(contents(leaf)['memory.swap.max'], undefined);
  });

  test('control: what is not enforced by the leaf is not written', () => {
    const leaf = folder('not-enforced');
    limitLeaf(leaf, { ...inLeaf, enforcedBy: { memory: 'each process', cpus: 'not enforced', pids: 'not enforced' } });
    assert.deepEqual(contents(leaf), {});
  });

  test('what the kernel counted is read back', () => {
    const leaf = folder('counted', {
      'memory.events': 'low 0\nhigh 0\nmax 31\noom 2\noom_kill 3\noom_group_kill 1\n',
      'memory.peak': '67108864\n',
      'pids.events': 'max 12\n',
    });
    assert.deepEqual(readAtLimits(leaf), {
      oomKills: 3,
      oomAtOwnLimit: true,
      refusedForks: 12,
      peakMemoryBytes: 67_108_864,
    });
    assert.equal(readAtLimits(folder('no-controller', { 'cpu.stat': 'usage_usec 1\n' })), null);
  });
});

/** A shell with a child that it forked before anybody could limit it. Resolves when both are there. */
async function family(): Promise<{ leader: number; pids: number[] }> {
  const child = spawn('/bin/sh', ['-c', 'sleep 600 & echo $!; wait'], {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  children.push(child);
  const [line] = await once(child.stdout ?? assert.fail(), 'data');
  const leader = child.pid ?? assert.fail();
  const sleep = Number(String(line));
  children.push({ kill: () => process.kill(sleep, 'SIGKILL') } as unknown as ChildProcess);
  return { leader, pids: [leader, sleep] };
}

const dataLimit = (pid: number) =>
  /^Max data size\s+(\S+)\s+(\S+)/m
    .exec(fs.readFileSync(`/proc/${pid}/limits`, 'utf8'))
    ?.slice(1, 3)
    .map(Number);

describe('limits of each process', () => {
  const perProcess: SettledResources = {
    memoryBytes: 2 ** 28,
    nice: Math.min(19, os.getPriority() + 6),
    enforcedBy: { memory: 'each process', nice: 'each process' },
    shortfalls: [],
  };

  test('the leader and what it had forked before get them', async () => {
    const { leader, pids } = await family();
    const before = pids.map((pid) => os.getPriority(pid));
    limitProcesses(perProcess, leader, () => pids);
    for (const [index, pid] of pids.entries()) {
      assert.deepEqual(dataLimit(pid), [2 ** 28, 2 ** 28]);
      assert.equal(os.getPriority(pid), perProcess.nice);
      assert.notEqual(before[index], perProcess.nice);
    }
  });

  test('a process that has gone meanwhile is passed over', () => {
    limitProcesses(perProcess, 2 ** 22 - 7, () => []);
  });

  test('one that may not be touched is an error, unless best-effort, or of the caps alone', {
    skip: process.getuid?.() !== 0 ? 'needs root to become another user' : false,
  }, () => {
    // Another user's process is out of reach for an ordinary user. prlimit(2) goes by the real uid, which stays root's here.
    const child = spawn('sleep', ['60'], { uid: 65_534, gid: 65_534, stdio: 'ignore' });
    children.push(child);
    const { pid } = child;
    assert.ok(pid !== undefined);
    const before = dataLimit(pid);
    const euid = process.geteuid?.() ?? 0;
    process.seteuid?.(65_533);
    try {
      assert.throws(() => limitProcesses(perProcess, pid, () => []), LimitError);
      const { nice: _, ...memoryOnly } = perProcess;
      assert.throws(() => limitProcesses({ ...memoryOnly, from: { memory: 'job' } }, pid, () => []), LimitError);
      limitProcesses({ ...memoryOnly, enforce: 'best-effort' }, pid, () => []);
      limitProcesses({ ...memoryOnly, from: { memory: 'config caps' } }, pid, () => []);
      assert.deepEqual(dataLimit(pid), before);
      assert.equal(lowestNice(), os.getPriority());
    } finally {
      process.seteuid?.(euid);
    }
  });

  test('the peak of the largest is found', async () => {
    const { pids } = await family();
    const peak = peakOf([...pids, process.pid]) ?? 0;
    assert.ok(peak > 20 * 2 ** 20 && peak < 2 * process.resourceUsage().maxRSS * 1024, `${peak}`);
    assert.ok((peakOf(pids) ?? 0) < peak);
    assert.equal(peakOf([2 ** 22 - 7]), null);
  });
});

const mount =
  /^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 /m.exec(fs.readFileSync('/proc/self/mountinfo', 'utf8'))?.[1] ?? null;
const own = /^0::(.*)$/m.exec(fs.readFileSync('/proc/self/cgroup', 'utf8'))?.[1];
/** Some controller that cgroups right below the root have. Which does not matter: the rules are the same for all. */
const handed =
  mount === null ? [] : fs.readFileSync(`${mount}/cgroup.subtree_control`, 'utf8').split(/\s+/).filter(Boolean);
const whyNoController =
  process.getuid?.() !== 0
    ? 'needs root'
    : handed.length === 0
      ? 'no cgroup v2 controller is handed down by the root here'
      : false;

describe('controllers', () => {
  test('where the parent has none, the reason says which, and nothing is changed', () => {
    const parent = folder('unit', { 'cgroup.controllers': 'hugetlb\n', 'cgroup.type': 'domain\n' });
    const place: CgroupPlace = { mount: scratch, base: `${parent}/corral-1`, home: parent, reason: '' };
    const before = contents(parent);
    const { enabled, missing, home } = enableControllers(place);
    assert.deepEqual([enabled, home, [...missing.keys()]], [[], parent, ['memory', 'cpu', 'pids']]);
    for (const why of missing.values()) assert.match(why, /taken by cgroup v1 \(|Delegate=yes/);
    assert.deepEqual(contents(parent), before);
  });

  test('a cgroup with other processes keeps its controllers, and the daemon goes back to where it was', () => {
    const parent = folder('shared', {
      'cgroup.controllers': 'cpu memory pids\n',
      'cgroup.subtree_control': '',
      'cgroup.type': 'domain\n',
      'cgroup.procs': '17\n',
    });
    const place: CgroupPlace = { mount: scratch, base: `${parent}/corral-1`, home: `${parent}/elsewhere`, reason: '' };
    const { enabled, missing } = enableControllers(place);
    assert.deepEqual(enabled, []);
    assert.match(missing.get('memory') ?? '', /has processes beside the daemon \(such as pid 17\).*Delegate=yes/);
    assert.equal(fs.readFileSync(`${parent}/cgroup.subtree_control`, 'utf8'), '');
  });

  test('they are handed down level by level, to the leaves with limits only', () => {
    const base = folder('handing');
    handDown(base, ['memory', 'pids']);
    assert.equal(fs.readFileSync(`${base}/cgroup.subtree_control`, 'utf8'), '+memory +pids');
    assert.equal(fs.readFileSync(`${base}/limited/cgroup.subtree_control`, 'utf8'), '+memory +pids');
  });

  test('for real: the daemon moves below, leaves have the controller, others have not, and all is given back', {
    skip: whyNoController,
  }, () => {
    const unit = `${mount}/corral-limits-${process.pid}`;
    const base = `${unit}/corral-1`;
    const place: CgroupPlace = { mount: mount ?? '', base, home: unit, reason: '' };
    fs.mkdirSync(base, { recursive: true });
    fs.writeFileSync(`${unit}/cgroup.procs`, '0');
    try {
      const other = spawn('sleep', ['600'], { stdio: 'ignore' });
      children.push(other);
      const refused = enableControllers(place, handed);
      assert.deepEqual([refused.enabled, refused.home], [[], unit], 'another process is in the way');
      assert.match([...refused.missing.values()].join(), new RegExp(`pid ${other.pid}`));
      fs.writeFileSync(`${mount}${own}/cgroup.procs`, String(other.pid));

      const controllers = enableControllers(place, handed);
      assert.deepEqual([controllers.enabled, controllers.home], [handed, `${unit}/corrald`]);
      assert.deepEqual(alivePids(`${unit}/corrald`), [process.pid]);
      for (const folder of ['limited/1.1', 'plain/2.1']) fs.mkdirSync(`${base}/${folder}`, { recursive: true });
      const has = (leaf: string) => fs.readFileSync(`${base}/${leaf}/cgroup.controllers`, 'utf8').trim();
      assert.deepEqual([has('limited/1.1'), has('plain/2.1')], [handed.join(' '), '']);
      for (const folder of ['limited/1.1', 'plain/2.1']) {
        fs.writeFileSync(`${base}/${folder}/cgroup.procs`, '0');
        fs.writeFileSync(`${controllers.home}/cgroup.procs`, '0');
      }
      // A daemon that comes after this one in the same process finds itself below.
      assert.deepEqual(enableControllers({ ...place, home: controllers.home }, handed).enabled, handed);
      removeTree(base);
      returnControllers(place, controllers);
      assert.equal(fs.readFileSync(`${unit}/cgroup.subtree_control`, 'utf8').trim(), '');
      assert.ok(!fs.existsSync(`${unit}/corrald`));
      assert.deepEqual(lookAtControllers(place, handed).available, handed);
    } finally {
      fs.writeFileSync(`${mount}${own}/cgroup.procs`, '0');
      removeTree(unit);
    }
  });
});
