import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { maxLogChunkBytes } from '../../src/protocol/index.ts';
import { outcomeOf } from '../support/cli.ts';
import { type DaemonUnderTest, startDaemon } from '../support/daemon.ts';

/** The clients are run as docs/protocol.md prints them. */
const docs = fs.readFileSync(fileURLToPath(new URL('../../docs/protocol.md', import.meta.url)), 'utf8');
const pythonClient = printed('python');
const shellClient = printed('bash');

function printed(language: string): string {
  const [, code] = new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 's').exec(docs) ?? [];
  if (code === undefined) throw new Error(`docs/protocol.md prints no client in ${language}`);
  return code;
}

/** Where a program is, whatever the environment of the test's children will be. */
function find(program: string): string | null {
  const { stdout } = spawnSync('/bin/sh', ['-c', `command -v ${program}`], { encoding: 'utf8' });
  return stdout.trim() || null;
}

/** A command that is a shim looks its version up in the home folder, which is another one in a test. */
const python = spawnSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).stdout?.trim();
const bash = find('bash');

test('the bytes of a frame are as printed', async (t) => {
  const { daemon } = await startDaemon(t);
  const frame = /^\{"type":"rpc".*␌$/m.exec(docs)?.[0] ?? '';
  const socket = net.connect(daemon.socket).setEncoding('utf8');
  t.after(() => socket.destroy());
  socket.write(frame.replace('␌', '\f'));
  const [answer] = await once(socket, 'data');
  assert.match(answer, /^\{"type":"rpc","data":\{"jsonrpc":"2\.0","id":1,"result":\{"protocol":1,.*\}\}\}\f$/);
});

/** A file that no text decoder leaves as it is, in more than one piece. */
function bytesFile(daemon: DaemonUnderTest, size: number): { file: string; bytes: Buffer } {
  const file = `${daemon.dir}/bytes`;
  const bytes = Buffer.concat([Buffer.from([0xff, 0x00, 0x0c, 0xc3, 0x28, 0x0a]), randomBytes(size)]);
  fs.writeFileSync(file, bytes);
  return { file, bytes };
}

interface Ended {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

async function ended(child: ChildProcess): Promise<Ended> {
  const stdout: Buffer[] = [];
  child.stdout?.on('data', (chunk) => stdout.push(chunk));
  const { code, stderr } = await outcomeOf(child);
  return { code, stdout: Buffer.concat(stdout), stderr };
}

/** Resolves when a child has printed a line, and leaves its output to others that read it. */
function said(child: ChildProcess, line: string): Promise<void> {
  let text = '';
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', (chunk) => {
      text += chunk;
      if (text.includes(`${line}\n`)) resolve();
    });
    child.on('close', () => reject(new Error(`the client ended without "${line}": ${text}`)));
  });
}

