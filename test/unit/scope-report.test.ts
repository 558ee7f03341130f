import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whatIsLeft } from '../../src/client/scope.ts';
import type { ScopeReport } from '../../src/protocol/index.ts';

const clean: ScopeReport = {
  scope: 'of-this-test',
  name: null,
  status: 'closed',
  end: 'closed',
  openedAt: '',
  closedAt: '',
  jobs: 9,
  ended: 4,
  cleaned: 5,
  failed: 0,
  errors: [],
  processesLeft: 0,
};

test('what a scope leaves behind is said with its reasons, and nothing where nothing is', () => {
  assert.equal(whatIsLeft(clean), null);
  const errors = [{ jobId: 1, code: 'JOB_UNKILLABLE', message: 'It hangs.' }];
  assert.equal(
    whatIsLeft({ ...clean, failed: 1, errors, processesLeft: 2 }),
    'Scope of-this-test is not empty: 1 job and 2 processes are left. It hangs.',
  );
  assert.match(whatIsLeft({ ...clean, processesLeft: 3 }) ?? '', /0 jobs and 3 processes are left/);
});
