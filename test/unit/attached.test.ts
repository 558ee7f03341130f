import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { stayAttached } from '../../src/client/cli/attached.ts';
import { type Client, CorralError } from '../../src/client/index.ts';

/** A daemon that shows no output, and ends no job. */
function silentClient(cancelled: number[] = []): Client {
  const forever = new Promise<never>(() => undefined);
  const client = {
    logs: async function* () {
      yield await forever;
    },
    wait: () => forever,
    cancel: async (jobId: number) => cancelled.push(jobId),
  };
  return client as unknown as Client;
}

/** What is said on stderr; signal handlers that the code under test adds are gone after the test. */
function listen(t: TestContext): string[] {
  const said: string[] = [];
  t.mock.method(process.stderr, 'write', (text: string) => said.push(text));
  const holdsTheLoop = setInterval(() => undefined, 1_000);
  t.after(() => {
    clearInterval(holdsTheLoop);
    for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) process.removeAllListeners(signal);
  });
  return said;
}

const options = { whenUnwritable: 'cancel' } as const;

test('a hangup before the submit is answered waits for the answer, which names the job', async (t) => {
  const said = listen(t);
  const submit = Promise.withResolvers<{ id: number; splitOutput: boolean }>();
  const code = stayAttached(silentClient(), () => submit.promise, options);
  process.emit('SIGHUP');
  submit.resolve({ id: 7, splitOutput: false });
  assert.equal(await code, 129);
  assert.deepEqual(said, ['corral: the terminal went away; job 7 goes on. Come back: corral attach 7\n']);
});

test('a hangup before a submit that is not answered in time says that nobody knows', async (t) => {
  const said = listen(t);
  const code = stayAttached(silentClient(), () => new Promise(() => undefined), options);
  process.emit('SIGHUP');
  assert.equal(await code, 129);
  assert.deepEqual(said, [
    'corral: the terminal went away before the daemon answered. See whether it took the job: corral ls --all\n',
  ]);
});

test('a hangup before a submit that is refused is the refusal', async (t) => {
  listen(t);
  const submit = Promise.withResolvers<never>();
  const code = stayAttached(silentClient(), () => submit.promise, options);
  process.emit('SIGHUP');
  submit.reject(new CorralError('QUEUE_FULL', 'full'));
  await assert.rejects(code, { code: 'QUEUE_FULL' });
});

test('an interruption that came first is carried out, and the hangup does not say that the job goes on', async (t) => {
  const said = listen(t);
  const cancelled: number[] = [];
  const submit = Promise.withResolvers<{ id: number; splitOutput: boolean }>();
  const code = stayAttached(silentClient(cancelled), () => submit.promise, options);
  process.emit('SIGINT');
  process.emit('SIGHUP');
  submit.resolve({ id: 7, splitOutput: false });
  assert.equal(await code, 129);
  assert.deepEqual(cancelled, [7]);
  assert.equal(said.at(-1), 'corral: the terminal went away while job 7 was being cancelled. See: corral show 7\n');
});
