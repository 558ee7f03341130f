import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  CorralError,
  type CorralPaths,
  describeIssues,
  isErrno,
  type MethodName,
  type MethodParams,
  type MethodResult,
  methods,
  protocolVersions,
  version,
} from '../protocol/index.ts';
import { type Notice, startDaemon } from './daemon-process.ts';
import { silentDaemon } from './silent-daemon.ts';
import { Transport } from './transport.ts';

export interface ConnectionOptions {
  readonly paths: CorralPaths;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly autoStart: boolean;
  readonly timeoutMs: number;
  readonly reconnectMs: number;
  readonly onNotice: Notice;
}

type HeldScope = MethodParams<'scope.open'> & { readonly scope: string };

export interface CallLimits {
  /** Time that the daemon was asked to hold the call, on top of the usual deadline. */
  readonly holdMs?: number;
  /** The call is not tried again after this, on performance.now()'s clock. */
  readonly untilMs?: number;
}

/** Pause before connecting again; a daemon that restarts is back in a tenth of a second. */
const reconnectDelayMs = 50;

/** Pause before a call is repeated that was one too many for the connection. */
const crowdedDelayMs = 1_000;

/** How long the answer to a wait that is over may take. */
const answerMs = 1_000;

/** How long a daemon that somebody else started may take until it answers. */
const startPatienceMs = 10_000;

/** A connection that outlives single connections: it is opened again when it is lost, and calls that may be are repeated. */
export class Connection {
  readonly #options: ConnectionOptions;
  #transport: Promise<Transport> | null = null;
  #daemonWasStopped = false;
  /** Of the daemon that was greeted last. */
  #pid: number | null = null;
  #isClosed = false;
  /** What this client holds open: a daemon that restarts is told on the new connection, before anything else. */
  readonly #scopes = new Map<string, HeldScope>();

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** Connects for the first time; a daemon may be started for it. */
  async open(): Promise<void> {
    await this.#current();
  }

