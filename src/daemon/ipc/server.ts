import { IPCModule, type IpcSocket } from 'node-ipc';
import {
  createFrameParser,
  type ErrorCode,
  frameLimits,
  type PartialFrame,
  type RpcResponse,
  rpcError,
  stoppingEvent,
} from '../../protocol/index.ts';
import type { Backend } from './backend.ts';
import { dispatch, type Session } from './dispatch.ts';

/** Clients at once. A further one is told so and disconnected. */
export const maxConnections = 1_000;

/** How long a refused peer may take to read why. */
const farewellMs = 1_000;

export interface IpcServerOptions {
  readonly socketPath: string;
  readonly backend: Backend;
  /** The uid that may talk to this daemon, beside root. */
  readonly ownerUid: number;
  /** Asks the kernel who is at the other end. */
  readonly peerUid: (fd: number) => number;
  readonly log: {
    warn(message: string, fields?: Record<string, unknown>): void;
    error(message: string, fields?: Record<string, unknown>): void;
  };
}

export interface IpcServer {
  /** Takes no more connections and no more requests. */
  close(): void;
}

/**
 * Listens on the Unix socket. The state directory's lock must be held: node-ipc removes whatever socket is at the path.
 *
 * Traps of node-ipc that are closed here: a handler that throws would end the process; the socket's mode follows the umask;
 * one connection too many is dropped without a word; an answer over the frame limit would throw.
 */
export function startIpcServer(options: IpcServerOptions): Promise<IpcServer> {
  const { backend, log } = options;
  const ipc = new IPCModule();
  const timeouts = new WeakMap<PartialFrame, () => void>();
  ipc.config.silent = true;
  ipc.config.maxConnections = maxConnections + 16; // Room to tell those beyond the limit why they are refused.
  ipc.config.parser = createFrameParser({
    accepts: ['rpc'],
    insteadOfTooLarge: (data) =>
      rpcError(
        (data as RpcResponse).id,
        'FRAME_TOO_LARGE',
        'The answer would be larger than a frame. Ask for less: a smaller limit, fewer jobs.',
      ),
    onFrameBegun: (partial) => {
      const timer = setTimeout(() => timeouts.get(partial)?.(), frameLimits.frameTimeoutMs);
      timer.unref();
      return () => clearTimeout(timer);
    },
  });
  const connections = new Map<IpcSocket, { session: Session; closed: AbortController }>();

  function send(socket: IpcSocket, response: RpcResponse): void {
    if (socket.destroyed) return;
    ipc.server.emit(socket, 'rpc', response);
  }

  function refuse(socket: IpcSocket, code: ErrorCode, message: string): void {
    send(socket, rpcError(null, code, message));
    forget(socket);
    // Only our side is closed at once: a peer that is still writing would get EPIPE, and never read why.
    socket.end();
    setTimeout(() => socket.destroy(), farewellMs).unref();
  }

  function onConnect(socket: IpcSocket): void {
    const partial: PartialFrame = { chunks: [], bytes: 0, cancelTimeout: null };
    socket.ipcBuffer = partial;
    timeouts.set(partial, () =>
      refuse(
        socket,
        'PARSE_ERROR',
        `A frame was begun and not completed within ${frameLimits.frameTimeoutMs / 1_000} s.`,
      ),
    );
    const uid = options.peerUid(fdOf(socket));
    if (uid !== options.ownerUid && uid !== 0) {
      log.warn('refused a peer', { uid });
      return refuse(
        socket,
        'NOT_PERMITTED',
        `This daemon belongs to uid ${options.ownerUid}; you are uid ${uid}. Start your own: corral daemon start`,
      );
    }
    if (connections.size >= maxConnections) {
      return refuse(
        socket,
        'TOO_MANY_CONNECTIONS',
        `The daemon already serves ${maxConnections} clients. Close some, or try again later.`,
      );
    }
    connections.set(socket, { session: { hasSaidHello: false }, closed: new AbortController() });
  }

  function onRequest(data: unknown, socket: IpcSocket): void {
    const connection = connections.get(socket);
    if (connection === undefined) return; // Refused above; what it had already sent is not looked at.
    const call = { backend, signal: connection.closed.signal };
    void dispatch(data, connection.session, call, (error, method) => {
      log.error(`method ${method} failed`, {
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
    }).then((response) => send(socket, response));
  }

  function onMalformed(data: unknown, socket: IpcSocket): void {
    const { code, message, fatal } = data as {
      code: 'PARSE_ERROR' | 'FRAME_TOO_LARGE';
      message: string;
      fatal: boolean;
    };
    if (!connections.has(socket)) return;
    if (fatal) refuse(socket, code, message);
    else send(socket, rpcError(null, code, message));
  }

  function onClose(socket: IpcSocket): void {
    (socket.ipcBuffer as PartialFrame).cancelTimeout?.();
    forget(socket);
  }

  /** What the connection sends from now on is not looked at; what it waits for is given up. */
  function forget(socket: IpcSocket): void {
    connections.get(socket)?.closed.abort();
    connections.delete(socket);
  }

  return new Promise((resolve, reject) => {
    ipc.serve(options.socketPath, () =>
      resolve({
        close() {
          // Clients need not guess whether the daemon crashed or was stopped. Their connections end with the process, so that
          // whoever waits for that knows its locks are free.
          for (const socket of connections.keys())
            if (!socket.destroyed) ipc.server.emit(socket, 'event', { jsonrpc: '2.0', method: stoppingEvent });
          for (const socket of [...connections.keys()]) forget(socket);
          ipc.server.server.close();
        },
      }),
    );
    ipc.server.on('error', (error: Error) => {
      if (ipc.server.server.listening) log.warn('connection failed', { error: error.message });
      else reject(error);
    });
    ipc.server.on('connect', (socket: IpcSocket) => onConnect(socket));
    ipc.server.on('close', (socket: IpcSocket) => onClose(socket));
    ipc.server.on('rpc', onRequest);
    ipc.server.on('malformed', onMalformed);
    // The socket is private from its first moment: bind(2) happens within start(), and takes the umask of that moment.
    const umask = process.umask(0o177);
    try {
      ipc.server.start();
    } finally {
      process.umask(umask);
    }
  });
}

/** Node keeps a socket's descriptor to itself; this is the one place that needs it. */
function fdOf(socket: IpcSocket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}
