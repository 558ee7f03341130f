import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Call } from '../../src/daemon/ipc/backend.ts';
import { dispatch } from '../../src/daemon/ipc/dispatch.ts';
import { CorralError } from '../../src/protocol/index.ts';

/** What `get` is answered where looking the job up fails, and what the log is told of it. */
async function getThatFails(error: Error) {
  const job = () => {
    throw error;
  };
  const call = { backend: { supervisor: { job } }, signal: new AbortController().signal } as unknown as Call;
  const session = { hasSaidHello: true, calls: 0, requestBytes: 0 };
  const logged: unknown[] = [];
  const request = { jsonrpc: '2.0', id: 1, method: 'get', params: { jobId: 1 } };
  const answer = await dispatch(request, 10, session, call, (what) => logged.push(what));
  return { code: answer.error?.data?.code, message: answer.error?.message, logged };
}

describe('a failure', () => {
  for (const code of ['JOB_NOT_FOUND', 'STORE_FAILED'] as const) {
    test(`with a code that the method, or every method, can have is the answer, and no defect: ${code}`, async () => {
      const { logged, ...answer } = await getThatFails(new CorralError(code, 'Do this.'));
      assert.deepEqual(answer, { code, message: 'Do this.' });
      assert.deepEqual(logged, []);
    });
  }

  test('with a code that clients are not told of is the answer, and logged as a defect', async () => {
    const error = new CorralError('QUEUE_FULL', 'Do this.');
    assert.deepEqual(await getThatFails(error), { code: 'QUEUE_FULL', message: 'Do this.', logged: [error] });
  });

  test('that nobody foresaw is INTERNAL, and logged', async () => {
    const error = new TypeError('x is not a function');
    const { code, logged } = await getThatFails(error);
    assert.deepEqual([code, logged], ['INTERNAL', [error]]);
  });
});
