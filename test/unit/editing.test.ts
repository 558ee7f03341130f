import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  apply,
  builtInDefaults,
  type Change,
  decide,
  definitionFrom,
  type Effect,
  type Event,
  emptyState,
  type Job,
  type JobDefaults,
  type Profile,
  schedule,
  viewOf,
} from '../../src/daemon/core/index.ts';
import type { JobEdit, JobSpec } from '../../src/protocol/index.ts';
import { ableHost, defaultsOnAbleHost, groupOf, instant } from '../support/records.ts';

const dayMs = 86_400_000;
const at = (monoMs: number, jumpMs = 0) => ({ ...instant(monoMs, 1_800_000_000_000 + monoMs + jumpMs), bootId: 'b' });

/** Jobs 1, 2, … that wait, in groups without slots. */
class Waiting {
  readonly state = emptyState();
  readonly changes: Change[] = [];

  constructor(specs: readonly Partial<JobSpec>[], defaults: JobDefaults = defaultsOnAbleHost) {
    for (const group of [groupOf('default', { parallel: 0 }), groupOf('night', { parallel: 0, maxQueued: 2 })])
      apply(this.state, [{ kind: 'group', before: null, after: group }]);
    const definitions = specs.map((spec) =>
      definitionFrom({ command: ['true'], env: { A: '1', B: '2' }, cwd: '/', ...spec }, defaults),
    );
    this.do({ type: 'submit', request: 1, definitions, known: new Map(), ended: new Map() });
  }

  do(event: Event, now = at(0)): Effect[] {
    const { changes, effects } = decide(this.state, event, now);
    apply(this.state, changes);
    this.changes.push(...changes);
    return [...effects];
  }

  edit(edit: JobEdit, { now = at(0), defaults = defaultsOnAbleHost, jobId = 1 } = {}): Effect[] {
    return this.do({ type: 'edit', request: 1, jobIds: [jobId], ended: new Map(), edit, defaults }, now);
  }

  job(jobId = 1): Job {
    return this.state.live.get(jobId) as Job;
  }

  startOrder(): number[] {
    for (const { group } of [...this.state.groups.values()])
      apply(this.state, [{ kind: 'group', before: group, after: { ...group, parallel: 99 } }]);
    const { effects } = schedule(this.state, 'scan', at(0));
    return effects.flatMap((effect) => (effect.type === 'launch' ? [effect.job.id] : []));
  }
}

function codesOf(effects: readonly Effect[]): unknown[] {
  return effects.map((effect) => (effect.type === 'refuse' ? effect.code : effect.type));
}

