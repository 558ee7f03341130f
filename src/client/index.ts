/**
 * The client library of corral.
 *
 * ```ts
 * import { connect } from 'corral';
 * await using client = await connect();
 * const { id } = await client.submit({ command: ['make', 'test'] });
 * const [job] = await client.wait(id);
 * ```
 */
import { maxHoldMs, resolvePaths, scopeVariable } from '../protocol/index.ts';
import { type Caller, callerEnvironment } from './caller.ts';
import { Client } from './client.ts';
import { Connection } from './connection.ts';
import type { ScopeOptions } from './scope.ts';
import { fixtureOf, type ScopeFixture, type ScopeHooks } from './scope-fixture.ts';

export {
  type AttemptView,
  type BulkReport,
  type Cause,
  CorralError,
  type ErrorCode,
  type EventView,
  type GroupView,
  type Health,
  type JobEdit,
  type JobSpec,
  type JobStatus,
  type JobUsageView,
  type JobView,
  type PoliciesView,
  type ResetReport,
  type RunPending,
  type ScopeReport,
  type SettledJob,
  type ShownKey,
  type SignalName,
  type StuckJob,
} from '../protocol/index.ts';
export { Client, type GroupSettings, type ListOptions, type SelectOptions, type StuckCriteria } from './client.ts';
export type { EventsOptions } from './events.ts';
export type { LogsOptions } from './logs.ts';
export { Scope, type ScopeOptions } from './scope.ts';
export type { ScopeFixture, ScopeHooks } from './scope-fixture.ts';
export type { JobRequest, Submitted } from './submitting.ts';
export type { WaitOptions } from './waiting.ts';

export interface ConnectOptions {
  /** The daemon's socket. Absent: from the environment (`CORRAL_SOCKET`, `CORRAL_RUNTIME_DIR`, the default place). */
  readonly socket?: string;
  /** Whether a daemon may be started where none answers on the default socket; never on a named one. Default: true. */
  readonly autoStart?: boolean;
  /** Longest that the daemon may take to answer a call, in ms. Default: 30,000. More than 24 days are as long as 24 days. */
  readonly timeoutMs?: number;
  /** After the connection is lost, how long to try for another before a call fails, in ms. Default: 30,000. */
  readonly reconnectMs?: number;
  /** Called with a sentence for the user about a daemon that was started, such as that it ends at the last logout. */
  readonly onNotice?: (sentence: string) => void;
  /** Default: `process.env`, with bytes that are not UTF-8 as a job's environment has them. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** The daemon holds a wait for this long at most; each call so gets its answer within `timeoutMs` beyond it. */
const defaultTimeoutMs = 30_000;

/** setTimeout takes no more than 2^31 − 1 ms, and the time that a call is held comes on top. */
const maxTimeoutMs = 2 ** 31 - 1 - maxHoldMs;

/**
 * Connects to the daemon, and starts one where none answers on the default socket.
 *
 * @throws CorralError `DAEMON_UNREACHABLE`, `DAEMON_START_FAILED`, `PROTOCOL_MISMATCH`, `NOT_PERMITTED`
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
  const env = options.env ?? process.env;
  const resolved = resolvePaths(env, process.getuid?.() ?? 0);
  const paths =
    options.socket === undefined ? resolved : { ...resolved, socket: options.socket, socketIsExplicit: true };
  const connection = new Connection({
    paths,
    env,
    autoStart: (options.autoStart ?? true) && !paths.socketIsExplicit,
    timeoutMs: Math.min(options.timeoutMs ?? defaultTimeoutMs, maxTimeoutMs),
    reconnectMs: options.reconnectMs ?? defaultTimeoutMs,
    onNotice: options.onNotice ?? (() => {}),
  });
  await connection.open();
  return new Client(connection, callerOf(options.env), paths.socket);
}

/**
 * A scope for the tests of one file: opened before the first, closed after the last, which fails if something of theirs cannot be
 * ended. Meanwhile `CORRAL_SCOPE` and `CORRAL_SOCKET` are set, so that what the tests submit by way of other programs belongs to
 * it, too.
 *
 * ```ts
 * import { after, before } from 'node:test'; // vitest: { before: beforeAll, after: afterAll }
 * const corral = scopeFixture({ before, after });
 * test('…', async () => { await corral.scope.submit({ command: ['make', 'load'] }); });
 * ```
 */
export function scopeFixture(hooks: ScopeHooks, options: ConnectOptions & ScopeOptions = {}): ScopeFixture {
  return fixtureOf(hooks, async () => ({ client: await connect(options), name: options.name }), process.env);
}

function callerOf(env: ConnectOptions['env']): Caller {
  return {
    env: () => (env === undefined ? callerEnvironment(process.env) : definedOnly(env)),
    scope: () => (env ?? process.env)[scopeVariable],
  };
}

function definedOnly(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
