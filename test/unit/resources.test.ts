import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type AtLimits,
  apply,
  beginAttempt,
  builtInDefaults,
  type Change,
  decide,
  definitionFrom,
  type Event,
  emptyState,
  type HostLimits,
  type Job,
  justRunning,
  newJob,
  noUsage,
  revived,
  settleResources,
  unenforcedCaps,
  viewOf,
  withPhase,
} from '../../src/daemon/core/index.ts';
import type { ResourcesSpec } from '../../src/protocol/index.ts';
import { ableHost, groupOf, instant } from '../support/records.ts';

const full = ableHost;
const none = { by: 'not enforced', why: 'there is no controller' } as const;
const bare: HostLimits = {
  how: { memory: { by: 'each process', why: 'there is no controller' }, cpus: none, pids: none, nice: full.how.nice },
  lowestNice: 5,
};
const spec = { command: ['true'], env: {}, cwd: '/' };
function limited(id: number, resources: ResourcesSpec, hostLimits = full): Job {
  return newJob(id, definitionFrom({ ...spec, resources }, { ...builtInDefaults, hostLimits }), instant(0));
}

describe('limits are settled by what the host can enforce', () => {
  const cases: { asked: ResourcesSpec; host: HostLimits; enforcedBy: object | RegExp }[] = [
    {
      asked: { memoryBytes: 2 ** 26, cpus: 1.5, pids: 9 },
      host: full,
      enforcedBy: { memory: 'cgroup', cpus: 'cgroup', pids: 'cgroup' },
    },
    { asked: { memoryBytes: 2 ** 26 }, host: bare, enforcedBy: { memory: 'each process' } },
    { asked: { nice: 5 }, host: bare, enforcedBy: { nice: 'each process' } },
    { asked: { nice: -5 }, host: full, enforcedBy: { nice: 'each process' } },
    {
      asked: { nice: 4 },
      host: bare,
      enforcedBy: /^Nice 4 cannot be enforced on this host: the daemon may give no value below 5;/,
    },
    {
      asked: { cpus: 1 },
      host: bare,
      enforcedBy:
        /^The limit of 1 CPU cannot be enforced on this host: there is no controller\. To have the job all the same/,
    },
    { asked: { pids: 3 }, host: bare, enforcedBy: /^The limit of 3 processes cannot be enforced/ },
    { asked: { pids: 3, enforce: 'best-effort' }, host: bare, enforcedBy: { pids: 'not enforced' } },
    { asked: {}, host: bare, enforcedBy: {} },
  ];
  for (const { asked, host, enforcedBy } of cases) {
    test(`${JSON.stringify(asked)} ${host === full ? 'with' : 'without'} controllers`, () => {
      if (!(enforcedBy instanceof RegExp))
        return assert.deepEqual(settleResources(asked, host)?.enforcedBy, enforcedBy);
      assert.throws(
        () => settleResources(asked, host),
        (error: Error & { code?: string }) => error.code === 'LIMIT_UNENFORCEABLE' && enforcedBy.test(error.message),
      );
    });
  }

  test('a host that nobody has looked at promises nothing', () => {
    assert.throws(() => definitionFrom({ ...spec, resources: { nice: 1 } }), { code: 'LIMIT_UNENFORCEABLE' });
  });

  test('what is not enforced is a warning of the job, and its view says so', () => {
    const job = limited(1, { pids: 3, nice: 7, enforce: 'best-effort' }, bare);
    const view = viewOf(job, { files: [], bytes: 0 }, null);
    assert.deepEqual(view.warnings, [
      'The limit of 3 processes cannot be enforced on this host: there is no controller.',
    ]);
    assert.deepEqual(view.resources, {
      pids: 3,
      nice: 7,
      enforce: 'best-effort',
      enforcedBy: { pids: 'not enforced', nice: 'each process' },
      from: { pids: 'job', nice: 'job' },
    });
  });

  test('a queued job goes by what the next daemon can enforce', () => {
    const [weaker] = revived([limited(1, { pids: 3 })], instant(0), bare);
    assert.deepEqual(weaker?.definition.resources?.enforcedBy, { pids: 'not enforced' });
    assert.equal(weaker?.warnings.length, 1);
    const [again] = revived([weaker ?? assert.fail()], instant(0), full);
    assert.deepEqual([again?.definition.resources?.enforcedBy, again?.warnings], [{ pids: 'cgroup' }, []]);
  });
});

