import { randomBytes } from 'node:crypto';
import { CorralError, type JobSpec, maxHoldMs, type ScopeReport, scopeVariable } from '../protocol/index.ts';
import type { Connection } from './connection.ts';
import type { JobRequest, Submitted } from './submitting.ts';

export interface ScopeOptions {
  /** A label for people. */
  readonly name?: string | undefined;
}

/** What a scope needs of its client. */
interface ScopeClient {
  submit(request: JobRequest): Promise<Submitted>;
  submitBatch(requests: readonly JobRequest[], defaults: Partial<JobSpec>): Promise<Submitted[]>;
  scopeReport(scope: string): Promise<ScopeReport>;
}

/** How long a close waits for jobs with long graces, or that cannot be killed. */
const closePatienceMs = 60_000;

/**
 * A bag of jobs that end together: when it is closed, or disposed of (`await using`), or when this process goes away, even by
 * SIGKILL. It outlives a restart of the daemon; the jobs that ran then do not, as any others.
 */
export class Scope implements AsyncDisposable {
  /** Known at once. Before `ready` has resolved, only this object may submit to it. */
  readonly id: string;
  /** For a program that is started in the scope: jobs that it submits belong to it, too. */
  readonly env: Readonly<Record<string, string>>;
  /** Resolves when the scope is open. @throws CorralError `TOO_MANY_SCOPES`, `SHUTTING_DOWN`, `STORE_FAILED` */
  readonly ready: Promise<void>;
  readonly #client: ScopeClient;
  readonly #connection: Connection;

  /** Use `client.scope()`. */
  constructor(client: ScopeClient, connection: Connection, socket: string, { name }: ScopeOptions) {
    this.#client = client;
    this.#connection = connection;
    this.id = randomBytes(16).toString('hex');
    this.env = { [scopeVariable]: this.id, CORRAL_SOCKET: socket };
    this.ready = connection.holdScope({ scope: this.id, ...(name === undefined ? {} : { name }) });
    this.ready.catch(() => undefined); // Whatever is done with the scope throws it.
  }

  /** As the client's. @throws CorralError `SCOPE_CLOSED` as well */
  async submit(request: JobRequest): Promise<Submitted> {
    await this.ready;
    return this.#client.submit({ ...request, scope: this.id });
  }

  /** As the client's. @throws CorralError `SCOPE_CLOSED` as well */
  async submitBatch(requests: readonly JobRequest[], defaults: Partial<JobSpec> = {}): Promise<Submitted[]> {
    await this.ready;
    return this.#client.submitBatch(requests, { ...defaults, scope: this.id });
  }

  /** What has become of its jobs so far. */
  async report(): Promise<ScopeReport> {
    await this.ready;
    return this.#client.scopeReport(this.id);
  }

  /**
   * Ends its jobs, all at once, each with its own grace. To close it again does no harm.
   *
   * @param options.timeoutMs longest to wait for the last one, in ms. Default: 60,000. Its `status` is `closing` then.
   */
  async close(options: { readonly timeoutMs?: number } = {}): Promise<ScopeReport> {
    await this.ready;
    this.#connection.leaveScope(this.id);
    const untilMs = performance.now() + (options.timeoutMs ?? closePatienceMs);
    for (;;) {
      const holdMs = Math.ceil(Math.min(maxHoldMs, Math.max(0, untilMs - performance.now())));
      const report = await this.#connection.call('scope.close', { scope: this.id, holdMs }, { holdMs });
      if (report.status === 'closed' || performance.now() >= untilMs) return report;
    }
  }

  /** Closes it. @throws CorralError `SCOPE_NOT_EMPTY` where something is left */
  async [Symbol.asyncDispose](): Promise<void> {
    const complaint = whatIsLeft(await this.close());
    if (complaint !== null) throw new CorralError('SCOPE_NOT_EMPTY', complaint);
  }
}

/** A sentence on what the close of a scope did not end; `null` where nothing is left. */
export function whatIsLeft({ scope, failed, processesLeft, errors }: ScopeReport): string | null {
  if (failed === 0 && (processesLeft ?? 0) === 0) return null;
  const why = errors.slice(0, 3).map(({ message }) => message);
  const jobs = `${failed} ${failed === 1 ? 'job' : 'jobs'}`;
  return [`Scope ${scope} is not empty: ${jobs} and ${processesLeft} processes are left.`, ...why].join(' ');
}
