import fs from 'node:fs';
import { IPCModule, type IpcSocket } from 'node-ipc';
import {
  createFrameParser,
  type ErrorCode,
  emptyPartialFrame,
  frameLimits,
  type IncomingFrame,
  type PartialFrame,
  type RpcResponse,
  rpcError,
  stackOf,
  stoppingEvent,
} from '../../protocol/index.ts';
import type { Backend } from './backend.ts';
import { dispatch, type Session } from './dispatch.ts';
import { type Taker, Turns } from './turns.ts';

/** Clients at once, where descriptors allow it. A further one is told so and disconnected. */
export const maxConnections = 1_000;

/** Descriptors that connections leave alone: the daemon's own (about 30), those of launches, and of peers that are being refused. */
const reservedDescriptors = 96;

/** Serving fewer than these makes no sense: with so few descriptors it is the launches that fail first. */
const minConnections = 8;

/** Peers beyond the limit at once that are told why they are refused. */
const refusedAtOnce = 16;

/** How long a refused peer may go on writing. Why it was refused it can read after that, too: the kernel keeps it. unix(7) */
const farewellMs = 250;

/** No more requests of a connection are handled while this much waits for it to be read: less than what it is cut off at. */
const slowReaderBytes = 1024 * 1024;

/** How often the daemon looks whether its socket is still where clients look for it. inotify would miss a removed parent. */
const lookAfterSocketMs = 2_000;

/** How many clients a daemon with so many file descriptors serves. */
export function connectionsWithin(descriptors: number): number {
  return Math.max(minConnections, Math.min(maxConnections, descriptors - reservedDescriptors));
}

export interface IpcServerOptions {
  readonly socketPath: string;
  readonly backend: Backend;
  readonly maxConnections: number;
  /** The uid that may talk to this daemon, beside root. */
  readonly ownerUid: number;
  /** Asks the kernel who is at the other end. */
  readonly peerUid: (fd: number) => number;
  /**
   * Makes sure that the socket's path is this daemon's, which it was at the start, and takes it back where its folder or its lock
   * were removed. `false`: another daemon has it now.
   */
  readonly claimSocket: () => boolean;
  readonly log: {
    warn(message: string, fields?: Record<string, unknown>): void;
    error(message: string, fields?: Record<string, unknown>): void;
  };
}

export interface IpcServer {
  /** Takes no more connections and no more requests. */
  close(): void;
}

interface Connection extends Taker {
  readonly session: Session;
  readonly closed: AbortController;
}

/**
 * Listens on the Unix socket. The socket's lock must be held: node-ipc removes whatever socket is at the path.
 *
 * Traps of node-ipc that are closed here: a handler that throws would end the process; the socket's mode follows the umask;
 * one connection too many is dropped without a word; an answer over the frame limit would throw; one client's requests would
 * all be handled before anything else happens, and their answers pile up, however slowly it reads.
 */