describe('caps on what a job may use', () => {
  const caps = { memoryBytes: 2 ** 27, cpus: 2, pids: 10 };
  const settled = (asked: ResourcesSpec | undefined, host: HostLimits) => {
    const resources = settleResources(asked, host, caps);
    if (resources === null) return null;
    const { memoryBytes, cpus, pids, from } = resources;
    return { memoryBytes, cpus, pids, from };
  };
  const ofCaps = { memory: 'config caps', cpus: 'config caps', pids: 'config caps' };

  test('hold for a job that asks for nothing, and for one that asks for more', () => {
    assert.deepEqual(settled(undefined, full), { ...caps, from: ofCaps });
    assert.deepEqual(settled({ memoryBytes: 2 ** 30, cpus: 2.5, pids: 11 }, full), { ...caps, from: ofCaps });
  });

  test('leave alone what is less', () => {
    const asked = { memoryBytes: 2 ** 26, cpus: 2, nice: 3 };
    assert.deepEqual(settled(asked, full), {
      memoryBytes: 2 ** 26,
      cpus: 2,
      pids: 10,
      from: { memory: 'job', cpus: 'job', pids: 'config caps', nice: 'job' },
    });
  });

  test('that the host cannot enforce are for nobody who does not ask for such a limit, and are named', () => {
    assert.deepEqual(settled(undefined, bare), {
      memoryBytes: 2 ** 27,
      cpus: undefined,
      pids: undefined,
      from: { memory: 'config caps' },
    });
    assert.equal(settleResources(undefined, bare, { cpus: 2 }), null);
    assert.throws(
      () => settled({ cpus: 3 }, bare),
      /^CorralError: The limit of 2 CPUs cannot be enforced on this host/,
    );
    assert.deepEqual(unenforcedCaps(caps, bare), [
      'The limit of 2 CPUs that [caps] sets cannot be enforced on this host: there is no controller.',
      'The limit of 10 processes that [caps] sets cannot be enforced on this host: there is no controller.',
    ]);
    assert.deepEqual([unenforcedCaps(caps, full), unenforcedCaps(undefined, bare)], [[], []]);
  });

  test('are no reason not to run a job where the next daemon cannot enforce them; what the job asked for is', () => {
    const defaults = { ...builtInDefaults, hostLimits: full, caps: { resources: caps } };
    const [asking, silent] = [{ ...spec, resources: { pids: 3 } }, spec].map((one, index) =>
      newJob(index + 1, definitionFrom(one, defaults), instant(0)),
    );
    const [strict, other] = revived([asking ?? assert.fail(), silent ?? assert.fail()], instant(0), bare);
    assert.deepEqual(strict?.definition.resources?.shortfalls, [
      'The limit of 3 processes cannot be enforced on this host: there is no controller.',
    ]);
    assert.deepEqual([other?.definition.resources?.shortfalls, other?.warnings], [[], []]);
    const view = viewOf(other ?? assert.fail(), { files: [], bytes: 0 }, null).resources;
    assert.deepEqual(view?.enforcedBy, { memory: 'each process', cpus: 'not enforced', pids: 'not enforced' });
    const [again] = revived([other ?? assert.fail()], instant(0), full);
    assert.deepEqual(again?.definition.resources?.enforcedBy.pids, 'cgroup');
  });

  test('of an earlier daemon there are none: what its records have, the jobs asked for', () => {
    const job = limited(1, { pids: 3 });
    const { from: _, ...earlier } = job.definition.resources ?? assert.fail();
    const kept = { ...job, definition: { ...job.definition, resources: earlier } };
    assert.deepEqual(viewOf(kept, { files: [], bytes: 0 }, null).resources?.from, { pids: 'job' });
    const [weaker] = revived([kept], instant(0), bare);
    assert.equal(weaker?.warnings.length, 1);
  });
});

