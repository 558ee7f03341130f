/** node-ipc 14.0.0 ships no types. These cover what corral uses of it; read against dao/socketServer.js and dao/client.js. */
declare module 'node-ipc' {
  import type { Server as NetServer, Socket } from 'node:net';

  /** Documented extension: `ipc.config.parser` may be an object with `encode` and `read`. */
  interface Parser {
    raw: boolean;
    encoding: string;
    maxPendingBytes: number;
    encode(type: string, data: unknown): string;
    read(
      state: never,
      chunk: string,
      receive: (frame: { readonly type: string; readonly data: unknown }) => void,
    ): unknown;
  }

  interface Config {
    silent: boolean;
    parser: Parser;
    maxConnections: number;
    stopRetrying: boolean;
    unlink: boolean;
  }

  /** `ipcBuffer` is what the parser's `read` returned last; it may be set in a `connect` handler. */
  export type IpcSocket = Socket & { ipcBuffer: unknown };

  interface Server {
    readonly server: NetServer;
    on(event: 'start', handler: () => void): this;
    on(event: 'error', handler: (error: Error) => void): this;
    on(event: 'connect' | 'close', handler: (socket: IpcSocket) => void): this;
    on(event: string, handler: (data: unknown, socket: IpcSocket) => void): this;
    emit(socket: IpcSocket, type: string, data: unknown): boolean;
    start(): void;
    stop(): void;
  }

  interface Client {
    readonly socket: IpcSocket;
    on(event: 'connect' | 'disconnect' | 'destroy', handler: () => void): this;
    on(event: 'error', handler: (error: Error) => void): this;
    on(event: string, handler: (data: unknown) => void): this;
    emit(type: string, data: unknown): boolean;
  }

  export class IPCModule {
    config: Config;
    server: Server;
    of: Record<string, Client>;
    serve(path: string, onStart?: () => void): void;
    connectTo(id: string, path: string, onStarted?: () => void): void;
    disconnect(id: string): void;
  }
}
