/**
 * The loop: event → decide (pure) → commit → act.
 *
 * Events are gathered for one turn of Node's event loop, decided one after another, committed together, and only then acted
 * upon. Whatever an action brings about comes back as another event. Nothing else changes state.
 */
import { CorralError, type GroupView, type JobStatus, type ScopeReport, type StuckJob } from '../protocol/index.ts';
import {
  apply,
  asksForRecord,
  type Change,
  type Decision,
  decide,
  type Effect,
  type Event,
  emptyState,
  type Group,
  groupView,
  type Instant,
  isDrained,
  isLasting,
  isUnkillable,
  type Job,
  jobNotFound,
  loadOf,
  nextDeadline,
  QueueWatch,
  type Request,
  reachesProcesses,
  retriesHeldBack,
  type StalledQueue,
  type State,
  type StuckCriteria,
  schedule,
  scopeReport,
  settleScopes,
  stalledJobs,
  stalledLaunches,
  stuckJobs,
  type VitalFacts,
  Waits,
  waitingFor,
} from './core/index.ts';
import {
  Alarm,
  Answers,
  actOn,
  type Entry,
  type FactSources,
  type Hands,
  Ledger,
  logTransitions,
  noFacts,
  Pace,
  ScopeWatchers,
  takeOver,
  Watchers,
  withFacts,
} from './loop/index.ts';
import type { Clock, Log, OutputShell, ProcessShell } from './shells.ts';
import type { Snapshot, Store } from './store/index.ts';

export interface SupervisorOptions {
  readonly store: Store;
  readonly processes: ProcessShell;
  readonly output: OutputShell;
  readonly clock: Clock;
  readonly log: Log;
  /** Called with changes once they are on the disk. */
  readonly onWritten: (changes: readonly Change[]) => void;
  /**
   * After a stop was asked for, the last job is gone: the daemon may exit. Called once. `unwritten`: changes that the store did
   * not take to the last.
   */
  readonly onDrained: (unwritten: number) => void;
}

/** What the loop knows of how the daemon is. */
type LoopFacts = Pick<
  VitalFacts,
  | 'unwrittenChanges'
  | 'pausedFor'
  | 'load'
  | 'startsPerMinute'
  | 'endsPerMinute'
  | 'stalledQueues'
  | 'stalledLaunches'
  | 'retriesHeldBack'
  | 'unkillableJobs'
  | 'storeLatencyMs'
>;

/** While the store fails, it is tried again after this long. */
const storeRetryMs = 500;

