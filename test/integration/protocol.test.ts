import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { test } from 'node:test';
import { CorralError, connect } from '../../src/client/index.ts';
import { errorTable, frameLimits } from '../../src/protocol/index.ts';
import { startDaemon } from '../support/daemon.ts';

const formFeed = '\f';

/** A client that speaks bytes. */
class RawClient {
  readonly socket: net.Socket;
  #text = '';
  readonly #frames: {
    type: string;
    data: { id: unknown; result?: unknown; error?: { code: number; message: string; data: { code: string } } };
  }[] = [];
  #wake = () => {};

  constructor(path: string) {
    this.socket = net.connect(path);
    this.socket.setEncoding('utf8');
    this.socket.on('data', (chunk) => {
      this.#text += chunk;
      const parts = this.#text.split(formFeed);
      this.#text = parts.pop() ?? '';
      this.#frames.push(...parts.map((part) => JSON.parse(part)));
      this.#wake();
    });
    this.socket.on('close', () => this.#wake());
    this.socket.on('error', () => {}); // The daemon may close while we write; what counts is what it said.
  }

  write(text: string): void {
    this.socket.write(text);
  }

  request(id: number | string, method: string, params: unknown = {}): void {
    this.write(JSON.stringify({ type: 'rpc', data: { jsonrpc: '2.0', id, method, params } }) + formFeed);
  }

  async next() {
    while (this.#frames.length === 0) {
      if (this.socket.destroyed) throw new Error('the daemon closed the connection without a word');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const frame = this.#frames.shift();
    assert.ok(frame);
    return frame.data;
  }
}

test('a connection begins with hello, which agrees on a version; what comes before it is refused', async (t) => {
  const { daemon } = await startDaemon(t);
  const raw = new RawClient(daemon.socket);
  t.after(() => raw.socket.destroy());
  raw.request(1, 'list');
  assert.equal((await raw.next()).error?.data.code, 'HELLO_REQUIRED');
  raw.request('two', 'hello', { protocols: [99] });
  const mismatch = await raw.next();
  assert.deepEqual(
    [mismatch.id, mismatch.error?.data.code, mismatch.error?.code],
    ['two', 'PROTOCOL_MISMATCH', errorTable.PROTOCOL_MISMATCH.rpc],
  );
  raw.request(3, 'hello', { protocols: [99, 1] });
  assert.equal(((await raw.next()).result as { protocol: number }).protocol, 1);
  raw.request(4, 'list');
  assert.deepEqual((await raw.next()).result, { jobs: [], nextCursor: null });
});

const rubbish: { name: string; bytes: string; code: string }[] = [
  { name: 'no JSON', bytes: 'GET / HTTP/1.1\r\n\r\n', code: 'PARSE_ERROR' },
  { name: 'an empty frame', bytes: '', code: 'PARSE_ERROR' },
  { name: 'a JSON array', bytes: '[]', code: 'PARSE_ERROR' },
  { name: 'another type', bytes: '{"type":"error","data":{}}', code: 'PARSE_ERROR' },
  { name: 'a prototype name as type', bytes: '{"type":"__proto__","data":{}}', code: 'PARSE_ERROR' },
  { name: 'no request', bytes: '{"type":"rpc","data":7}', code: 'INVALID_REQUEST' },
  {
    name: 'a request without an id',
    bytes: '{"type":"rpc","data":{"jsonrpc":"2.0","method":"list"}}',
    code: 'INVALID_REQUEST',
  },
  {
    name: 'an unknown method',
    bytes: '{"type":"rpc","data":{"jsonrpc":"2.0","id":1,"method":"nosuch"}}',
    code: 'METHOD_NOT_FOUND',
  },
  {
    name: 'a prototype name as method',
    bytes: '{"type":"rpc","data":{"jsonrpc":"2.0","id":1,"method":"constructor"}}',
    code: 'METHOD_NOT_FOUND',
  },
  {
    name: 'a wrong parameter',
    bytes: '{"type":"rpc","data":{"jsonrpc":"2.0","id":1,"method":"get","params":{"jobId":"x"}}}',
    code: 'INVALID_PARAMS',
  },
  {
    name: 'an unknown parameter',
    bytes: '{"type":"rpc","data":{"jsonrpc":"2.0","id":1,"method":"get","params":{"jobId":1,"x":1}}}',
    code: 'INVALID_PARAMS',
  },
];

test('G9: rubbish gets a coded answer, the connection goes on, and another client does not notice', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const raw = new RawClient(daemon.socket);
  t.after(() => raw.socket.destroy());
  raw.request(0, 'hello', { protocols: [1] });
  await raw.next();
  for (const { name, bytes, code } of rubbish) {
    raw.write(bytes + formFeed);
    assert.equal((await raw.next()).error?.data.code, code, name);
  }
  raw.request(9, 'group.list');
  assert.ok((await raw.next()).result);
  assert.equal((await client.status()).pid, daemon.pid);
});

