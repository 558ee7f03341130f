/** G11: delays and start deadlines hold whatever the wall clock does, for however long, and across restarts. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  beginAttempt,
  definitionFrom,
  endedJob,
  type Instant,
  inQueue,
  isReady,
  type Job,
  newJob,
  type QueuedPhase,
  waitedEnough,
  withAttempt,
} from '../../src/daemon/core/index.ts';
import type { JobSpec } from '../../src/protocol/index.ts';

const dayMs = 86_400_000;
const wallMs = 1_800_000_000_000;

/** So long after the submit, with the wall clock set forward by `jumpMs` meanwhile. */
const after = (
  passedMs: number,
  { jumpMs = 0, bootId = 'b' as string | undefined, monoMs = 5_000 + passedMs } = {},
): Instant => ({
  monoMs,
  wallMs: wallMs + passedMs + jumpMs,
  steadyWallMs: wallMs + passedMs,
  unitRandom: 0.5,
  ...(bootId === undefined ? {} : { bootId }),
});

function submitted(spec: Partial<JobSpec>): Job {
  return newJob(1, definitionFrom({ command: ['true'], env: {}, cwd: '/', ...spec }), after(0));
}

function phaseOf(job: Job): QueuedPhase {
  assert.equal(job.phase.status, 'queued');
  return job.phase as QueuedPhase;
}

/** In how long the job is looked at, and by when it must have started. */
function times(job: Job, now: Instant): { readyInMs: number | null; startsWithinMs: number | null } {
  const { readyAtMonoMs, startByMonoMs } = phaseOf(job);
  const inMs = (at: number | null) => (at === null ? null : at - now.monoMs);
  return { readyInMs: inMs(readyAtMonoMs), startsWithinMs: inMs(startByMonoMs) };
}

const restarts: {
  name: string;
  spec: Partial<JobSpec>;
  passedMs: number;
  clock?: Parameters<typeof after>[1];
  readyInMs: number | null;
  startsWithinMs: number | null;
}[] = [
  {
    name: 'a restart leaves a delay what is left of it',
    spec: { delayMs: 1_000 },
    passedMs: 400,
    readyInMs: 600,
    startsWithinMs: null,
  },
  {
    name: 'a delay that is over is over',
    spec: { delayMs: 1_000 },
    passedMs: 1_000,
    readyInMs: null,
    startsWithinMs: null,
  },
  {
    name: 'a wall clock that was set forward by a day starts no delayed job early',
    spec: { delayMs: 10_000 },
    passedMs: 400,
    clock: { jumpMs: dayMs },
    readyInMs: 9_600,
    startsWithinMs: null,
  },
  {
    name: 'a wall clock that was set back by a day makes no delay longer',
    spec: { delayMs: 10_000 },
    passedMs: 400,
    clock: { jumpMs: -dayMs },
    readyInMs: 9_600,
    startsWithinMs: null,
  },
  {
    name: 'after a boot only the wall clock tells; one that was set back counts as one that stood still',
    spec: { delayMs: 10_000 },
    passedMs: 400,
    clock: { jumpMs: -dayMs, bootId: 'another', monoMs: 7 },
    readyInMs: 10_000,
    startsWithinMs: null,
  },
  {
    name: 'a boot leaves a delay what is left of it by the wall clock',
    spec: { delayMs: 10_000 },
    passedMs: 4_000,
    clock: { bootId: 'another', monoMs: 7 },
    readyInMs: 6_000,
    startsWithinMs: null,
  },
  {
    name: 'a delay beyond 2^31 ms is kept',
    spec: { delayMs: 60 * dayMs },
    passedMs: dayMs,
    readyInMs: 59 * dayMs,
    startsWithinMs: null,
  },
  {
    name: 'a start deadline goes on where it was',
    spec: { startDeadlineMs: 1_000 },
    passedMs: 400,
    readyInMs: null,
    startsWithinMs: 600,
  },
  {
    name: 'a wall clock that was set forward by a day is past no start deadline',
    spec: { startDeadlineMs: 1_000 },
    passedMs: 400,
    clock: { jumpMs: dayMs },
    readyInMs: null,
    startsWithinMs: 600,
  },
  {
    name: 'a start deadline that passed while there was no daemon has passed',
    spec: { startDeadlineMs: 1_000 },
    passedMs: 5_000,
    readyInMs: null,
    startsWithinMs: 0,
  },
  {
    name: 'a start deadline is counted from the end of the delay',
    spec: { delayMs: 10_000, startDeadlineMs: 1_000 },
    passedMs: 4_000,
    readyInMs: 6_000,
    startsWithinMs: 7_000,
  },
];

