import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assessHealth, type VitalFacts } from '../../src/daemon/core/index.ts';
import { type HealthReasonCode, healthReasons, healthSchema } from '../../src/protocol/index.ts';

const well: VitalFacts = {
  storeTrouble: null,
  unwrittenChanges: 0,
  pausedFor: null,
  configError: null,
  configUnwatched: null,
  unenforcedCaps: [],
  guardianPid: 7,
  load: {
    queued: 2,
    active: 1,
    slots: 4,
    groups: [{ name: 'default', queued: 2, active: 1, slots: 4 }],
    oldestQueued: { jobId: 2, sinceMs: 10 },
    longestRunning: { jobId: 1, sinceMs: 20 },
  },
  startsPerMinute: 3,
  endsPerMinute: 2,
  stalledQueues: [],
  stalledLaunches: [],
  stuckJobs: [],
  unkillableJobs: [],
  leftBehind: 0,
  retriesHeldBack: 0,
  hooks: { failures: 0, lastFailure: null },
  loopLagMs: 1_000,
  samplerLagMs: 5_000,
  storeLatencyMs: { last: 0.4, max: 1_000 },
  outputBytes: 5,
  outputLimitBytes: 4,
  outputBeyondMs: 5_000,
  diskSilentMs: 5_000,
  diskFreeBytes: 1_000,
  diskMinFreeBytes: 10,
  openFds: 90,
  maxFds: 100,
};

/** Reasons that a client finds, because there is no daemon that could. */
const foundByClients: readonly HealthReasonCode[] = ['DAEMON_UNREACHABLE', 'DAEMON_SILENT'];

const cases: readonly { code: HealthReasonCode; facts: Partial<VitalFacts>; says: RegExp }[] = [
  { code: 'STORE_FAILING', facts: { storeTrouble: 'No.', unwrittenChanges: 3 }, says: /^No\. 3 changes wait\.$/ },
  { code: 'DISK_LOW', facts: { pausedFor: 'The disk is full.' }, says: /^The disk is full\.$/ },
  {
    code: 'QUEUE_STALLED',
    facts: { stalledQueues: [{ group: 'night', jobId: 8, sinceMonoMs: 0 }] },
    says: /^Group "night" has a slot for job 8, which is ready, and does not start it\.$/,
  },
  { code: 'GUARDIAN_LOST', facts: { guardianPid: null }, says: /no guardian/ },
  { code: 'CONFIG_INVALID', facts: { configError: 'c.toml:2: what?' }, says: /^c\.toml:2/ },
  { code: 'CONFIG_UNWATCHED', facts: { configUnwatched: 'c.toml cannot be watched.' }, says: /^c\.toml cannot/ },
  { code: 'CAPS_UNENFORCED', facts: { unenforcedCaps: ['No CPUs.', 'No pids.'] }, says: /^No CPUs\. No pids\.$/ },
  { code: 'LAUNCH_STALLED', facts: { stalledLaunches: [4, 5] }, says: /^The launch of job 4, 5 does not answer\.$/ },
  {
    code: 'UNKILLABLE_JOBS',
    facts: { unkillableJobs: Array.from({ length: 22 }, (_, index) => index + 1) },
    says: /all of job 1, 2, .*, 20 and 2 more\.$/,
  },
  { code: 'STUCK_JOBS', facts: { stuckJobs: [3] }, says: /^No progress any more from job 3\.$/ },
  { code: 'LEFT_BEHIND', facts: { leftBehind: 2 }, says: /^2 processes/ },
  { code: 'RETRY_STORM', facts: { retriesHeldBack: 9 }, says: /^9 retries wait/ },
  {
    code: 'HOOKS_FAILING',
    facts: { hooks: { failures: 2, lastFailure: 'exit 1' } },
    says: /^2 hooks failed within the last hour; the last of them: exit 1\.$/,
  },
  { code: 'LOOP_LAG', facts: { loopLagMs: 1_001 }, says: /did not react for 1\.0s/ },
  { code: 'SAMPLER_LATE', facts: { samplerLagMs: 5_001 }, says: /looked at 5\.0s late/ },
  { code: 'STORE_SLOW', facts: { storeLatencyMs: { last: 3, max: 1_200 } }, says: /^A commit took 1\.2s within/ },
  { code: 'OUTPUT_FULL', facts: { outputBeyondMs: 5_001 }, says: /takes 5 B, and may take 4 B\.$/ },
  { code: 'DISK_SILENT', facts: { diskSilentMs: 5_100 }, says: /has not answered for 5\.1s\.$/ },
  { code: 'DESCRIPTORS_LOW', facts: { openFds: 91 }, says: /^91 of at most 100/ },
];

describe('health', () => {
  test('is ok at the edge of every limit, and has every figure that its schema has', () => {
    const health = assessHealth(well);
    assert.deepEqual([health.status, health.reasons], ['ok', []]);
    assert.deepEqual(Object.keys(health.checks).sort(), Object.keys(healthSchema.shape.checks.shape).sort());
    healthSchema.parse(health);
  });

  for (const { code, facts, says } of cases) {
    test(`says ${code}, and no more`, () => {
      const health = assessHealth({ ...well, ...facts });
      assert.deepEqual(
        health.reasons.map((reason) => reason.code),
        [code],
      );
      assert.match(health.reasons[0]?.message ?? '', says);
      assert.equal(health.status, healthReasons[code].level);
      healthSchema.parse(health);
    });
  }

  test('has a case for every reason', () => {
    const known = [...foundByClients, ...cases.map(({ code }) => code)];
    assert.deepEqual(known.sort(), Object.keys(healthReasons).sort());
  });

  test('output is never beyond a limit that is turned off', () => {
    assert.equal(assessHealth({ ...well, outputLimitBytes: null, outputBeyondMs: 9_999 }).status, 'ok');
  });
});