  async call<M extends MethodName>(
    method: M,
    params: MethodParams<M>,
    limits: CallLimits = {},
  ): Promise<MethodResult<M>> {
    const { holdMs = 0, untilMs = Number.POSITIVE_INFINITY } = limits;
    let asked = params;
    for (;;) {
      const transport = await this.#reconnected(untilMs);
      try {
        const result = await transport.call(method, asked, this.#deadlineMs(holdMs, untilMs));
        return understood(method, result);
      } catch (error) {
        if (error instanceof CorralError && error.code === 'TOO_MANY_CALLS' && performance.now() < untilMs) {
          // It was not carried out. While so many are held, this one asks now and then.
          await delay(crowdedDelayMs);
          if ('holdMs' in asked) asked = { ...asked, holdMs: 0 };
          continue;
        }
        if (!(error instanceof CorralError)) throw error;
        if (error.code === 'CALL_TIMEOUT') throw silentDaemon(error, this.#options.paths, this.#pid);
        if (error.code !== 'CONNECTION_LOST') throw error;
        if (this.#isClosed)
          throw new CorralError('CLIENT_CLOSED', 'The client was closed while the call was under way.');
        if (methods[method].repeat === 'once') {
          throw new CorralError(
            'CONNECTION_LOST',
            `The daemon went away during "${method}", and whether it was carried out is not known. Look before you repeat it: corral ls`,
          );
        }
        this.#daemonWasStopped = transport.daemonIsStopping;
      }
    }
  }

  /** Opens a scope that lives with this client. From now on a lost connection is opened again at once, not at the next call. */
  async holdScope(scope: HeldScope): Promise<void> {
    await this.call('scope.open', scope);
    this.#scopes.set(scope.scope, scope);
  }

  leaveScope(id: string): void {
    this.#scopes.delete(id);
  }

  /** A call whose own time is over soon gets a moment more than that for its answer, not the whole usual deadline. */
  #deadlineMs(holdMs: number, untilMs: number): number {
    return Math.min(holdMs + this.#options.timeoutMs, untilMs - performance.now() + answerMs);
  }

  /** Resolves when the daemon has closed the connection: that is the end of a daemon that was asked to stop. */
  async closedByDaemon(timeoutMs: number): Promise<void> {
    const transport = await this.#transport;
    const outcome = await Promise.race([transport?.closed, delay(timeoutMs, 'timeout', { ref: false })]);
    if (outcome === 'timeout') {
      throw new CorralError(
        'CALL_TIMEOUT',
        `The daemon is still stopping after ${timeoutMs / 1_000} s: some process cannot be killed. See: corral ls --status stopping`,
      );
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#transport?.then(
      (transport) => transport.close(),
      () => undefined, // It never opened; whoever asked for it was told.
    );
  }

  /** The connection there is, or a new one: tried until the time is over. */
  async #reconnected(callUntilMs: number): Promise<Transport> {
    const untilMs = Math.min(callUntilMs, performance.now() + this.#options.reconnectMs);
    for (;;) {
      try {
        return await this.#current();
      } catch (error) {
        const canRetry =
          error instanceof CorralError && (error.code === 'DAEMON_UNREACHABLE' || error.code === 'CONNECTION_LOST');
        if (!canRetry || performance.now() + reconnectDelayMs >= untilMs) throw error;
        await delay(reconnectDelayMs);
      }
    }
  }

  /** Calls that find the connection lost at the same time share one new one. */
  async #current(): Promise<Transport> {
    for (;;) {
      const known = this.#transport;
      const transport = await known?.catch(() => null); // A failed attempt was reported to whoever made it.
      if (this.#isClosed) throw new CorralError('CLIENT_CLOSED', 'The client has been closed. Connect again.');
      if (transport && !transport.isClosed) return transport;
      if (this.#transport !== known) continue;
      this.#transport = this.#openTransport();
      await this.#transport;
    }
  }

  async #openTransport(): Promise<Transport> {
    const { paths, env, autoStart, onNotice } = this.#options;
    try {
      return await this.#greeted();
    } catch (error) {
      const nobodyThere = error instanceof CorralError && error.code === 'DAEMON_UNREACHABLE';
      // A daemon that was stopped on purpose stays stopped; one that crashed is started again.
      if (!nobodyThere || !autoStart || this.#daemonWasStopped) throw error;
    }
    const wasQuicker = (await startDaemon(paths, env, onNotice)) === null;
    if (!wasQuicker) return this.#greeted();
    // Somebody else's daemon is starting; it answers as soon as it has cleaned up after an earlier one.
    const untilMs = performance.now() + startPatienceMs;
    for (;;) {
      try {
        return await this.#greeted();
      } catch (error) {
        if (!(error instanceof CorralError) || error.code !== 'DAEMON_UNREACHABLE') throw error;
        if (performance.now() > untilMs) {
          throw new CorralError(
            'DAEMON_UNREACHABLE',
            `A daemon holds ${paths.stateDir} but does not answer on ${paths.socket}. If its socket was removed, end it and try again: kill $(cat ${paths.stateDir}/daemon.lock)`,
          );
        }
        await delay(reconnectDelayMs);
      }
    }
  }

  async #comeBack(transport: Transport, scope: HeldScope): Promise<void> {
    try {
      await transport.call('scope.open', scope, this.#options.timeoutMs);
    } catch (error) {
      if (!(error instanceof CorralError) || error.code !== 'SCOPE_CLOSED') throw error;
      this.#scopes.delete(scope.scope); // It came too late. Whoever submits to it, or closes it, is told.
    }
  }

  /** Scopes are closed if their client does not come back in time, whether or not it has anything to say. */
  #lost(transport: Transport): void {
    if (this.#isClosed || this.#scopes.size === 0) return;
    this.#daemonWasStopped = transport.daemonIsStopping;
    this.#reconnected(Number.POSITIVE_INFINITY).catch(() => undefined); // The next call finds out, and says it.
  }

  async #greeted(): Promise<Transport> {
    const { paths, timeoutMs } = this.#options;
    checkOwner(paths);
    const transport = await Transport.open(paths.socket, timeoutMs);
    try {
      const hello = { protocols: [...protocolVersions], client: `corral ${version}` };
      this.#pid = understood('hello', await transport.call('hello', hello, timeoutMs)).pid;
      for (const scope of this.#scopes.values()) await this.#comeBack(transport, scope);
      void transport.closed.then(() => this.#lost(transport));
      return transport;
    } catch (error) {
      transport.close();
      if (error instanceof CorralError && error.code === 'CALL_TIMEOUT') throw silentDaemon(error, paths, null);
      // A daemon that dies while it is greeted is as good as none.
      const isGone = error instanceof CorralError && error.code === 'CONNECTION_LOST';
      throw isGone
        ? new CorralError(
            'DAEMON_UNREACHABLE',
            `The daemon on ${paths.socket} went away. Start one: corral daemon start`,
          )
        : error;
    }
  }
}

/** @throws CorralError `PROTOCOL_MISMATCH` where the answer is not what this version of the client knows */
function understood<M extends MethodName>(method: M, result: unknown): MethodResult<M> {
  const parsed = methods[method].result.safeParse(result);
  if (parsed.success) return parsed.data as MethodResult<M>;
  throw new CorralError(
    'PROTOCOL_MISMATCH',
    `The daemon answered "${method}" in a way that this client (corral ${version}) does not know (${describeIssues(parsed.error, ['result'])}). Use a client of the daemon's version.`,
  );
}

/** In a shared folder such as /tmp anybody could have put a socket: talk only to one whose folder is ours or root's, and private. */
function checkOwner(paths: CorralPaths): void {
  if (paths.socketIsExplicit) return;
  const folder = path.dirname(paths.socket);
  const stat = lookAt(folder);
  if (stat === null) return;
  const uid = process.getuid?.() ?? 0;
  if (stat.isDirectory() && (stat.uid === uid || stat.uid === 0) && (stat.mode & 0o022) === 0) return;
  throw new CorralError(
    'NOT_PERMITTED',
    `The folder ${folder} is not yours alone (uid ${stat.uid}, mode ${(stat.mode & 0o777).toString(8)}), so its socket is not trusted. Set CORRAL_RUNTIME_DIR to a folder that only you can write to.`,
  );
}

function lookAt(folder: string): fs.Stats | null {
  try {
    return fs.lstatSync(folder);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    if (isErrno(error, 'EACCES', 'ENOTDIR'))
      throw new CorralError(
        'NOT_PERMITTED',
        `The folder ${folder} cannot be looked at (${error.code}). Set CORRAL_RUNTIME_DIR to one that is yours.`,
      );
    throw error;
  }
}
