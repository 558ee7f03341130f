import net from 'node:net';

export interface RawAnswer {
  readonly id?: unknown;
  readonly result?: unknown;
  readonly error?: { code: number; message: string; data: { code: string } };
}

/** A client that speaks bytes, and keeps what comes back. */
export class RawClient {
  readonly socket: net.Socket;
  #text = '';
  readonly #answers: RawAnswer[] = [];
  #wake = () => {};
  /** Largest frame that came, in bytes. */
  largestBytes = 0;
  /** Resolves when the connection has ended, by whichever side. */
  readonly closed: Promise<void>;

  constructor(path: string) {
    this.socket = net.connect(path);
    this.socket.setEncoding('utf8');
    this.socket.on('data', (chunk: string) => {
      const parts = (this.#text + chunk).split('\f');
      this.#text = parts.pop() ?? '';
      for (const part of parts) {
        this.largestBytes = Math.max(this.largestBytes, Buffer.byteLength(part));
        this.#answers.push(JSON.parse(part).data);
      }
      this.#wake();
    });
    this.closed = new Promise((resolve) => {
      this.socket.on('close', () => {
        this.#wake();
        resolve();
      });
    });
    this.socket.on('error', () => {}); // The daemon may close while we write; what counts is what it said.
  }

  write(bytes: string | Buffer): void {
    this.socket.write(bytes);
  }

  request(id: number | string, method: string, params: unknown = {}): void {
    this.write(frameOf(id, method, params));
  }

  /** `null` where the connection was closed first. */
  async next(): Promise<RawAnswer | null> {
    while (this.#answers.length === 0) {
      if (this.socket.destroyed) return null;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#answers.shift() ?? null;
  }

  async hello(): Promise<this> {
    this.request(0, 'hello', { protocols: [1] });
    await this.next();
    return this;
  }
}

export function frameOf(id: number | string, method: string, params: unknown = {}): string {
  return `${JSON.stringify({ type: 'rpc', data: { jsonrpc: '2.0', id, method, params } })}\f`;
}
