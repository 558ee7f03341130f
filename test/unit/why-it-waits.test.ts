import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { queueNews, retryNews } from '../../src/client/cli/why-it-waits.ts';
import { viewOf } from '../../src/daemon/core/index.ts';
import type { AttemptView, JobView } from '../../src/protocol/index.ts';
import { jobOf } from '../support/records.ts';

/** Job 7, in its queue. */
function queued(fields: Partial<JobView> = {}): JobView {
  return { ...viewOf(jobOf(7), { files: [], bytes: 0 }, 'It is about to start.'), ...fields };
}

/** Job 7, whose attempt has failed, and which is run again at 60,000. */
function failed(end: Partial<AttemptView>, fields: Partial<JobView> = {}): JobView {
  const attempt = { attempt: 2, cause: 'exit', exitCode: 1, signal: null, ...end } as AttemptView;
  const notBefore = new Date(60_000).toISOString();
  const waitingFor = `It is run again no sooner than ${notBefore}.`;
  return queued({ attempts: [attempt], retries: 2, notBefore, waitingFor, ...fields });
}

describe('why a job waits in its queue', () => {
  const cases: { name: string; job: JobView; says: string | null }[] = [
    {
      name: 'is what the daemon says, with where to look',
      job: queued({ waitingFor: 'All 2 slots of group "default" are in use; 3 jobs are before it.' }),
      says: 'job 7 is queued: all 2 slots of group "default" are in use; 3 jobs are before it. See: corral show 7',
    },
    {
      name: 'is what the daemon says, where that names a command already',
      job: queued({ waitingFor: 'Group "default" is paused. Let it go on: corral group resume default' }),
      says: 'job 7 is queued: group "default" is paused. Let it go on: corral group resume default',
    },
    { name: 'is not told of one that has started', job: queued({ status: 'running', waitingFor: null }), says: null },
    { name: 'is not told of one that waits for its retry', job: failed({}), says: null },
    {
      name: 'is told of a retry whose time has come',
      job: failed({}, { notBefore: null, waitingFor: 'The slot of group "default" is in use.' }),
      says: 'job 7 is queued: the slot of group "default" is in use. See: corral show 7',
    },
    {
      name: 'is told of a retry that is paused',
      job: failed({}, { paused: true, waitingFor: 'It is paused. Let it go on: corral resume 7' }),
      says: 'job 7 is queued: it is paused. Let it go on: corral resume 7',
    },
  ];
  for (const { name, job, says } of cases) test(name, () => assert.equal(queueNews(job), says));
});

describe('when a job is run again', () => {
  const cases: { name: string; job: JobView; nowMs?: number; says: string | null }[] = [
    { name: 'after an exit', job: failed({}), says: 'job 7: attempt 2 failed (exit 1); the next is in 12s' },
    {
      name: 'after a signal',
      job: failed({ cause: 'signal', exitCode: null, signal: 'SIGSEGV' }),
      says: 'job 7: attempt 2 failed (SIGSEGV); the next is in 12s',
    },
    {
      name: 'after its time limit',
      job: failed({ cause: 'max-runtime' }),
      says: 'job 7: attempt 2 failed (max-runtime); the next is in 12s',
    },
    { name: 'is not told where it is soon', job: failed({}), nowMs: 59_001, says: null },
    { name: 'is not told where it is due', job: failed({}), nowMs: 61_000, says: null },
    { name: 'is not told of one that runs', job: failed({}, { status: 'running' }), says: null },
    { name: 'is not told of one that is paused', job: failed({}, { paused: true }), says: null },
    { name: 'is not told of one that was delayed', job: failed({}, { retries: 0, attempts: [] }), says: null },
  ];
  for (const { name, job, nowMs = 48_000, says } of cases) test(name, () => assert.equal(retryNews(job, nowMs), says));
});
