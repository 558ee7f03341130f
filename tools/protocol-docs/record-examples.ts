/**
 * Records the examples of docs/protocol.md: asks a daemon of its own, and writes down what was said. Needed again when a
 * method is added, or answers with other things than before.
 *
 *     npm run docs:record && npm run docs
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { encodeFrame, methods } from '../../src/protocol/index.ts';

const examplesFile = fileURLToPath(new URL('examples.json', import.meta.url));
const daemonProgram = fileURLToPath(new URL('../../src/daemon/main.ts', import.meta.url));

interface Step {
  readonly method: keyof typeof methods;
  readonly params: unknown;
  /** Where the example is not the method's own. */
  readonly name?: string;
  /** Only there to make the next step say something of interest. */
  readonly isSilent?: boolean;
}

const env = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' };
const cwd = '/home/ann';
const scope = '4f6d1c0a9b3e4d7f8a2b5c6d7e8f9012';

/** In a fresh daemon, so the ids are known beforehand. */
const steps: readonly Step[] = [
  {
    method: 'submit',
    params: {
      job: {
        command: ['/bin/sh', '-c', 'echo working; exit 3'],
        env,
        cwd: '/tmp',
        maxRuntimeMs: 600_000,
        idempotencyKey: '0b0e4b1c-9d5c-4b52-8f0a-1c5c2f9b9f6e',
      },
    },
  },
  { method: 'wait', params: { jobIds: [1], holdMs: 60_000 } },
  { method: 'get', params: { jobId: 1 } },
  { method: 'logs', params: { jobId: 1, offset: 0, holdMs: 60_000 } },
  {
    method: 'submitBatch',
    params: {
      defaults: { env, cwd: '/tmp' },
      jobs: [
        { command: ['/bin/sh', '-c', 'echo ready; exec sleep 60'], name: 'server' },
        { command: ['make', 'test'], name: 'tests', killGraceMs: null },
      ],
    },
  },
  { method: 'logs', params: { jobId: 2, holdMs: 10_000 }, isSilent: true },
  { method: 'progress', params: { jobId: 2, attempt: 1, percent: 40, message: 'half done' } },
  { method: 'result', params: { jobId: 2, attempt: 1, value: { rows: 7 } } },
  { method: 'stuck.list', params: { noProgressForMs: 1 } },
  {
    method: 'settle',
    params: { job: { command: ['make', 'test'], env, cwd: '/tmp', profile: 'batch', ttlMs: null } },
  },
  { method: 'list', params: { statuses: ['running', 'stopping'], order: 'newest', limit: 1 } },
  { method: 'select', params: { group: 'default', name: 'test*' } },
  { method: 'usage', params: { jobIds: [2], processes: true } },
  { method: 'heartbeat', params: { jobIds: [1, 2] } },
  { method: 'signal', params: { jobIds: [1, 2], signal: 'SIGCONT' } },
  { method: 'pause', params: { jobIds: [1, 2] } },
  { method: 'resume', params: { jobIds: [2] } },
  { method: 'cancel', params: { jobIds: [2, 99] } },
  { method: 'wait', params: { jobIds: [2] }, isSilent: true },
  { method: 'remove', params: { jobIds: [2] } },
  {
    method: 'submit',
    params: { job: { command: ['/bin/sh', '-c', 'echo ready; exec sleep 60'], env, cwd: '/tmp' } },
    isSilent: true,
  },
  { method: 'logs', params: { jobId: 4, holdMs: 10_000 }, isSilent: true },
  { method: 'stuck.reset', params: { noProgressForMs: 1 } },
  { method: 'events', params: { after: 0, jobId: 1 } },
  { method: 'group.add', params: { name: 'deploy', mode: 'manual', rate: 0.5 } },
  {
    method: 'submit',
    params: { job: { command: ['/bin/true'], env, cwd: '/tmp', group: 'deploy' } },
    isSilent: true,
  },
  { method: 'group.runPending', params: { name: 'deploy' } },
  { method: 'wait', params: { jobIds: [5] }, isSilent: true },
  { method: 'group.list', params: {} },
  { method: 'group.set', params: { name: 'default', parallel: 4 } },
  { method: 'group.pause', params: { name: 'default' } },
  { method: 'group.resume', params: { name: 'default' } },
  { method: 'group.remove', params: { name: 'deploy' } },
  {
    method: 'submit',
    params: { job: { command: ['make', 'all'], env, cwd: '/tmp', delayMs: 3_600_000 } },
    isSilent: true,
  },
  { method: 'edit', params: { jobId: 6, edit: { priority: 9, env: { set: { LANG: 'C' } }, delayMs: 60_000 } } },
  { method: 'move', params: { jobIds: [6, 99], group: 'default' } },
  { method: 'retry', params: { jobIds: [1, 6] } },
  { method: 'scope.open', params: { scope, name: 'load test' } },
  {
    method: 'submitBatch',
    params: {
      defaults: { env, cwd: '/tmp', scope },
      jobs: [{ command: ['sleep', '60'] }, { command: ['sleep', '60'], delayMs: 3_600_000 }],
    },
    isSilent: true,
  },
  { method: 'scope.close', params: { scope, holdMs: 60_000 } },
  { method: 'scope.report', params: { scope } },
  { method: 'daemon.status', params: {} },
  { method: 'get', params: { jobId: 99 }, name: 'error' },
  { method: 'hello', params: { protocols: [7] }, name: 'mismatch' },
];

