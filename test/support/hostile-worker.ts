/** Hostile clients in a thread of their own, so that they and the client that is measured do not wait for each other. */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Chance, everyPlace, faultOf, type HostileInput, hostileInputs } from './hostile-frames.ts';
import { frameOf, RawClient } from './raw-client.ts';

export interface Attack {
  readonly socket: string;
  readonly seed: number;
  /** Frames that are answered one by one; everything else comes on top. */
  readonly frames: number;
  /** Connections at once, and pauses between their frames: what a host's worth of broken clients does, not a busy loop. */
  readonly lanes: number;
  readonly pauseMs: number;
  /** Frames of 2 MB, each tenth of 20 MB. */
  readonly large: number;
  /** Connections at once that hold half a frame, some of which read nothing. */
  readonly crowd: number;
}

export interface AttackReport {
  readonly sent: number;
  /** How often each code came. */
  readonly codes: Record<string, number>;
  /** What should not have come, or not have happened. */
  readonly faults: readonly string[];
}

/** Nothing takes the daemon this long. */
const patienceMs = 20_000;

export async function attack(options: Attack): Promise<AttackReport> {
  const worker = new Worker(new URL(import.meta.url), { workerData: options });
  const report = once(worker, 'message');
  const exit = once(worker, 'exit');
  const [message] = (await Promise.race([report, exit])) as [AttackReport | number];
  if (typeof message === 'number') throw new Error(`the hostile clients' thread ended with ${message}`);
  await exit;
  return message;
}

async function run(options: Attack): Promise<AttackReport> {
  const chance = new Chance(options.seed);
  const codes: Record<string, number> = {};
  const faults: string[] = [];
  let sent = 0;

  const fault = (what: string) => void (faults.length < 20 && faults.push(what));
  const count = (code: string) => {
    codes[code] = (codes[code] ?? 0) + 1;
  };

  function* inputs(): Generator<HostileInput> {
    yield* everyPlace();
    yield* hostileInputs(chance);
  }
  const source = inputs();

  async function next(client: RawClient) {
    return Promise.race([client.next(), delay(patienceMs, 'no answer' as const, { ref: false })]);
  }

  /** One connection whose frames are all answered, one after the other. */
  async function lane(): Promise<void> {
    const client = await new RawClient(options.socket).hello();
    while (sent < options.frames) {
      sent += 1;
      const input = source.next().value as HostileInput;
      for (const piece of inPieces(input.bytes, chance)) client.write(piece);
      for (let answers = 0; answers < input.answers; answers += 1) {
        const answer = await next(client);
        if (answer === null || answer === 'no answer') return fault(`${input.name}: ${answer ?? 'closed'}`);
        count(answer.error?.data?.code ?? 'result');
        const wrong = faultOf(answer, input);
        if (wrong !== null) fault(`${input.name}: ${wrong}`);
      }
      if (options.pauseMs > 0) await delay(options.pauseMs);
    }
    client.socket.destroy();
  }

  /** A frame beyond the limit: refused with its code, or cut off, and the connection is over. */
  async function tooLarge(bytes: number): Promise<void> {
    sent += 1;
    const client = await new RawClient(options.socket).hello();
    client.write(Buffer.alloc(bytes, 'x'));
    const answer = await next(client);
    if (answer === 'no answer') return fault(`${bytes} bytes: no answer`);
    count(answer?.error?.data.code ?? 'closed');
    if (answer !== null && answer.error?.data.code !== 'FRAME_TOO_LARGE')
      fault(`${bytes} bytes: ${JSON.stringify(answer)}`);
    await client.closed;
  }

  /** Many connections at once. Each begins with rubbish and holds half a frame to the end; some ask much and read nothing. */
  async function crowd(): Promise<void> {
    const clients = await Promise.all(
      Array.from({ length: options.crowd }, () => new RawClient(options.socket).hello()),
    );
    for (const [index, client] of clients.entries()) {
      sent += 1;
      client.write(index % 3 === 0 ? '\f' : '{"type":"rpc"}\f');
      const answer = await next(client);
      if (answer === null || answer === 'no answer') fault(`connection ${index}: ${answer ?? 'closed'}`);
      else count(answer.error?.data.code ?? 'result');
      client.write(frameOf(1, 'get', { jobId: 'half' }).slice(0, 20 + (index % 40)));
      if (index % 10 === 0) {
        client.socket.pause();
        client.write('\f'.repeat(2_000));
      }
    }
    await others.promise; // They stay until the others are done.
    for (const client of clients) client.socket.destroy();
  }

  const others = Promise.withResolvers<void>();
  const crowded = crowd();
  await Promise.all([
    ...Array.from({ length: options.lanes }, lane),
    ...[0, 1, 2, 3].map(async (first) => {
      for (let n = first; n < options.large; n += 4) await tooLarge(n % 10 === 0 ? 20_000_000 : 2_000_000);
    }),
  ]);
  others.resolve();
  await crowded;
  return { sent, codes, faults };
}

/** Mostly in one piece, as clients do; some in several, and the short ones byte by byte. */
function inPieces(bytes: Buffer, chance: Chance): Buffer[] {
  switch (chance.integer(10)) {
    case 0:
      return bytes.length > 300 ? [bytes] : [...bytes].map((byte) => Buffer.of(byte));
    case 1: {
      const at = chance.integer(bytes.length);
      return [bytes.subarray(0, at), bytes.subarray(at)];
    }
    default:
      return [bytes];
  }
}

if (!isMainThread && parentPort !== null) parentPort.postMessage(await run(workerData as Attack));