export function startIpcServer(options: IpcServerOptions): Promise<IpcServer> {
  const { backend, log } = options;
  const ipc = new IPCModule();
  const timeouts = new WeakMap<PartialFrame, () => void>();
  const sockets = new WeakMap<PartialFrame, IpcSocket>();
  const connections = new Map<IpcSocket, Connection>();
  const turns = new Turns();
  const parser = createFrameParser({
    accepts: ['rpc'],
    insteadOfTooLarge: (data) =>
      rpcError(
        (data as RpcResponse).id,
        'FRAME_TOO_LARGE',
        'The answer would be larger than a frame. Ask for less: a smaller limit, fewer jobs.',
      ),
    onFrameBegun: (partial) => {
      // Again and again, for one whose rest is not read because its answers are not.
      const timer = setInterval(() => timeouts.get(partial)?.(), frameLimits.frameTimeoutMs).unref();
      return () => clearInterval(timer);
    },
    onFrames: (partial) => {
      const socket = sockets.get(partial);
      const connection = socket === undefined ? undefined : connections.get(socket);
      if (connection === undefined) return parser.discard(partial); // Refused: what it had already sent is not looked at.
      socket?.pause(); // Nothing more is read before these are handled.
      turns.add(connection);
    },
  });
  ipc.config.silent = true;
  ipc.config.maxConnections = options.maxConnections + refusedAtOnce;
  ipc.config.parser = parser;

  function send(socket: IpcSocket, response: RpcResponse): void {
    if (socket.destroyed || socket.writableEnded) return; // One that was refused is told nothing more.
    ipc.server.emit(socket, 'rpc', response);
  }

  function refuse(socket: IpcSocket, code: ErrorCode, message: string): void {
    send(socket, rpcError(null, code, message));
    forget(socket);
    // Only our side is closed at once: a peer that is still writing would get EPIPE, and never read why. What it writes stays unread.
    socket.pause();
    socket.end();
    setTimeout(() => socket.destroy(), farewellMs).unref();
  }

  function onConnect(socket: IpcSocket): void {
    const partial = emptyPartialFrame();
    socket.ipcBuffer = partial;
    sockets.set(partial, socket);
    timeouts.set(partial, () => {
      if (socket.isPaused() || !connections.has(socket)) return;
      refuse(
        socket,
        'PARSE_ERROR',
        `A frame was begun and not completed within ${frameLimits.frameTimeoutMs / 1_000} s.`,
      );
    });
    const uid = options.peerUid(fdOf(socket));
    if (uid !== options.ownerUid && uid !== 0) {
      log.warn('refused a peer', { uid });
      return refuse(
        socket,
        'NOT_PERMITTED',
        `This daemon belongs to uid ${options.ownerUid}; you are uid ${uid}. Start your own: corral daemon start`,
      );
    }
    if (connections.size >= options.maxConnections) {
      return refuse(
        socket,
        'TOO_MANY_CONNECTIONS',
        `The daemon already serves ${options.maxConnections} clients. Close some, or try again later.`,
      );
    }
    const connection: Connection = {
      session: { hasSaidHello: false, calls: 0, requestBytes: 0 },
      closed: new AbortController(),
      takeOne: () => takeOne(socket, partial, connection),
    };
    connections.set(socket, connection);
  }

  function takeOne(socket: IpcSocket, partial: PartialFrame, connection: Connection): 'taken' | 'later' {
    if (socket.destroyed) return 'later';
    if (socket.writableLength > slowReaderBytes) {
      socket.once('drain', () => turns.add(connection));
      return 'later';
    }
    const frame = parser.next(partial);
    if (frame === null) {
      socket.resume();
      return 'later';
    }
    if (frame.type === 'malformed') onMalformed(frame.data, socket);
    else onRequest(frame.data, partial.frameBytes, socket, connection);
    return connections.has(socket) ? 'taken' : 'later';
  }

  function onRequest(data: unknown, bytes: number, socket: IpcSocket, connection: Connection): void {
    const call = { backend, signal: connection.closed.signal };
    void dispatch(data, bytes, connection.session, call, (error, method) => {
      log.error(`method ${method} failed`, {
        error: stackOf(error),
      });
    }).then((response) => send(socket, response));
  }

  function onMalformed(data: Extract<IncomingFrame, { type: 'malformed' }>['data'], socket: IpcSocket): void {
    if (!connections.has(socket)) return;
    if (data.fatal) refuse(socket, data.code, data.message);
    else send(socket, rpcError(null, data.code, data.message));
  }

  function onClose(socket: IpcSocket): void {
    (socket.ipcBuffer as PartialFrame).cancelTimeout?.();
    forget(socket);
  }

  /** What the connection sends from now on is not looked at; what it waits for is given up. */
  function forget(socket: IpcSocket): void {
    const connection = connections.get(socket);
    if (connection === undefined) return;
    connection.closed.abort();
    turns.remove(connection);
    connections.delete(socket);
  }

  const endpoint = new Endpoint(options.socketPath);
  let complaint: string | null = null;

  function complain(message: string): void {
    if (message !== complaint) log.warn(message, { socket: options.socketPath });
    complaint = message;
  }

  /** The socket is private from its first moment: bind(2) happens within start(), and takes the umask of that moment. */
  function bind(): void {
    const umask = process.umask(0o177);
    try {
      ipc.server.start();
    } finally {
      process.umask(umask);
    }
  }

  /** A socket that was removed is made again; clients that are connected do not notice. */
  function lookAfterSocket(): void {
    try {
      if (!options.claimSocket()) return complain('another daemon has taken the socket; this one cannot be reached');
      if (endpoint.isOurs()) {
        complaint = null;
        return;
      }
      complain('the socket was removed; making it again');
      ipc.server.server.close();
      bind();
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
      complain(`the socket was removed and cannot be made again: ${error.message}`);
    }
  }

  return new Promise((resolve, reject) => {
    ipc.serve(options.socketPath, () => {
      endpoint.remember();
      resolve(server);
    });
    const watch = setInterval(lookAfterSocket, lookAfterSocketMs).unref();
    const server: IpcServer = {
      close() {
        clearInterval(watch);
        // Clients need not guess whether the daemon crashed or was stopped. Their connections end with the process, so that
        // whoever waits for that knows its locks are free.
        for (const socket of connections.keys())
          if (!socket.destroyed) ipc.server.emit(socket, 'event', { jsonrpc: '2.0', method: stoppingEvent });
        for (const socket of [...connections.keys()]) forget(socket);
        // libuv removes what is at the path when it closes a listening socket, and that may be another daemon's by now.
        if (endpoint.isOurs()) ipc.server.server.close();
      },
    };
    ipc.server.on('error', (error: Error) => {
      if (ipc.server.server.listening) return log.warn('connection failed', { error: error.message });
      reject(error);
      complain(`the socket cannot be made: ${error.message}`);
    });
    ipc.server.on('connect', (socket: IpcSocket) => onConnect(socket));
    ipc.server.on('close', (socket: IpcSocket) => onClose(socket));
    ipc.server.on('malformed', (data, socket) =>
      onMalformed(data as Extract<IncomingFrame, { type: 'malformed' }>['data'], socket),
    );
    bind();
  });
}

/** The socket's file: whether the one that is at the path is the one that was bound. */
class Endpoint {
  readonly #path: string;
  #inode: string | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  remember(): void {
    this.#inode = this.#atPath();
  }

  isOurs(): boolean {
    return this.#inode !== null && this.#atPath() === this.#inode;
  }

  #atPath(): string | null {
    const stat = fs.lstatSync(this.#path, { throwIfNoEntry: false, bigint: true });
    // Numbers of removed files are used again, so the time of birth belongs to it.
    return stat === undefined ? null : `${stat.dev}:${stat.ino}:${stat.birthtimeNs}:${stat.isSocket()}`;
  }
}

/** Node keeps a socket's descriptor to itself; this is the one place that needs it. */
function fdOf(socket: IpcSocket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}
