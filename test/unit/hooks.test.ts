import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  beginAttempt,
  type Change,
  type GlobalHook,
  hookCalls,
  inQueue,
  type Job,
  justRunning,
  withPhase,
} from '../../src/daemon/core/index.ts';
import { type HookMoment, hookMoments, keptAttempts } from '../../src/protocol/index.ts';
import { instant, jobOf } from '../support/records.ts';

const everything: GlobalHook = { on: [...hookMoments], command: ['tell'], group: null, profile: null, name: null };

const queued = jobOf(1);
const starting = beginAttempt(queued, 'scan');
const running = withPhase(starting, justRunning);
const stopping = withPhase(running, { status: 'stopping', escalateAtMonoMs: 5, killed: false, unkillable: false });
const failed = withPhase(running, { status: 'failed', cause: 'exit', finishedWallMs: 9 });
/** As many attempts as are kept: the next one takes the oldest away. */
const often = Array.from({ length: keptAttempts }).reduce<Job>(
  (job) => ({ ...beginAttempt(job, 'scan'), phase: queued.phase }),
  queued,
);
const startingAgain = beginAttempt(often, 'scan');
const runningAgain = withPhase(startingAgain, justRunning);
const unstartedAgain = { ...startingAgain, attempts: startingAgain.attempts.slice(0, -1), phase: queued.phase };
const cancelled = withPhase(queued, { status: 'cancelled', cause: 'cancel', finishedWallMs: 9 });

const cases: { name: string; before: Job | null; after: Job; moment: HookMoment | null }[] = [
  { name: 'a job that is submitted', before: null, after: queued, moment: null },
  { name: 'one that is about to start', before: queued, after: starting, moment: null },
  { name: 'one that runs', before: starting, after: running, moment: 'running' },
  { name: 'one that is being stopped', before: running, after: stopping, moment: 'stopping' },
  { name: 'one that is killed while it is being stopped', before: stopping, after: { ...stopping }, moment: null },
  { name: 'one that waits for its retry', before: running, after: inQueue(running, instant(0)), moment: 'retrying' },
  { name: 'one that found no room on the disk', before: starting, after: queued, moment: null },
  {
    name: 'one that waits for its retry, after as many as are kept',
    before: runningAgain,
    after: inQueue(runningAgain, instant(0)),
    moment: 'retrying',
  },
  { name: 'such a one that found no room on the disk', before: startingAgain, after: unstartedAgain, moment: null },
  { name: 'one that failed', before: stopping, after: failed, moment: 'failed' },
  { name: 'one that was cancelled in its queue', before: queued, after: cancelled, moment: 'cancelled' },
  { name: 'one that a client runs again', before: failed, after: inQueue(failed, instant(0)), moment: null },
];

describe('the moment', () => {
  for (const { name, before, after, moment } of cases)
    test(`of ${name} is ${moment ?? 'none'}`, () => {
      const calls = hookCalls([{ kind: 'job', before, after }], [everything]);
      assert.deepEqual(
        calls.map((call) => [call.moment, call.job]),
        moment === null ? [] : [[moment, after]],
      );
    });
});

test('hooks that name a group, profile or name are for jobs that have it; the job’s own come first', () => {
  const own = { on: ['failed' as const], command: ['own'] };
  const job = jobOf(1, { profile: 'batch', name: 'nightly', hooks: [own, { ...own, on: ['completed'] }] });
  const begun = withPhase(beginAttempt(job, 'scan'), justRunning);
  const change: Change = {
    kind: 'job',
    before: begun,
    after: withPhase(begun, { status: 'failed', cause: 'exit', finishedWallMs: 9 }),
  };
  const hooks: GlobalHook[] = [
    { ...everything, command: ['this group'], group: 'default' },
    { ...everything, command: ['another group'], group: 'other' },
    { ...everything, command: ['this profile and name'], profile: 'batch', name: 'nightly' },
    { ...everything, command: ['this profile, another name'], profile: 'batch', name: 'daily' },
    { ...everything, command: ['another moment'], on: ['running'] },
  ];
  assert.deepEqual(
    hookCalls([change], hooks).map(({ hook, from }) => [from, ...hook.command]),
    [
      ['job', 'own'],
      ['config', 'this group'],
      ['config', 'this profile and name'],
    ],
  );
});