describe('the client in Python', { skip: !python && 'there is no python3 (apt-get install python3)' }, () => {
  /** Runs code that has the client as `client`, and returns what it prints as JSON. */
  function start(daemon: { dir: string; env: Record<string, string>; socket: string }, code: string): ChildProcess {
    fs.writeFileSync(`${daemon.dir}/corral_client.py`, pythonClient);
    const script = `import json, corral_client\nfrom corral_client import *\nclient = Client(${JSON.stringify(daemon.socket)}, patience=10)\n${code}`;
    return spawn(python ?? '', ['-B', '-c', script], { env: daemon.env, cwd: daemon.dir });
  }

  async function run(daemon: DaemonUnderTest, code: string): Promise<unknown> {
    const { code: exit, stdout, stderr } = await ended(start(daemon, code));
    assert.equal(exit, 0, stderr);
    return JSON.parse(String(stdout));
  }

  test('as a program: output goes through byte by byte, and the exit code is the job’s', async (t) => {
    const { daemon } = await startDaemon(t);
    const { file, bytes } = bytesFile(daemon, 700_000);
    fs.writeFileSync(`${daemon.dir}/corral_client.py`, pythonClient);
    const child = spawn(python ?? '', ['corral_client.py', 'sh', '-c', `cat ${file}; sleep 0.1; cat ${file}; exit 3`], {
      env: daemon.env,
      cwd: daemon.dir,
    });
    const { code, stdout, stderr } = await ended(child);
    assert.deepEqual([code, stderr], [3, '']);
    assert.ok(stdout.equals(Buffer.concat([bytes, bytes])));
  });

  test('submits, waits, reads output in pieces, and gives errors their codes', async (t) => {
    const { daemon } = await startDaemon(t);
    const { file, bytes } = bytesFile(daemon, 700_000);
    const seen = await run(
      daemon,
      `
def code_of(action):
    try:
        action()
    except CorralError as error:
        return error.code

job_id = client.submit(["cat", ${JSON.stringify(file)}], name="cat", idempotencyKey="k")
followed = sum(len(piece) for piece in client.logs(job_id))
slow = client.submit(["sleep", "60"])
print(json.dumps({
    "again": client.submit(["cat", ${JSON.stringify(file)}], idempotencyKey="k") == job_id,
    "job": client.wait(job_id)[0]["name"],
    "followed": followed,
    "pieces": [len(piece) for piece in client.logs(job_id, follow=False)],
    "codes": [
        code_of(lambda: client.call("get", {"jobId": 99})),
        code_of(lambda: client.call("nosuch", {})),
        code_of(lambda: client.call("hello", {"protocols": [9]})),
        code_of(lambda: client.wait(slow, timeout=0.1)),
        code_of(lambda: Client("/nowhere", patience=0.1).call("list", {})),
    ],
}))`,
    );
    assert.deepEqual(seen, {
      again: true,
      job: 'cat',
      followed: bytes.length,
      pieces: [maxLogChunkBytes, maxLogChunkBytes, bytes.length - 2 * maxLogChunkBytes],
      codes: ['JOB_NOT_FOUND', 'METHOD_NOT_FOUND', 'PROTOCOL_MISMATCH', 'WAIT_TIMEOUT', 'DAEMON_UNREACHABLE'],
    });
  });

  test('a daemon with which it shares no version is an error at once', async (t) => {
    const { daemon } = await startDaemon(t);
    const other = pythonClient.replace('"protocols": [1]', '"protocols": [9]');
    assert.notEqual(other, pythonClient);
    fs.writeFileSync(`${daemon.dir}/other.py`, other);
    const { code, stderr } = await ended(
      spawn(python ?? '', ['other.py', 'true'], { env: daemon.env, cwd: daemon.dir }),
    );
    assert.equal(code, 125);
    assert.match(stderr, /PROTOCOL_MISMATCH: .*the client offered 9/);
  });

  test('goes on when the daemon is killed and started again meanwhile', async (t) => {
    const { daemon, client } = await startDaemon(t);
    const child = start(
      daemon,
      `
job_id = client.submit(["sh", "-c", "echo attempt $CORRAL_ATTEMPT; [ $CORRAL_ATTEMPT = 2 ] || exec sleep 1000"], onSupervisorLost="retry")
print(next(client.logs(job_id)).decode(), end="", flush=True)
[job] = client.wait(job_id)
print(json.dumps([job["status"], job["attempt"], b"".join(client.logs(job_id)).decode(), client.submit(["true"])]))`,
    );
    const outcome = ended(child);
    await said(child, 'attempt 1');
    client.close();
    await daemon.kill();
    await daemon.start();
    const { code, stdout, stderr } = await outcome;
    assert.equal(code, 0, stderr);
    assert.equal(String(stdout), 'attempt 1\n["completed", 2, "attempt 2\\n", 2]\n');
  });

  test('after a lost connection it repeats what may be repeated, and nothing else', async (t) => {
    const { daemon } = await startDaemon(t);
    const asked: string[] = [];
    // Closes each connection at the first request that it has not heard before.
    const fake = net.createServer((socket) => {
      socket.setEncoding('utf8').on('error', () => socket.destroy());
      socket.on('data', (chunk) => {
        for (const part of String(chunk).split('\f').filter(Boolean)) {
          const { id, method } = JSON.parse(part).data;
          const isNew = method !== 'hello' && !asked.includes(method);
          asked.push(method);
          if (isNew) socket.destroy();
          else socket.write(`${JSON.stringify({ type: 'rpc', data: { jsonrpc: '2.0', id, result: {} } })}\f`);
        }
      });
    });
    t.after(() => fake.close());
    const socket = `${daemon.dir}/fake.sock`;
    await once(fake.listen(socket), 'listening');
    const child = start(
      { dir: daemon.dir, env: daemon.env, socket },
      `
client.call("list", {})
try:
    client.call("remove", {"jobIds": [1]})
except CorralError as error:
    print(error.code)
client.close()`,
    );
    const { code, stdout, stderr } = await ended(child);
    assert.deepEqual([code, String(stdout)], [0, 'CONNECTION_LOST\n'], stderr);
    assert.deepEqual(asked, ['hello', 'list', 'hello', 'list', 'remove']);
  });
});