/** Frames as they come, one after another. */
async function* framesFrom(socket: net.Socket): AsyncGenerator<{ data: unknown }> {
  let text = '';
  for await (const chunk of socket.setEncoding('utf8')) {
    const parts = (text + chunk).split('\f');
    text = parts.pop() ?? '';
    for (const part of parts) yield JSON.parse(part);
  }
}

async function record(socketPath: string): Promise<Record<string, unknown>> {
  const socket = net.connect(socketPath);
  const frames = framesFrom(socket);
  const next = async () => (await frames.next()).value?.data;
  const examples: Record<string, unknown> = {};
  let id = 0;
  async function ask({ method, params, name = method, isSilent = false }: Step): Promise<void> {
    id += 1;
    const request = { jsonrpc: '2.0', id, method, params };
    socket.write(encodeFrame('rpc', request));
    const answer = await next();
    if (!isSilent) examples[name] = { request, answer };
  }
  await ask({ method: 'hello', params: { protocols: [1], client: 'my-client 1.0' } });
  for (const step of steps) await ask(step);
  const known = new Set([...Object.keys(examples), 'daemon.stop']);
  for (const method of Object.keys(methods) as (keyof typeof methods)[])
    if (!known.has(method)) await ask({ method, params: {} });
  socket.write('this is no frame\f');
  examples.malformed = { answer: await next() };
  await ask({ method: 'daemon.stop', params: {} });
  examples.stopping = { answer: await next() };
  return examples;
}

async function main(): Promise<void> {
  const dir = fs.mkdtempSync(`${os.tmpdir()}/corral-docs-`);
  const paths = { CORRAL_STATE_DIR: `${dir}/state`, CORRAL_RUNTIME_DIR: `${dir}/run` };
  const daemon = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', daemonProgram], {
    env: { PATH: env.PATH, HOME: dir, ...paths, CORRAL_BACKGROUND: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(daemon, 'exit');
  try {
    await once(daemon.stdout, 'data'); // Its line that it is ready.
    const examples = await record(`${paths.CORRAL_RUNTIME_DIR}/corral.sock`);
    await exit;
    const text = JSON.stringify(examples, null, 2)
      .replaceAll(paths.CORRAL_STATE_DIR, `${cwd}/.local/state/corral`)
      .replaceAll(paths.CORRAL_RUNTIME_DIR, '/run/user/1000/corral');
    fs.writeFileSync(examplesFile, `${text}\n`);
  } finally {
    daemon.kill('SIGKILL');
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

await main();