describe('what a restart makes of a waiting job', () => {
  for (const { name, spec, passedMs, clock, readyInMs, startsWithinMs } of restarts) {
    test(name, () => {
      const now = after(passedMs, clock);
      assert.deepEqual(times(inQueue(submitted(spec), now), now), { readyInMs, startsWithinMs });
    });
  }

  test('control: without the clock of the boot, a wall clock that was set forward would start it', () => {
    const { queue, ...job } = submitted({ delayMs: 10_000 });
    const { entry, ...known } = queue;
    assert.ok(entry, 'the record has it');
    const now = after(400, { jumpMs: dayMs });
    assert.deepEqual(times(inQueue({ ...job, queue: known }, now), now), { readyInMs: null, startsWithinMs: null });
  });

  test('a job that its daemon lost waits anew, not from its first entry on', () => {
    const lost = withAttempt(beginAttempt(submitted({ onSupervisorLost: 'retry', startDeadlineMs: 1_000 }), 'scan'), {
      cause: 'supervisor-lost',
    });
    const now = after(dayMs);
    const again = endedJob(lost, now);
    assert.deepEqual(times(again, now), { readyInMs: null, startsWithinMs: 1_000 });
    const later = after(dayMs + 300, { jumpMs: dayMs });
    assert.deepEqual(times(inQueue(again, later), later), { readyInMs: null, startsWithinMs: 700 });
  });
});

describe('a delay while the daemon lives', () => {
  test('is over when its time has passed on the clock that nobody sets', () => {
    const job = submitted({ delayMs: 1_000, startDeadlineMs: 50 });
    assert.deepEqual(times(job, after(0)), { readyInMs: 1_000, startsWithinMs: 1_050 });
    for (const jumpMs of [-dayMs, 0, dayMs]) {
      const now = after(1_000, { jumpMs });
      const due = waitedEnough(job, now);
      assert.ok(isReady(due));
      assert.deepEqual(times(due, now), { readyInMs: null, startsWithinMs: 50 });
    }
  });
});

describe('a time of the wall clock', () => {
  const at = (inMs: number): Partial<JobSpec> => ({ startAt: new Date(wallMs + inMs).toISOString() });

  test('is looked at every minute, since the clock may be set and the machine may sleep', () => {
    const job = submitted(at(dayMs));
    assert.deepEqual(times(job, after(0)), { readyInMs: 60_000, startsWithinMs: null });
    const looked = waitedEnough(job, after(60_000));
    assert.deepEqual(times(looked, after(60_000)), { readyInMs: 60_000, startsWithinMs: null });
    const almost = waitedEnough(job, after(dayMs - 10));
    assert.deepEqual(times(almost, after(dayMs - 10)), { readyInMs: 10, startsWithinMs: null });
    assert.ok(isReady(waitedEnough(job, after(dayMs))));
  });

  test('has come when the wall clock says so, by being set too; the start deadline is then only beginning', () => {
    const job = submitted({ ...at(dayMs), startDeadlineMs: 1_000 });
    const now = after(60_000, { jumpMs: 3 * dayMs });
    const due = waitedEnough(job, now);
    assert.ok(isReady(due));
    assert.deepEqual(times(due, now), { readyInMs: null, startsWithinMs: 1_000 });
  });

  test('is waited for anew after a clock that was set back', () => {
    const job = submitted(at(10));
    const now = after(10, { jumpMs: -dayMs });
    assert.deepEqual(times(waitedEnough(job, now), now), { readyInMs: 60_000, startsWithinMs: null });
  });

  test('that came while there was no daemon lets the job start, and counts for its start deadline', () => {
    const job = submitted({ ...at(1_000), startDeadlineMs: 5_000 });
    const soon = after(3_000);
    assert.deepEqual(times(inQueue(job, soon), soon), { readyInMs: null, startsWithinMs: 3_000 });
    const late = after(dayMs);
    assert.deepEqual(times(inQueue(job, late), late), { readyInMs: null, startsWithinMs: 0 });
    const jumped = after(3_000, { jumpMs: dayMs });
    assert.deepEqual(times(inQueue(job, jumped), jumped), { readyInMs: null, startsWithinMs: 2_000 });
  });

  test('that is over is no reason to wait', () => {
    assert.ok(isReady(submitted(at(-dayMs))));
  });
});