/** What the shell client runs beside the one that carries its bytes. */
const shellTools = ['id', 'grep', 'sed', 'cat', 'mktemp', 'mkfifo', 'rm', 'base64', 'sleep', 'bash', 'sh'];

const carriers: { name: string; isMissing: boolean }[] = [
  { name: 'socat', isMissing: find('socat') === null },
  { name: 'nc', isMissing: find('nc') === null || !/-[A-Za-z]*U/.test(spawnSync('nc', ['-h']).stderr.toString()) },
];

describe('the client in shell', { skip: bash === null && 'there is no bash' }, () => {
  /** A PATH on which there is nothing but what is named. */
  function pathOf(dir: string, programs: readonly string[]): string {
    const bin = `${dir}/bin`;
    fs.mkdirSync(bin, { recursive: true });
    for (const program of programs) {
      const place = find(program);
      if (place !== null) fs.symlinkSync(place, `${bin}/${program}`);
    }
    return bin;
  }

  function start(t: TestContext, daemon: DaemonUnderTest, carrier: string, args: string[], script = shellClient) {
    const PATH = pathOf(daemon.dir, [...shellTools, carrier]);
    fs.writeFileSync(`${daemon.dir}/corral-client`, script);
    const child = spawn(bash ?? '', ['corral-client', ...args], {
      env: { ...daemon.env, PATH, TMPDIR: daemon.dir },
      cwd: daemon.dir,
    });
    t.after(() => child.kill());
    return child;
  }

  for (const { name, isMissing } of carriers) {
    describe(`with ${name}`, {
      skip: isMissing && `there is no ${name} (apt-get install socat netcat-openbsd)`,
    }, () => {
      test('output goes through byte by byte, and the exit code is the job’s', async (t) => {
        const { daemon } = await startDaemon(t);
        const { file, bytes } = bytesFile(daemon, 70_000);
        const { code, stdout, stderr } = await ended(
          start(t, daemon, name, ['sh', '-c', `cat ${file}; sleep 0.1; cat ${file}; exit 3`]),
        );
        assert.deepEqual([code, stderr], [3, '']);
        assert.ok(stdout.equals(Buffer.concat([bytes, bytes])));
        assert.deepEqual(
          fs.readdirSync(daemon.dir).filter((entry) => entry.startsWith('tmp.')),
          [],
        );
      });

      test('arguments arrive as they were given', async (t) => {
        const { daemon } = await startDaemon(t);
        const words = ['a"b', 'c\\d', 'new\nline', 'tab\tand\u0001', 'ü&€', '$x `y` "exitCode":7', ''];
        const { code, stdout, stderr } = await ended(
          start(t, daemon, name, ['bash', '-c', `printf '%s|' "$@"; exit 1`, 'x', ...words]),
        );
        assert.deepEqual([code, String(stdout), stderr], [1, words.map((word) => `${word}|`).join(''), '']);
      });

      test('errors are told with their codes', async (t) => {
        const { daemon } = await startDaemon(t);
        const refused = await ended(start(t, daemon, name, ['']));
        assert.equal(refused.code, 125);
        assert.match(refused.stderr, /^INVALID_PARAMS: params\.job\.command: command names no program/);
        const other = shellClient.replace('"protocols":[1]', '"protocols":[9]');
        assert.notEqual(other, shellClient);
        fs.rmSync(`${daemon.dir}/bin`, { recursive: true });
        const mismatch = await ended(start(t, daemon, name, ['true'], other));
        assert.equal(mismatch.code, 125);
        assert.match(mismatch.stderr, /^PROTOCOL_MISMATCH: .*the client offered 9/);
      });

      test('goes on when the daemon is killed and started again meanwhile', async (t) => {
        const { daemon, client } = await startDaemon(t);
        const child = start(t, daemon, name, ['sh', '-c', 'echo begun; exec sleep 1000']);
        const outcome = ended(child);
        await said(child, 'begun');
        client.close();
        await daemon.kill();
        await daemon.start();
        const { code, stdout, stderr } = await outcome;
        // The job was lost with the daemon, and that is what the restarted one says.
        assert.deepEqual([code, String(stdout), stderr], [125, 'begun\n', '']);
      });
    });
  }

  test('says what to install where there is neither', async (t) => {
    const { daemon } = await startDaemon(t);
    const { code, stderr } = await ended(start(t, daemon, 'true', ['true']));
    assert.deepEqual(
      [code, stderr],
      [125, 'Neither socat nor an nc with -U is here. Install one: apt-get install socat\n'],
    );
  });
});