describe('edit', () => {
  const edits: { name: string; edit: JobEdit; becomes: Partial<Job['definition']>; changed: string[] }[] = [
    { name: 'gives a name', edit: { name: 'n' }, becomes: { name: 'n' }, changed: ['name'] },
    { name: 'takes a name away', edit: { name: null }, becomes: { name: null }, changed: ['name'] },
    {
      name: 'replaces the command',
      edit: { command: ['a', 'b'] },
      becomes: { command: ['a', 'b'] },
      changed: ['command'],
    },
    { name: 'replaces the folder', edit: { cwd: '/tmp' }, becomes: { cwd: '/tmp' }, changed: ['cwd'] },
    {
      name: 'sets and unsets single variables',
      edit: { env: { set: { C: '3', A: '0' }, unset: ['B', 'Z'] } },
      becomes: { env: { A: '0', C: '3' } },
      changed: ['env.C', 'env.A', 'env.B', 'env.Z'],
    },
    {
      name: 'takes all limits on resources away',
      edit: { resources: null },
      becomes: { resources: null },
      changed: ['resources'],
    },
    {
      name: 'replaces the limits on resources by what the host can enforce of the new ones',
      edit: { resources: { memoryBytes: 2 ** 26 } },
      becomes: {
        resources: { memoryBytes: 2 ** 26, enforcedBy: { memory: 'cgroup' }, from: { memory: 'job' }, shortfalls: [] },
      },
      changed: ['resources'],
    },
  ];
  for (const { name, edit, becomes, changed } of edits) {
    test(`${name}, leaves all else, and is written into the events`, () => {
      const world = new Waiting([{ name: 'old', resources: { pids: 3 } }]);
      const before = world.job();
      assert.deepEqual(codesOf(world.edit(edit)), ['reply']);
      assert.deepEqual(world.job(), { ...before, definition: { ...before.definition, ...becomes } });
      const note = world.changes.at(-1);
      assert.deepEqual(note?.kind === 'note' && [note.note, note.detail], ['edited', { changed }]);
    });
  }

  test('of the priority puts the job where it belongs, up and down', () => {
    const world = new Waiting([{}, { priority: 1 }, {}, { priority: 5 }]);
    world.edit({ priority: 2 }, { jobId: 3 });
    world.edit({ priority: -1 }, { jobId: 4 });
    assert.deepEqual(world.startOrder(), [3, 2, 1, 4]);
  });

  test('of policies settles those that it names, and keeps where the others came from', () => {
    const world = new Waiting([{ profile: 'stream', ttlMs: 5 }]);
    const before = world.job().definition;
    world.edit({ maxRuntimeMs: 7, idle: { checks: 2 }, retry: { limit: 3 } });
    const { policies, sources, profile } = world.job().definition;
    assert.equal(profile, 'stream');
    assert.deepEqual(policies, {
      ...before.policies,
      maxRuntimeMs: 7,
      idle: { ...before.policies.idle, checks: 2 },
      retry: { ...before.policies.retry, limit: 3 },
    });
    assert.deepEqual(sources, { ...before.sources, maxRuntimeMs: 'job', 'idle.checks': 'job', 'retry.limit': 'job' });
  });

  test('can take the idle policy away, and give one to a job that had none', () => {
    const world = new Waiting([{ profile: 'service' }]);
    world.edit({ idle: { checks: 2 } });
    const { idle } = world.job().definition.policies;
    assert.deepEqual([idle?.checks, idle?.intervalMs], [2, 60_000]);
    assert.deepEqual(
      [world.job().definition.sources['idle.checks'], world.job().definition.sources['idle.intervalMs']],
      ['job', 'profile default'],
    );
    world.edit({ idle: null });
    const { policies, sources } = world.job().definition;
    assert.equal(policies.idle, null);
    assert.deepEqual(
      Object.entries(sources).filter(([name]) => name.startsWith('idle')),
      [['idle', 'job']],
    );
  });

  test('keeps within the caps, and touches nothing that it does not name though the configuration has changed', () => {
    const world = new Waiting([{ ttlMs: 1_000 }]);
    const defaults: JobDefaults = {
      ...builtInDefaults,
      jobs: { killGraceMs: 1 },
      caps: { maxRuntimeMs: 60, ttlMs: 10 },
    };
    world.edit({ maxRuntimeMs: 600 }, { defaults });
    const { policies, sources } = world.job().definition;
    assert.deepEqual([policies.maxRuntimeMs, sources.maxRuntimeMs], [60, 'config caps']);
    assert.deepEqual([policies.ttlMs, sources.ttlMs], [1_000, 'job']);
    assert.deepEqual([policies.killGraceMs, sources.killGraceMs], [5_000, 'profile default']);
  });

  test('that turns idle off, or makes it void, keeps within a cap on it', () => {
    const world = new Waiting([{ profile: 'stream' }, { profile: 'service' }]);
    const defaults: JobDefaults = { ...builtInDefaults, caps: { idleMs: 60_000 } };
    const idleOf = (id: number) => {
      const { policies, sources } = world.job(id).definition;
      return [policies.idle?.cpuMillicores, policies.idle?.checks, policies.idle?.dryRun, sources['idle.checks']];
    };
    world.edit({ ttlMs: 5_000 }, { jobId: 2, defaults });
    assert.equal(world.job(2).definition.policies.idle, null, 'it is not named');
    world.edit({ idle: { checks: 9, cpuMillicores: 0, dryRun: true } }, { defaults });
    assert.deepEqual(idleOf(1), [4, 6, false, 'config caps']);
    for (const jobId of [1, 2]) world.edit({ idle: null }, { jobId, defaults });
    assert.deepEqual(idleOf(1), [4, 6, false, 'config caps']);
    assert.deepEqual(idleOf(2), [4, 1, false, 'config caps']);
    for (const jobId of [1, 2]) world.edit({ idle: null }, { jobId });
    assert.deepEqual(
      [world.job(1), world.job(2)].map(({ definition }) => definition.policies.idle),
      [null, null],
    );
  });

  test('of what a job may use keeps within the caps', () => {
    const world = new Waiting([{}]);
    const defaults: JobDefaults = {
      ...builtInDefaults,
      hostLimits: ableHost,
      caps: { resources: { pids: 10, cpus: 2 } },
    };
    const limitsOf = () => viewOf(world.job(), { files: [], bytes: 0 }, null).resources;
    world.edit({ priority: 1 }, { defaults });
    assert.equal(limitsOf(), null, 'it is not named');
    world.edit({ resources: { pids: 50, cpus: 1 } }, { defaults });
    const enforcedBy = { pids: 'cgroup', cpus: 'cgroup' };
    assert.deepEqual(limitsOf(), { pids: 10, cpus: 1, enforcedBy, from: { pids: 'config caps', cpus: 'job' } });
    world.edit({ resources: null }, { defaults });
    assert.deepEqual(limitsOf(), {
      pids: 10,
      cpus: 2,
      enforcedBy,
      from: { pids: 'config caps', cpus: 'config caps' },
    });
  });

  test('of the delay counts from the edit, whatever the wall clock has done since', () => {
    const world = new Waiting([{ delayMs: dayMs, startDeadlineMs: 50 }]);
    world.edit({ delayMs: 1_000 }, { now: at(500, dayMs) });
    const { phase, queue } = world.job();
    assert.deepEqual(phase, { status: 'queued', readyAtMonoMs: 1_500, startByMonoMs: 1_550, waitsFor: [] });
    assert.equal(queue.notBefore?.wallMs, at(1_500, dayMs).wallMs);
    world.edit({ delayMs: null }, { now: at(600) });
    assert.deepEqual(world.startOrder(), [1]);
  });

  test('of the deadline to start counts from the submit', () => {
    const world = new Waiting([{}]);
    world.edit({ startDeadlineMs: 1_000 }, { now: at(400) });
    const { phase } = world.job();
    assert.equal(phase.status === 'queued' && phase.startByMonoMs, 1_000);
    world.do({ type: 'tick' }, at(1_000));
    assert.equal(world.state.live.size, 0);
  });

  test('leaves a job in line behind those that it waits for', () => {
    const world = new Waiting([{}]);
    const definitions = [definitionFrom({ command: ['true'], env: {}, cwd: '/', after: [1] })];
    world.do({ type: 'submit', request: 1, definitions, known: new Map(), ended: new Map() });
    world.edit({ priority: 9, delayMs: null }, { jobId: 2 });
    assert.deepEqual(world.startOrder(), [1]);
  });

  test('is refused once the job has started, and of one that is not there', () => {
    const started = new Waiting([{}]);
    apply(started.state, [{ kind: 'group', before: groupOf('default'), after: groupOf('default', { parallel: 9 }) }]);
    apply(started.state, schedule(started.state, 'scan', at(0)).changes);
    assert.deepEqual(codesOf(started.edit({ priority: 1 })), ['JOB_NOT_QUEUED']);
    assert.deepEqual(codesOf(started.edit({ priority: 1 }, { jobId: 7 })), ['JOB_NOT_FOUND']);
  });

  test('cannot make an environment larger than a submit could', () => {
    const world = new Waiting([{}]);
    assert.deepEqual(codesOf(world.edit({ env: { set: { BIG: 'x'.repeat(1024 * 1024) } } })), ['INVALID_PARAMS']);
  });

  test('needs the profile only where it asks for what the job has never had', () => {
    const mine: Profile = { name: 'mine', base: 'default', settings: { idle: null }, configured: {} };
    const profiles = new Map([...builtInDefaults.profiles, ['mine', mine] as const]);
    const world = new Waiting([{ profile: 'mine' }], { ...builtInDefaults, profiles });
    assert.deepEqual(codesOf(world.edit({ maxRuntimeMs: 5 })), ['reply']);
    assert.deepEqual(codesOf(world.edit({ idle: { checks: 3 } })), ['PROFILE_NOT_FOUND']);
  });
});

