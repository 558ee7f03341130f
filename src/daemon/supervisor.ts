/**
 * The loop: event → decide (pure) → commit → act.
 *
 * Events are gathered for one turn of Node's event loop, decided one after another, committed together, and only then acted
 * upon. Whatever an action brings about comes back as another event. Nothing else changes state.
 */
import { type BulkReport, CorralError, type GroupView, type SignalName, unreachable } from '../protocol/index.ts';
import {
  apply,
  type Change,
  currentAttempt,
  decide,
  type Effect,
  type EndedJobs,
  type Event,
  emptyState,
  type Group,
  groupView,
  isDrained,
  type Job,
  type JobDefinition,
  nextDeadline,
  type RequestId,
  recover,
  type State,
  type StopMode,
  schedule,
  Waits,
} from './core/index.ts';
import type { Clock, Log, OutputShell, ProcessShell } from './shells.ts';
import type { Snapshot, Store } from './store/index.ts';

export interface SupervisorOptions {
  readonly store: Store;
  readonly processes: ProcessShell;
  readonly output: OutputShell;
  readonly clock: Clock;
  readonly log: Log;
  /** After a stop was asked for, the last job is gone: the daemon may exit. Called once. */
  readonly onDrained: () => void;
}

type RequestEvent = Extract<Event, { request: RequestId }>;
type WithoutRequest<E> = E extends unknown ? Omit<E, 'request'> : never;

interface PendingAnswer {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: CorralError) => void;
}

/** Longest delay that setTimeout takes; a later deadline is reached in several steps. */
const maxTimerMs = 2 ** 31 - 1;

/** While the store fails, what happened to processes is kept and committed again after this long. */
const storeRetryMs = 500;

