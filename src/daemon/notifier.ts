/** Tells the service manager how the daemon is, where there is one. One that does not listen is no reason to fail. sd_notify(3) */
import { isErrno } from '../protocol/index.ts';
import type { Log } from './shells.ts';

/** Sends assignments such as `READY=1`, at once or not at all. */
export interface ManagerSocket {
  tell(...assignments: readonly string[]): void;
}

/** What the manager must have heard, once it listens again; all else is said anew each second. */
const lasting = /^(READY|RELOADING|STOPPING)=|^MONOTONIC_USEC=/;

export class Notifier {
  readonly #connect: () => ManagerSocket;
  readonly #log: Pick<Log, 'warn' | 'info'>;
  #socket: ManagerSocket | null = null;
  #unheard: string[] = [];
  #isDeaf = false;

  /** @param connect makes the socket; it may throw, as for an address of a kind that is not known here */
  constructor(connect: () => ManagerSocket, log: Pick<Log, 'warn' | 'info'>) {
    this.#connect = connect;
    this.#log = log;
  }

  tell(...assignments: readonly string[]): void {
    const all = [...this.#unheard, ...assignments];
    try {
      this.#socket ??= this.#connect();
      this.#socket.tell(...all);
    } catch (error) {
      if (!(error instanceof RangeError) && !isErrno(error, ...socketErrors)) throw error;
      this.#unheard = all.filter((line) => lasting.test(line)).slice(-maxUnheard);
      if (!this.#isDeaf) this.#log.warn('the service manager does not listen', { error: error.message });
      this.#isDeaf = true;
      return;
    }
    this.#unheard = [];
    if (this.#isDeaf) this.#log.info('the service manager listens again');
    this.#isDeaf = false;
  }
}

/** A reload says three lines, and the last word counts. */
const maxUnheard = 4;

/** sendto(2), unix(7) */
const socketErrors = [
  'EAGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'ENOTDIR',
  'EACCES',
  'EPERM',
  'EPROTOTYPE',
  'ENOTCONN',
  'ENOBUFS',
  'ENOMEM',
  'EMFILE',
  'ENFILE',
  'EPIPE',
];