const endings: { name: string; command: string[]; code: number; stderr: RegExp }[] = [
  { name: 'a signal', command: ['sh', '-c', 'kill -USR1 $$'], code: 138, stderr: /^$/ },
  { name: 'a signal without a name', command: ['sh', '-c', 'kill -40 $$'], code: 168, stderr: /^$/ },
  { name: 'no such program', command: ['no-such-program'], code: 127, stderr: /no-such-program: command not found/ },
];

const programs: { language: string; program: string | null | undefined; text: string; usage: number }[] = [
  { language: 'Python', program: python, text: pythonClient, usage: 2 },
  { language: 'shell', program: bash, text: shellClient, usage: 125 },
];

for (const { language, program, text, usage } of programs) {
  const skip = (!program && 'it is not here') || (language === 'shell' && !find('socat') && 'there is no socat');
  test(`the client in ${language} exits as a shell would, and says why where there is something to say`, {
    skip,
  }, async (t) => {
    const { daemon } = await startDaemon(t);
    const file = `${daemon.dir}/client`;
    fs.writeFileSync(file, text);
    const run = (words: string[]) =>
      ended(spawn(program ?? '', [file, ...words], { env: daemon.env, cwd: daemon.dir }));
    for (const { name, command, code, stderr } of endings) {
      const outcome = await run(command);
      assert.equal(outcome.code, code, `${name}: ${outcome.stderr}`);
      assert.match(outcome.stderr, stderr, name);
    }
    const bare = await run([]);
    assert.equal(bare.code, usage);
    assert.match(bare.stderr, /^Usage: .*client COMMAND \[ARG\.\.\.\]\n$/);
  });
}

test('the client in Python takes a reader that has seen enough without a traceback', {
  skip: !python && 'there is no python3',
}, async (t) => {
  const { daemon } = await startDaemon(t);
  fs.writeFileSync(`${daemon.dir}/client`, pythonClient);
  const child = spawn(python ?? '', ['client', 'seq', '1000000'], { env: daemon.env, cwd: daemon.dir });
  child.stdout.once('data', () => child.stdout.destroy());
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const [code] = await once(child, 'close');
  assert.deepEqual([code, stderr], [0, '']);
});