describe('what an attempt did at its limits', () => {
  const calm: AtLimits = { oomKills: 0, oomAtOwnLimit: false, refusedForks: 0, peakMemoryBytes: 2 ** 26 };
  const killed = { code: null, signal: 'SIGKILL' };

  /** The job after its leader has exited, and the notes that came with that. */
  function after(
    resources: ResourcesSpec,
    event: Partial<Extract<Event, { type: 'leaderExited' }>>,
    cause: 'cancel' | null = null,
  ) {
    const state = emptyState();
    const begun = beginAttempt(limited(1, resources), 'cgroup');
    const attempts = begun.attempts.map((attempt) => ({ ...attempt, cause }));
    const job = withPhase({ ...begun, attempts }, justRunning);
    apply(state, [
      { kind: 'group', before: null, after: groupOf('default') },
      { kind: 'job', before: null, after: job },
    ]);
    const exited = { type: 'leaderExited', jobId: 1, exit: killed, remaining: 0, usage: noUsage, ...event } as const;
    const { changes } = decide(state, exited, instant(5));
    const last = changes.findLast((change) => change.kind === 'job');
    const notes = changes.filter((change): change is Extract<Change, { kind: 'note' }> => change.kind === 'note');
    return { job: last?.after ?? assert.fail(), notes, attempt: last?.after.attempts.at(-1) };
  }

  test('a leader that was killed for want of memory ends for oom, with limit and peak', () => {
    const { job, attempt, notes } = after(
      { memoryBytes: 2 ** 26 },
      { atLimits: { ...calm, oomKills: 2, oomAtOwnLimit: true } },
    );
    assert.deepEqual([job.phase.status, attempt?.cause], ['failed', 'oom']);
    assert.equal(
      attempt?.message,
      '2 processes were ended for want of memory: its limit is 64 MiB, and its peak 64 MiB',
    );
    assert.deepEqual(notes, []);
  });

  test('where the host had no memory left, that is what is said', () => {
    const { attempt } = after({ memoryBytes: 2 ** 40 }, { atLimits: { ...calm, oomKills: 1 } });
    assert.equal(
      attempt?.message,
      'one process was ended for want of memory: the host, or what the daemon is in, had none left',
    );
  });

  test('control: a SIGKILL of somebody else stays a signal', () => {
    assert.equal(after({ memoryBytes: 2 ** 26 }, { atLimits: calm }).attempt?.cause, 'signal');
    assert.equal(after({ memoryBytes: 2 ** 26 }, { atLimits: null }).attempt?.cause, 'signal');
  });

  test('the first cause wins', () => {
    const { attempt } = after({ memoryBytes: 2 ** 26 }, { atLimits: { ...calm, oomKills: 1 } }, 'cancel');
    assert.equal(attempt?.cause, 'cancel');
  });

  test('a leader that lived on while another was killed has its own end, and a warning', () => {
    const exit = { code: 0, signal: null };
    const { job, attempt } = after(
      { memoryBytes: 2 ** 26 },
      { exit, atLimits: { ...calm, oomKills: 1, oomAtOwnLimit: true } },
    );
    assert.equal(attempt?.cause, 'exit');
    assert.match(job.warnings.join(), /one process was ended for want of memory/);
  });

  test('refused forks are a warning, and an event with their number', () => {
    const exit = { code: 0, signal: null };
    const { job, notes } = after({ pids: 10 }, { exit, atLimits: { ...calm, refusedForks: 12 } });
    const warning = 'fork was refused 12 times: the limit is 10 processes and threads';
    assert.deepEqual(job.warnings, [warning]);
    assert.deepEqual(
      notes.map(({ note, detail }) => [note, detail]),
      [['warning', { message: warning }]],
    );
  });
});
