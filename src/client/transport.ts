import { setTimeout as delay } from 'node:timers/promises';
import { IPCModule } from 'node-ipc';
import {
  CorralError,
  createFrameParser,
  isErrno,
  type RpcRequest,
  responseSchema,
  stoppingEvent,
  toCorralError,
} from '../protocol/index.ts';

/** Pause before it is our turn to ask again. */
const crowdedMs = 20;

interface PendingCall {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: CorralError) => void;
  readonly timer: NodeJS.Timeout;
}

/** One connection to a daemon. It carries calls until it is closed, by either side; it is never opened again. */
export class Transport {
  readonly #ipc = new IPCModule();
  readonly #calls = new Map<number, PendingCall>();
  #nextId = 1;
  #isClosed = false;
  /** What the daemon said before it closed the connection, if it said why. */
  #farewell: CorralError | null = null;
  /** Whether the daemon told us that it stops in order. */
  daemonIsStopping = false;
  readonly #closed = Promise.withResolvers<void>();

  private constructor() {}

  /** Resolves when the connection has ended, by whichever side. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /**
   * More clients at once than the kernel lets wait for the daemon to accept them take turns.
   *
   * @throws CorralError `DAEMON_UNREACHABLE` where nobody answers on the socket, `CALL_TIMEOUT` where it is not our turn in time
   */
  static async open(socket: string, timeoutMs: number): Promise<Transport> {
    const untilMs = performance.now() + timeoutMs;
    for (;;) {
      try {
        return await Transport.#open(socket, Math.max(1, untilMs - performance.now()));
      } catch (error) {
        const isCrowded = error instanceof CorralError && isErrno(error.cause, 'EAGAIN');
        if (!isCrowded || performance.now() + crowdedMs > untilMs) throw error;
        await delay(crowdedMs);
      }
    }
  }

  static #open(socket: string, timeoutMs: number): Promise<Transport> {
    const transport = new Transport();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        transport.close();
        reject(
          new CorralError(
            'DAEMON_UNREACHABLE',
            `The daemon at ${socket} did not accept a connection within ${timeoutMs} ms.`,
          ),
        );
      }, timeoutMs);
      transport.#connect(socket, (error) => {
        clearTimeout(timer);
        if (error === null) resolve(transport);
        else reject(error);
      });
    });
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * @throws CorralError whatever the daemon answers with; `CALL_TIMEOUT` where it does not answer in time; `CONNECTION_LOST`
   * where it goes away meanwhile
   */
  call(method: string, params: unknown, timeoutMs: number): Promise<unknown> {
    if (this.#isClosed) return Promise.reject(this.#lost());
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#calls.delete(id);
        reject(new CorralError('CALL_TIMEOUT', `The daemon gave no answer to "${method}" within ${timeoutMs} ms.`));
      }, timeoutMs);
      this.#calls.set(id, { resolve, reject, timer });
      const request: RpcRequest = { jsonrpc: '2.0', id, method, params: params as Record<string, unknown> };
      this.#ipc.of.corral?.emit('rpc', request);
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#ended();
    this.#ipc.disconnect('corral');
  }

  #connect(socket: string, onOutcome: (error: CorralError | null) => void): void {
    const { config } = this.#ipc;
    config.silent = true;
    config.stopRetrying = true; // Whether to connect again is decided above this.
    config.parser = createFrameParser({ accepts: ['rpc', 'event'] });
    this.#ipc.connectTo('corral', socket);
    const client = this.#ipc.of.corral;
    if (client === undefined) throw new Error('node-ipc made no client');
    let failure: Error | null = null;
    client.on('connect', () => onOutcome(null));
    client.on('error', (error) => {
      failure = error;
    });
    client.on('disconnect', () => {
      onOutcome(unreachable(socket, failure));
      this.#ended();
    });
    client.on('rpc', (data) => this.#receive(data));
    client.on('event', (data) => {
      if (isStopping(data)) this.daemonIsStopping = true;
    });
  }

  #receive(data: unknown): void {
    const parsed = responseSchema.safeParse(data);
    if (!parsed.success) return this.close();
    const { id, result, error } = parsed.data;
    if (id === null) {
      // Not an answer to a call: the daemon says why it is about to close the connection.
      if (error !== undefined) this.#farewell = toCorralError(error);
      return;
    }
    const call = this.#calls.get(Number(id));
    if (call === undefined) return; // Answered too late.
    this.#calls.delete(Number(id));
    clearTimeout(call.timer);
    if (error === undefined) call.resolve(result);
    else call.reject(toCorralError(error));
  }

  #ended(): void {
    this.#isClosed = true;
    this.#closed.resolve();
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) {
      clearTimeout(call.timer);
      call.reject(this.#lost());
    }
  }

  #lost(): CorralError {
    return this.#farewell ?? new CorralError('CONNECTION_LOST', 'The daemon closed the connection.');
  }
}

function unreachable(socket: string, failure: Error | null): CorralError {
  if (isErrno(failure, 'EAGAIN')) {
    const message = `As many clients as the kernel takes wait on ${socket} already.`;
    return new CorralError('CALL_TIMEOUT', message, { cause: failure });
  }
  if (isErrno(failure, 'EACCES', 'EPERM')) {
    return new CorralError(
      'NOT_PERMITTED',
      `You may not open the socket ${socket}: it is private to the daemon's owner.`,
    );
  }
  return new CorralError('DAEMON_UNREACHABLE', `No corral daemon answers on ${socket}. Start one: corral daemon start`);
}

function isStopping(data: unknown): boolean {
  return typeof data === 'object' && data !== null && 'method' in data && data.method === stoppingEvent;
}