describe('move', () => {
  const move = (jobIds: number[], group: string): Event => ({
    type: 'move',
    request: 1,
    jobIds,
    ended: new Map(),
    group,
  });
  const report = (effects: readonly Effect[]) =>
    effects.flatMap((effect) =>
      effect.type === 'reply'
        ? (effect.result as { errors: { jobId: number; code: string }[] }).errors.map(
            ({ jobId, code }) => `${code} ${jobId}`,
          )
        : effect.type === 'refuse'
          ? [effect.code]
          : [],
    );
  const queued = ({ state }: Waiting) => [...state.groups.values()].map((group) => group.queued);

  test('takes jobs from one queue to the other, as far as there is room, with priority and age', () => {
    const world = new Waiting([{}, { priority: 1 }, {}, { group: 'night' }]);
    assert.deepEqual(report(world.do(move([2, 3, 9, 4], 'night'))), ['QUEUE_FULL 3', 'JOB_NOT_FOUND 9']);
    assert.deepEqual(queued(world), [2, 2]);
    assert.deepEqual(world.startOrder(), [1, 3, 2, 4]);
  });

  test('to a group that is not there changes nothing', () => {
    const world = new Waiting([{}]);
    assert.deepEqual(report(world.do(move([1], 'nope'))), ['GROUP_NOT_FOUND']);
    assert.deepEqual(queued(world), [1, 0]);
  });

  test('there and back leaves no entry behind that would start it twice', () => {
    const world = new Waiting([{}, {}]);
    world.do(move([1], 'night'));
    world.do(move([1], 'default'));
    world.do(move([2], 'night'));
    assert.deepEqual(world.startOrder(), [1, 2]);
    assert.deepEqual(queued(world), [1, 1]);
  });

  test('that could not be committed leaves the job where it was', () => {
    const world = new Waiting([{}]);
    const { changes } = decide(world.state, move([1], 'night'), at(0));
    const undo = apply(world.state, changes);
    assert.deepEqual(queued(world), [0, 1]);
    undo();
    assert.deepEqual(queued(world), [1, 0]);
    assert.deepEqual(world.startOrder(), [1]);
  });
});