const noJobs: EndedJobs = new Map();

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #state: State = emptyState();
  readonly #waits = new Waits();
  readonly #answers = new Map<RequestId, PendingAnswer>();
  #nextRequest: RequestId = 1;
  #inbox: Event[] = [];
  #turnIsPlanned = false;
  #storeFails = false;
  #alarm: { atMonoMs: number; timer: NodeJS.Timeout } | null = null;
  #drainedWasSaid = false;
  /** Jobs that the turn under way has changed, or removed: newer than the store, forgotten once it has them. */
  readonly #uncommitted = new Map<number, Job | 'removed'>();
  readonly #uncommittedByKey = new Map<string, Job>();
  readonly #watchers = new Map<number, Set<() => void>>();

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /**
   * Takes over what the store holds, after the processes of an earlier daemon have been ended.
   *
   * @param defaultGroups groups that exist from the start; the store's settings for them win
   * @returns how many jobs had lost their supervisor
   */
  recover(snapshot: Snapshot, defaultGroups: readonly Group[]): number {
    const { store, clock } = this.#options;
    const now = clock();
    const known = new Set(snapshot.groups.map((group) => group.name));
    const added = defaultGroups.filter((group) => !known.has(group.name)).map(newGroup);
    const loaded = snapshot.jobs.map((after): Change => ({ kind: 'job', before: null, after }));
    apply(this.#state, [...snapshot.groups.map(newGroup), ...added, ...loaded]);
    this.#state.nextJobId = Math.max(this.#state.nextJobId, snapshot.nextJobId);
    const recovered = recover(snapshot.jobs, now);
    apply(this.#state, recovered);
    store.commit([...added, ...recovered], now.wallMs);
    this.#logTransitions(recovered);
    return recovered.length;
  }

  /** Starts what is queued. */
  start(): void {
    this.#planTurn();
  }

  /** Something happened. It is decided upon in this turn of the event loop. */
  emit(event: Event): void {
    this.#inbox.push(event);
    this.#planTurn();
  }

  /** Resolves once the jobs are durable. All of them are accepted, or none. */
  submit(definitions: readonly JobDefinition[]): Promise<{ id: number; created: boolean }[]> {
    return this.#request({ type: 'submit', definitions, known: new Map() });
  }

  cancel(jobIds: readonly number[], mode: StopMode): Promise<BulkReport> {
    return this.#request({ type: 'cancel', jobIds, mode, ended: noJobs });
  }

  signal(jobIds: readonly number[], signal: SignalName): Promise<BulkReport> {
    return this.#request({ type: 'signal', jobIds, signal, ended: noJobs });
  }

  remove(jobIds: readonly number[]): Promise<BulkReport> {
    return this.#request({ type: 'remove', jobIds, ended: noJobs });
  }

  setGroup(name: string, settings: { parallel: number | null; maxQueued: number | null }): Promise<GroupView> {
    return this.#request<string>({ type: 'setGroup', name, ...settings }).then(() => {
      const group = this.#state.groups.get(name);
      if (group === undefined) throw new Error(`group ${name} vanished`);
      return groupView(group);
    });
  }

  groups(): GroupView[] {
    return [...this.#state.groups.values()].map(groupView);
  }

  /** @throws CorralError `JOB_NOT_FOUND` */
  job(jobId: number): Job {
    const job = this.#find(jobId);
    if (job === null)
      throw new CorralError('JOB_NOT_FOUND', `There is no job ${jobId}. List the known ones: corral ls --all`);
    return job;
  }

  /**
   * Resolves when all (or any) of the jobs have ended, or when the time is over.
   *
   * @param signal gives the wait up, for a client that went away
   * @throws CorralError `JOB_NOT_FOUND`
   */
  async wait(
    jobIds: readonly number[],
    mode: 'all' | 'any',
    holdMs: number,
    signal: AbortSignal,
  ): Promise<{ ended: boolean; finished: number[] }> {
    const unique = [...new Set(jobIds)];
    const isLive = (jobId: number) => this.#state.live.has(jobId);
    for (const jobId of unique) this.job(jobId);
    const hasEnded = () => (mode === 'all' ? !unique.some(isLive) : !unique.every(isLive));
    if (!hasEnded() && holdMs > 0) {
      const wait = this.#waits.add(unique.filter(isLive), mode, this.#options.clock().monoMs + holdMs);
      signal.addEventListener('abort', wait.giveUp, { once: true });
      this.#setAlarm();
      await wait.settled;
      signal.removeEventListener('abort', wait.giveUp);
    }
    return { ended: hasEnded(), finished: unique.filter((jobId) => !isLive(jobId)) };
  }

  /** Calls back once, at the next change of a job that has not ended. Returns how to give up. */
  onNextChange(jobId: number, onChange: () => void): () => void {
    const watchers = this.#watchers.get(jobId) ?? new Set();
    this.#watchers.set(jobId, watchers.add(onChange));
    return () => {
      if (watchers.delete(onChange) && watchers.size === 0 && this.#watchers.get(jobId) === watchers)
        this.#watchers.delete(jobId);
    };
  }

  #request<R>(event: WithoutRequest<RequestEvent>): Promise<R> {
    const request = this.#nextRequest++;
    return new Promise<R>((resolve, reject) => {
      this.#answers.set(request, { resolve: resolve as (result: unknown) => void, reject });
      this.emit({ ...event, request } as RequestEvent);
    });
  }

  #planTurn(): void {
    if (this.#turnIsPlanned || this.#storeFails) return;
    this.#turnIsPlanned = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#turnIsPlanned = false;
    const events = this.#inbox;
    this.#inbox = [];
    const { store, processes, clock } = this.#options;
    const now = clock();
    const changes: Change[] = [];
    const effects: Effect[] = [];
    const undos: (() => void)[] = [];
    const take = (decision: { changes: readonly Change[]; effects: readonly Effect[] }) => {
      undos.push(apply(this.#state, decision.changes));
      for (const change of decision.changes) this.#remember(change);
      changes.push(...decision.changes);
      effects.push(...decision.effects);
    };
    for (const event of events) take(decide(this.#state, this.#withFacts(event), now));
    take(schedule(this.#state, processes.tier));
    try {
      store.commit(changes, now.wallMs);
    } catch (error) {
      if (!(error instanceof CorralError)) throw error;
      for (const undo of undos.reverse()) undo();
      this.#forgetUncommitted();
      this.#storeFailed(events, error);
      return;
    }
    this.#forgetUncommitted();
    this.#logTransitions(changes);
    for (const effect of effects) this.#tryToAct(effect);
    for (const change of changes) if (change.kind === 'job') this.#announce(change.after.id);
    this.#setAlarm();
    if (isDrained(this.#state) && !this.#drainedWasSaid) {
      this.#drainedWasSaid = true;
      this.#options.onDrained();
    }
  }

  /** Nothing was changed. Callers are told; what happened to processes stays true and is committed when the store works again. */
  #storeFailed(events: readonly Event[], error: CorralError): void {
    this.#options.log.error('store failed', { error: error.message });
    const kept: Event[] = [];
    for (const event of events) {
      if ('request' in event) this.#takeAnswer(event.request)?.reject(error);
      else kept.push(event);
    }
    this.#inbox = [...kept, ...this.#inbox];
    this.#storeFails = true;
    setTimeout(() => {
      this.#storeFails = false;
      this.#planTurn();
    }, storeRetryMs);
  }

  /** Requests name jobs that the state may no longer hold; the store is asked for those before anything is decided. */
  #withFacts(event: Event): Event {
    switch (event.type) {
      case 'submit': {
        const keys = event.definitions.flatMap(({ idempotencyKey }) => idempotencyKey ?? []);
        const known = new Map(
          keys.flatMap((key) => this.#findByKey(key) ?? []).map((job) => [job.definition.idempotencyKey ?? '', job]),
        );
        return { ...event, known };
      }
      case 'cancel':
      case 'signal':
      case 'remove':
        return {
          ...event,
          ended: new Map(event.jobIds.flatMap((jobId) => this.#findEnded(jobId) ?? []).map((job) => [job.id, job])),
        };
      default:
        return event;
    }
  }

  #find(jobId: number): Job | null {
    return this.#state.live.get(jobId) ?? this.#findEnded(jobId);
  }

  #findEnded(jobId: number): Job | null {
    if (this.#state.live.has(jobId)) return null;
    const newer = this.#uncommitted.get(jobId);
    if (newer === 'removed') return null;
    return newer ?? this.#options.store.findJob(jobId);
  }

  #findByKey(key: string): Job | null {
    const newer = this.#uncommittedByKey.get(key);
    if (newer !== undefined) return newer;
    const stored = this.#options.store.findJobByKey(key);
    return stored !== null && this.#uncommitted.get(stored.id) === 'removed' ? null : stored;
  }

  #remember(change: Change): void {
    if (change.kind === 'jobRemoved') this.#uncommitted.set(change.jobId, 'removed');
    if (change.kind !== 'job') return;
    const { id, definition } = change.after;
    this.#uncommitted.set(id, change.after);
    if (definition.idempotencyKey !== null) this.#uncommittedByKey.set(definition.idempotencyKey, change.after);
  }

  #forgetUncommitted(): void {
    this.#uncommitted.clear();
    this.#uncommittedByKey.clear();
  }

  #announce(jobId: number): void {
    const watchers = this.#watchers.get(jobId);
    this.#watchers.delete(jobId);
    for (const onChange of watchers ?? []) onChange();
  }

  /** What goes wrong with one job, because of what it did to its files or its cgroup, must not end the others. */
  #tryToAct(effect: Effect): void {
    try {
      this.#act(effect);
    } catch (error) {
      const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#options.log.error(`effect ${effect.type} failed`, { error: reason });
    }
  }

  #act(effect: Effect): void {
    const { processes, output } = this.#options;
    switch (effect.type) {
      case 'reply':
        return this.#takeAnswer(effect.request)?.resolve(effect.result);
      case 'refuse':
        return this.#takeAnswer(effect.request)?.reject(new CorralError(effect.code, effect.message));
      case 'launch':
        return processes.launch(effect.job);
      case 'terminate':
        return processes.terminate(effect.jobId);
      case 'kill':
        return processes.kill(effect.jobId);
      case 'signal':
        return processes.signal(effect.jobId, effect.signal);
      case 'removeOutput':
        return output.remove(effect.jobId);
      case 'finished':
        return this.#waits.jobEnded(effect.job.id);
      default:
        return unreachable(effect);
    }
  }

  #takeAnswer(request: RequestId): PendingAnswer | undefined {
    const answer = this.#answers.get(request);
    this.#answers.delete(request);
    return answer;
  }

  /** One timer for all deadlines: the next one of a job or of a wait. */
  #setAlarm(): void {
    const next = [nextDeadline(this.#state), this.#waits.nextDeadline()].filter((at) => at !== null);
    const atMonoMs = next.length === 0 ? null : Math.min(...next);
    if (this.#alarm?.atMonoMs === atMonoMs) return;
    if (this.#alarm !== null) clearTimeout(this.#alarm.timer);
    this.#alarm = null;
    if (atMonoMs === null) return;
    const delayMs = Math.min(Math.max(0, Math.ceil(atMonoMs - this.#options.clock().monoMs)), maxTimerMs);
    this.#alarm = { atMonoMs, timer: setTimeout(() => this.#ring(), delayMs) };
  }

  #ring(): void {
    this.#alarm = null;
    const { monoMs } = this.#options.clock();
    this.#waits.expire(monoMs);
    const due = nextDeadline(this.#state);
    if (due !== null && due <= monoMs) this.emit({ type: 'tick' });
    else this.#setAlarm();
  }

  #logTransitions(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind !== 'job') continue;
      const { before, after } = change;
      const from = before?.phase.status ?? null;
      const to = after.phase.status;
      if (from === to) continue;
      const attempt = after.attempts.length > 0 ? currentAttempt(after) : null;
      const cause = 'cause' in after.phase ? after.phase.cause : (attempt?.cause ?? null);
      this.#options.log.info(`job ${after.id} ${from ?? 'new'} → ${to}`, {
        jobId: after.id,
        attempt: attempt?.number ?? 0,
        from,
        to,
        cause,
      });
    }
  }
}

function newGroup(after: Group): Change {
  return { kind: 'group', before: null, after };
}