test('G9: a frame beyond the limit, whole or half, is answered and ends the connection', async (t) => {
  const { daemon, client } = await startDaemon(t);
  for (const tail of [formFeed, '']) {
    const raw = new RawClient(daemon.socket);
    raw.write('x'.repeat(frameLimits.maxFrameBytes + 1) + tail);
    const { error } = await raw.next();
    assert.equal(error?.data.code, 'FRAME_TOO_LARGE');
    if (!raw.socket.closed) await once(raw.socket, 'close');
  }
  assert.equal((await client.status()).pid, daemon.pid);
});

test('a connection that closes gives up its waits', async (t) => {
  const { client } = await startDaemon(t);
  const { id } = await client.submit({ command: ['sleep', '60'] });
  const waiting = client.wait(id);
  client.close();
  await assert.rejects(waiting, (error) => error instanceof CorralError && error.code === 'CLIENT_CLOSED');
});

test('a submit with the same idempotency key makes one job; with another command it is refused', async (t) => {
  const { client } = await startDaemon(t);
  const once = await client.submit({ command: ['true'], idempotencyKey: 'k' });
  await client.wait(once.id);
  assert.deepEqual(
    [once, await client.submit({ command: ['true'], idempotencyKey: 'k' })],
    [
      { id: 1, created: true },
      { id: 1, created: false },
    ],
  );
  await assert.rejects(
    client.submit({ command: ['false'], idempotencyKey: 'k' }),
    (error) => error instanceof CorralError && error.code === 'IDEMPOTENCY_MISMATCH',
  );
});

test('a removal and a submit with its idempotency key at the same moment: the submit makes a job of its own', async (t) => {
  const { client } = await startDaemon(t);
  const { id } = await client.submit({ command: ['true'], idempotencyKey: 'k' });
  await client.wait(id);
  const [, again] = await Promise.all([client.remove(id), client.submit({ command: ['true'], idempotencyKey: 'k' })]);
  assert.deepEqual(again, { id: 2, created: true });
  assert.equal((await client.get(2)).idempotencyKey, 'k');
});

test('higher priority starts first, then age, also over a restart', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 0 });
  const submitted = await client.submitBatch(
    [0, 5, 0, 9, 5].map((priority) => ({ shell: `echo $CORRAL_JOB_ID >>${daemon.dir}/order`, priority })),
  );
  await daemon.kill();
  await daemon.start();
  await client.setGroup('default', { parallel: 1 });
  await client.wait(
    submitted.map(({ id }) => id),
    { timeoutMs: 10_000 },
  );
  assert.equal(fs.readFileSync(`${daemon.dir}/order`, 'utf8'), '4\n2\n5\n1\n3\n');
});

test('a library client is closed by await using, and refuses calls afterwards', async (t) => {
  const { daemon } = await startDaemon(t);
  let kept: Awaited<ReturnType<typeof connect>>;
  {
    await using client = await connect({ socket: daemon.socket });
    kept = client;
    assert.equal((await client.status()).pid, daemon.pid);
  }
  await assert.rejects(kept.status(), (error) => error instanceof CorralError && error.code === 'CLIENT_CLOSED');
});