/** How long a daemon that stops goes on trying to write down how its jobs ended. A service manager waits for it. */
const lastWriteMs = 3_000;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #state: State = emptyState();
  readonly #waits = new Waits();
  readonly #answers = new Answers();
  #inbox: Event[] = [];
  #turnIsPlanned = false;
  readonly #ledger: Ledger;
  readonly #sources: FactSources;
  readonly #hands: Hands;
  #retry: NodeJS.Timeout | null = null;
  readonly #alarm = new Alarm(() => this.#ring());
  /** What became of the jobs of an earlier daemon; told at the start. */
  #recovered: readonly Change[] = [];
  #drained: { readonly atMonoMs: number; wasSaid: boolean } | null = null;
  readonly #watchers = new Watchers();
  readonly #scopeWatchers = new ScopeWatchers();
  readonly #pace = new Pace();
  readonly #queueWatch = new QueueWatch();
  #stalledQueues: readonly StalledQueue[] = [];

  constructor(options: SupervisorOptions) {
    this.#options = options;
    const { store, processes, output, log, clock } = options;
    this.#ledger = new Ledger(store, () => clock().monoMs);
    this.#sources = { state: this.#state, ledger: this.#ledger, store, processes };
    this.#hands = {
      processes,
      output,
      log,
      answers: this.#answers,
      waits: this.#waits,
      scopeWatchers: this.#scopeWatchers,
      emit: (event) => this.emit(event),
      goOn: () => this.#planTurn(),
    };
  }

  /** Set while the store cannot be written. */
  get storeTrouble(): CorralError | null {
    return this.#ledger.trouble;
  }

  /** How the loop is, and what it has to do. Looks at each job that has not ended. */
  vitals(): LoopFacts {
    const now = this.#options.clock();
    return {
      unwrittenChanges: this.#ledger.unwritten,
      pausedFor: this.pausedFor,
      load: loadOf(this.#state, now),
      ...this.#pace.lastMinute(now.monoMs),
      stalledQueues: this.#stalledQueues,
      stalledLaunches: stalledLaunches(this.#state, now),
      retriesHeldBack: retriesHeldBack(this.#state.retryPace, now.monoMs),
      unkillableJobs: [...this.#state.live.values()].filter(isUnkillable).map(({ id }) => id),
      storeLatencyMs: this.#ledger.latencyMs,
    };
  }

  /** At each beat of the daemon: looks for what should have moved by itself. */
  lookForStalls(): void {
    const before = new Set(this.#stalledQueues.map(({ group }) => group));
    if (this.#retry === null) this.#stalledQueues = this.#queueWatch.look(this.#state, this.#options.clock());
    else {
      this.#queueWatch.forget(); // Nothing is started while the store fails.
      this.#stalledQueues = [];
    }
    const news = this.#stalledQueues.filter(({ group }) => !before.has(group));
    for (const { group, jobId } of news) this.#options.log.error('queue stalled', { group, jobId });
    if (news.length > 0) this.#planTurn(); // Should the turn have been lost that would have started it, this is one.
  }

  /** Running jobs to which the criteria apply. */
  stuck(criteria: StuckCriteria): StuckJob[] {
    return stuckJobs(this.#state, criteria, this.#options.clock());
  }

  /** Running jobs that have reported progress, and then none for so long. */
  stalledJobs(stuckAfterMs: number | null): number[] {
    return stalledJobs(this.#state, stuckAfterMs, this.#options.clock());
  }

  /** Why nothing is accepted or started; `null` where that is not so. */
  get pausedFor(): string | null {
    const { admission } = this.#state;
    return typeof admission === 'object' ? admission.pausedFor : null;
  }

  /**
   * Takes over what the store holds, after the processes of an earlier daemon have been ended.
   *
   * @param defaultGroups groups that exist from the start; the store's settings for them win
   * @returns how many jobs had lost their supervisor
   */
  recover(snapshot: Snapshot, defaultGroups: readonly Group[]): number {
    const { store, clock, output, processes, log } = this.#options;
    const now = clock();
    const facts = {
      hostLimits: processes.hostLimits,
      outputBytes: (job: Job) => output.facts(job).bytes,
      removeOutput: (job: Job, attempts: readonly number[]) =>
        actOn([{ type: 'removeOutput', job, attempts }], this.#hands),
    };
    const { added, recovered, lost } = takeOver(this.#state, snapshot, defaultGroups, facts, now);
    store.commit([...added, ...recovered], now.wallMs);
    logTransitions(log, recovered);
    this.#recovered = recovered;
    return lost;
  }

  /** Starts what is queued. */
  start(): void {
    this.#options.onWritten(this.#recovered);
    this.#recovered = [];
    this.#planTurn();
  }

  /** Something happened. It is decided upon in this turn of the event loop. */
  emit(event: Event): void {
    this.#inbox.push(event);
    this.#planTurn();
  }

  /**
   * Puts a request to the loop. Resolves with what `decide` replies, once that is durable.
   *
   * @throws CorralError with what `decide` refuses it for; `STORE_FAILED`
   */
  ask<R>(request: Request): Promise<R> {
    return this.#answers.expect((number) => this.emit({ ...noFacts, ...request, request: number } as Event));
  }

  groups(): GroupView[] {
    return [...this.#state.groups.values()].map(groupView);
  }

  /** Why a queued job has not started, in a sentence; `null` where it has. `full` says how many jobs are before it. */
  waitingFor(job: Job, detail: 'brief' | 'full' = 'brief'): string | null {
    if (!this.#state.groups.has(job.definition.group)) return null; // A hook is told of a job whose group has gone since.
    const reason = waitingFor(this.#state, job, detail);
    return reason === null ? null : (this.storeTrouble?.message ?? reason);
  }

  runningJobs(): number[] {
    const running = [...this.#state.live.values()].filter(({ phase }) => hasProcesses(phase.status));
    return running.map(({ id }) => id).sort((a, b) => a - b);
  }

  /** @throws CorralError `JOB_NOT_FOUND` */
  job(jobId: number): Job {
    const job = this.#ledger.certain(jobId, this.#state.live.get(jobId));
    if (job === null) throw jobNotFound(jobId);
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
    const isLive = (jobId: number) => this.#state.live.has(jobId) || !this.#ledger.isWritten(jobId);
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
    return this.#watchers.onNextChange(jobId, onChange);
  }

  /** Calls back once, when an event of a job, or with `null` of any, has been written down. Returns how to give up. */
  onNextEvent(jobId: number | null, onChange: () => void): () => void {
    return this.#watchers.onNextEvent(jobId, onChange);
  }

  /** A client holds a call on these jobs, until the function that is returned is called. */
  attach(jobIds: readonly number[]): () => void {
    this.emit({ type: 'attached', jobIds });
    return () => this.emit({ type: 'detached', jobIds });
  }

  /** The connection of a client that held a scope is closed. */
  scopeClientGone(scope: string): void {
    this.emit({ type: 'scopeClientGone', scope });
  }

  /** @throws CorralError `SCOPE_NOT_FOUND` */
  scope(id: string): ScopeReport {
    const known = this.#state.scopes.get(id) ?? this.#options.store.findScope(id);
    if (known === null)
      throw new CorralError(
        'SCOPE_NOT_FOUND',
        `There is no scope ${id.slice(0, 100)}, or its report is not kept any more.`,
      );
    const jobIds = [...(this.#state.scopes.get(id)?.live ?? [])];
    const live = jobIds.flatMap((jobId) => this.#state.live.get(jobId) ?? []);
    const isClosing = known.scope.phase.status === 'closing';
    return scopeReport(known, live, isClosing ? this.#options.processes.countAlive(jobIds) : null);
  }

  /** Calls back once, when a scope is closed and empty. Returns how to give up. */
  onScopeClosed(id: string, onClosed: () => void): () => void {
    return this.#scopeWatchers.add(id, onClosed);
  }

  #planTurn(): void {
    if (this.#turnIsPlanned) return;
    this.#turnIsPlanned = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#turnIsPlanned = false;
    const events = this.#inbox;
    this.#inbox = [];
    const now = this.#options.clock();
    if (this.#retry === null) this.#turnWithStore(events, now);
    else this.#turnWithoutStore(events, now);
    this.#setAlarm();
    this.#checkDrained(now);
  }

  #turnWithStore(events: readonly Event[], now: Instant): void {
    const { trouble } = this.#ledger;
    const changes: Change[] = [];
    const effects: Effect[] = [];
    const undos: (() => void)[] = [];
    const take = (decision: Decision) => {
      undos.push(apply(this.#state, decision.changes));
      this.#ledger.note(decision.changes);
      changes.push(...decision.changes);
      effects.push(...decision.effects);
    };
    for (const event of events) {
      const complete = this.#withFacts(event);
      if (complete !== null) take(decide(this.#state, complete, now));
    }
    take(schedule(this.#state, this.#options.processes.tier, now));
    take(settleScopes(this.#state));
    try {
      this.#ledger.commit(changes, now.wallMs);
    } catch (error) {
      if (!(error instanceof CorralError)) throw error;
      for (const undo of undos.reverse()) undo();
      this.#ledger.forget();
      if (trouble === null) this.#options.log.error('store failed', { error: error.message });
      this.#turnWithoutStore(events, now);
      return;
    }
    logTransitions(this.#options.log, changes);
    this.#pace.note(changes, now.monoMs);
    this.#carryOut({ changes, effects, wallMs: now.wallMs });
  }

  /**
   * While the store fails, nothing is accepted or started. What happens to processes is decided and acted upon all the same: a
   * job can be ended, and a limit holds. It is written down, and told as certain, when the store works again.
   */
  #turnWithoutStore(events: readonly Event[], now: Instant): void {
    const trouble = this.#ledger.trouble?.message ?? 'The store cannot be written.';
    for (const event of events) {
      if (asksForRecord(event) && 'request' in event) {
        this.#answers.reject(event.request, new CorralError('STORE_FAILED', `${trouble} Nothing was changed.`));
        continue;
      }
      // One that was refused already, when its facts could not be looked up, is not carried out now.
      if ('request' in event && !this.#answers.isOpen(event.request)) continue;
      const complete = this.#withFacts(event);
      if (complete === null) continue;
      const { changes, effects } = decide(this.#state, complete, now);
      apply(this.#state, changes);
      logTransitions(this.#options.log, changes);
      this.#pace.note(changes, now.monoMs);
      // That a job is over already is no answer either while that is not written down.
      const isWritten = !('jobIds' in event) || event.jobIds.every((jobId) => this.#ledger.isWritten(jobId));
      const needsRecord = changes.some(isLasting);
      const isCertain = (effect: Effect) => reachesProcesses(effect) || (!needsRecord && isWritten);
      actOn(effects.filter(isCertain), this.#hands);
      if ('request' in event)
        this.#answers.reject(
          event.request,
          new CorralError(
            'STORE_FAILED',
            `${trouble} It is done all the same, and written down as soon as that works.`,
          ),
        );
      // What the store would not keep in any case need not wait for it: checks for idleness go on by the second.
      if (changes.length === 0 || (!needsRecord && effects.every(isCertain))) continue;
      this.#ledger.postpone({ changes, effects: effects.filter((effect) => !isCertain(effect)), wallMs: now.wallMs });
    }
    this.#retry ??= setTimeout(() => this.#catchUp(), storeRetryMs);
  }

  #catchUp(): void {
    this.#retry = null;
    for (const entry of this.#ledger.catchUp()) this.#carryOut(entry);
    if (this.#ledger.trouble === null) this.#options.log.info('store works again');
    else this.#retry = setTimeout(() => this.#catchUp(), storeRetryMs);
    this.#planTurn();
  }

  /** What was decided is on the disk. */
  #carryOut({ changes, effects }: Entry): void {
    actOn(effects, this.#hands);
    this.#watchers.announce(changes);
    this.#options.onWritten(changes);
  }

  #checkDrained(now: Instant): void {
    if (!isDrained(this.#state)) return;
    this.#drained ??= { atMonoMs: now.monoMs, wasSaid: false };
    const { unwritten } = this.#ledger;
    if (this.#drained.wasSaid || (unwritten > 0 && now.monoMs - this.#drained.atMonoMs < lastWriteMs)) return;
    this.#drained.wasSaid = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#options.onDrained(unwritten);
  }

  /** Requests name jobs that the state may no longer hold. A request about one that the store cannot give is refused: `null`. */
  #withFacts(event: Event): Event | null {
    try {
      return withFacts(event, this.#sources);
    } catch (error) {
      if (!(error instanceof CorralError && 'request' in event)) throw error;
      this.#answers.reject(event.request, error);
      return null;
    }
  }

  /** One timer for all deadlines: the next one of a job or of a wait. */
  #setAlarm(): void {
    const next = [nextDeadline(this.#state), this.#waits.nextDeadline()].filter((at) => at !== null);
    const atMonoMs = next.length === 0 ? null : Math.min(...next);
    this.#alarm.setFor(atMonoMs, this.#options.clock().monoMs);
  }

  #ring(): void {
    const { monoMs } = this.#options.clock();
    this.#waits.expire(monoMs);
    const due = nextDeadline(this.#state);
    if (due !== null && due <= monoMs) this.emit({ type: 'tick' });
    else this.#setAlarm();
  }
}

function hasProcesses(status: JobStatus): boolean {
  return status === 'running' || status === 'stopping';
}
