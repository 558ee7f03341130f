/** All events at random, in turns as the supervisor takes them, on processes that are made up: what must hold whatever happens. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import {
  apply,
  asksForRecord,
  type Change,
  type CheckedJob,
  currentAttempt,
  type Decision,
  deadlineOf,
  decide,
  definitionFrom,
  type Effect,
  type EndedJobs,
  type Event,
  emptyState,
  endLeftovers,
  groupEnters,
  hasEnded,
  holdsSlot,
  idleCheckOf,
  isLasting,
  isPaused,
  isReady,
  type Job,
  nextDeadline,
  nextReady,
  noClient,
  noUsage,
  recover,
  restoreScopes,
  revived,
  type State,
  type StoredScope,
  schedule,
  settleDependents,
  settleScopes,
  startsBefore,
  viewOf,
} from '../../src/daemon/core/index.ts';
import { builtInDefaults } from '../../src/daemon/core/profiles.ts';
import { causes, frameLimits, isFinal, type JobSpec, jobStatuses } from '../../src/protocol/index.ts';
import { refusalsOf } from '../support/listed-codes.ts';
import { groupOf, instant } from '../support/records.ts';

const groups = ['default', 'b'];
const scopes = ['s1', 's2', 's3'];

/** Of a command, each number picks among what there is. */
type Command =
  | {
      readonly do: 'submit' | 'settle';
      readonly spec: Partial<JobSpec>;
      readonly after: readonly number[];
      readonly scope: number;
    }
  | { readonly do: 'jobs'; readonly type: JobsVerb; readonly picks: readonly number[] }
  | {
      readonly do: 'group';
      readonly type: 'pauseGroup' | 'resumeGroup' | 'letRun' | 'runPending';
      readonly pick: number;
    }
  | { readonly do: 'setGroup'; readonly pick: number; readonly settings: object }
  | { readonly do: 'scope'; readonly type: 'openScope' | 'closeScope' | 'scopeClientGone'; readonly pick: number }
  | { readonly do: 'process'; readonly what: ProcessVerb; readonly pick: number }
  | { readonly do: 'edit'; readonly pick: number; readonly edit: object }
  | { readonly do: 'move'; readonly pick: number; readonly to: number }
  | { readonly do: 'report' | 'call'; readonly pick: number; readonly percent: number }
  | { readonly do: 'disk'; readonly shortage: string | null }
  | { readonly do: 'retryPace'; readonly perSecond: number; readonly burst: number }
  | { readonly do: 'sampled'; readonly cpuUsec: number }
  | { readonly do: 'resetStuck' | 'shutdown' | 'restart' };
type JobsVerb =
  | 'cancel'
  | 'kill'
  | 'signal'
  | 'pause'
  | 'resume'
  | 'retry'
  | 'remove'
  | 'attached'
  | 'detached'
  | 'heartbeat';
type ProcessVerb =
  | 'launched'
  | 'failed'
  | 'noSpace'
  | 'exit0'
  | 'exit1'
  | 'killed'
  | 'oom'
  | 'strays'
  | 'emptied'
  | 'measured'
  | 'kept';

const just = <T>(value: T) => fc.constant(value);
const ms = fc.constantFrom(1, 50, 100, 300);
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });
/** What keeps most jobs from ever running, or from running for long. */
const seldom = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 3, arbitrary: just(undefined) }, { weight: 1, arbitrary });
const spec = fc
  .record({
    group: fc.oneof({ weight: 30, arbitrary: fc.constantFrom(...groups) }, { weight: 1, arbitrary: fc.constant('c') }),
    priority: maybe(fc.integer({ min: -1, max: 1 })),
    delayMs: seldom(ms),
    startAt: seldom(fc.integer({ min: 0, max: 3_000 }).map((wallMs) => new Date(wallMs).toISOString())),
    afterMode: maybe(fc.constantFrom('success' as const, 'any' as const)),
    maxRuntimeMs: seldom(ms),
    killGraceMs: maybe(fc.option(ms)),
    startDeadlineMs: seldom(ms),
    leaseMs: seldom(ms),
    ttlMs: maybe(fc.option(ms)),
    idle: fc.record(
      {
        checks: fc.constantFrom(1, 1, 2),
        intervalMs: fc.constantFrom(100, 1_000),
        signals: fc.constant(['cpu' as const]),
        dryRun: fc.constantFrom(false, false, false, true),
      },
      { requiredKeys: ['checks', 'intervalMs'] },
    ),
    retry: maybe(
      fc.record({
        limit: fc.constantFrom(1, 2),
        delayMs: fc.constantFrom(0, 100),
        breakerFailures: fc.constantFrom(null, 2),
      }),
    ),
    onSupervisorLost: maybe(fc.constant('retry' as const)),
    onOutputLimit: maybe(fc.constant('kill' as const)),
    outputLimitBytes: maybe(fc.constant(100)),
  })
  .map((one) => {
    const clean = Object.fromEntries(Object.entries(one).filter(([, value]) => value !== undefined));
    if ('delayMs' in clean) delete clean.startAt;
    return clean as Partial<JobSpec>;
  });
const pick = fc.nat({ max: 30 });
const verbs: JobsVerb[] = [
  'cancel',
  'kill',
  'signal',
  'pause',
  'resume',
  'retry',
  'remove',
  'attached',
  'detached',
  'heartbeat',
];
const outcomes: ProcessVerb[] = ['launched', 'launched', 'launched', 'failed', 'noSpace'];
const ends: ProcessVerb[] = [
  'exit0',
  'exit1',
  'killed',
  'oom',
  'strays',
  'emptied',
  'emptied',
  'measured',
  'measured',
  'kept',
];
const settings = fc.oneof(
  fc.record({ parallel: fc.integer({ min: 0, max: 4 }) }),
  fc.record({ ratePerSecond: fc.constantFrom(null, 8, 16), burst: fc.constantFrom(1, 2) }),
  fc.record({ mode: fc.constantFrom('auto', 'manual') }),
  fc.record({ paused: fc.boolean() }),
  fc.record({ maxQueued: fc.constantFrom(1, 5, 100) }),
);
const edit = fc.oneof(
  fc.record({ priority: fc.integer({ min: -1, max: 1 }) }),
  fc.record({ startDeadlineMs: fc.option(ms) }),
  fc.record({ delayMs: ms }),
  fc.record({ leaseMs: fc.option(ms) }),
);
const weighed: readonly [number, fc.Arbitrary<Command>][] = [
  [8, fc.record({ do: just('submit' as const), spec, after: fc.array(pick, { maxLength: 2 }), scope: fc.nat(8) })],
  [1, fc.record({ do: just('settle' as const), spec, after: fc.array(pick, { maxLength: 2 }), scope: fc.nat(8) })],
  [
    8,
    fc.record({ do: just('jobs' as const), type: fc.constantFrom(...verbs), picks: fc.array(pick, { maxLength: 3 }) }),
  ],
  [
    3,
    fc.record({
      do: just('group' as const),
      type: fc.constantFrom('pauseGroup' as const, 'resumeGroup', 'letRun', 'runPending'),
      pick,
    }),
  ],
  [2, fc.record({ do: just('setGroup' as const), pick, settings })],
  [
    4,
    fc.record({
      do: just('scope' as const),
      type: fc.constantFrom('openScope' as const, 'openScope', 'closeScope', 'scopeClientGone'),
      pick,
    }),
  ],
  [10, fc.record({ do: just('process' as const), what: fc.constantFrom(...outcomes), pick })],
  [7, fc.record({ do: just('process' as const), what: fc.constantFrom(...ends), pick })],
  [5, fc.record({ do: just('edit' as const), pick, edit })],
  [1, fc.record({ do: just('move' as const), pick, to: pick })],
  [
    3,
    fc.record({
      do: fc.constantFrom('report' as const, 'report', 'call'),
      pick,
      percent: fc.integer({ min: 0, max: 3 }),
    }),
  ],
  [1, fc.record({ do: just('disk' as const), shortage: fc.constantFrom(null, 'Full.') })],
  [6, fc.record({ do: just('sampled' as const), cpuUsec: fc.constantFrom(0, 0, 0, 100_000) })],
  [
    1,
    fc.record({ do: just('retryPace' as const), perSecond: fc.constantFrom(1, 20, 100), burst: fc.constantFrom(1, 2) }),
  ],
  [2, just({ do: 'resetStuck' as const })],
  [1, fc.record({ do: fc.constantFrom('shutdown' as const, 'restart', 'restart') })],
];
const command = fc.oneof(...weighed.map(([weight, arbitrary]) => ({ weight, arbitrary })));
const step = fc.record({
  /** `alarm`: when it next rings, and not a moment later. */
  afterMs: fc.oneof(just(0), fc.integer({ min: 0, max: 200 }), fc.constantFrom(1_000, 10_000), just('alarm' as const)),
  clockJumpMs: fc.oneof(
    { weight: 20, arbitrary: just(0) },
    { weight: 1, arbitrary: fc.constantFrom(-86_400_000, 86_400_000) },
  ),
  commands: fc.array(command, { minLength: 1, maxLength: 4 }),
  fails: fc.integer({ min: 0, max: 5 }).map((roll) => roll === 0),
});

/** An attempt as the shell has it. */
interface Process {
  readonly attempt: number;
  stage: 'launching' | 'alive' | 'leaderless';
  frozen: boolean;
  told: boolean;
}

class World {
  state: State = emptyState();
  /** The newest record of each job, and what a store has that is given only what is lasting. */
  readonly newest = new Map<number, Job>();
  readonly stored = new Map<number, Job>();
  processes = new Map<number, Process>();
  counts = new Map(groups.map((name) => [name, { starts: 0, ends: 0 }]));
  /** Scopes that ever were. */
  readonly known = new Set<string>();
  inbox: Event[] = [];
  sampling: { jobId: number; attempt: number }[] = [];
  /** Calls that clients hold, each with its jobs. */
  readonly holds: (readonly number[])[] = [];
  monoMs = 0;
  offsetMs = 0;
  clockWasSet = false;
  readonly reached = new Map<string, number>();

  constructor() {
    const entered = groups.flatMap((name) => groupEnters(groupOf(name, { parallel: 2, maxQueued: 100 }), this.now()));
    apply(this.state, entered);
  }

  now() {
    return { ...instant(this.monoMs, this.monoMs + this.offsetMs, this.monoMs), unitRandom: 0.5 };
  }

  reach(what: string): void {
    this.reached.set(what, (this.reached.get(what) ?? 0) + 1);
  }

  pickJob(index: number): number {
    const known = this.state.nextJobId - 1;
    // Mostly the newest, so that much happens to the same ones.
    return index > 10 ? Math.max(1, known - (index % 4)) : 1 + (index % Math.max(1, known));
  }

  callsOn(jobId: number): number {
    return this.holds.filter((jobIds) => jobIds.includes(jobId)).length;
  }

  endedOf(jobIds: readonly number[]): EndedJobs {
    const found = jobIds.flatMap((id) => (this.state.live.has(id) ? [] : (this.newest.get(id) ?? [])));
    return new Map(found.map((job) => [job.id, { ...job, client: noClient }]));
  }

  withFacts(event: Event): Event {
    if (event.type === 'retry') {
      const ended = this.endedOf(event.jobIds);
      const dependencies = [...ended.values()].flatMap((job) =>
        job.attempts.length === 0 ? job.definition.after : [],
      );
      return { ...event, ended: new Map([...this.endedOf(dependencies), ...ended]) };
    }
    if (event.type === 'submit' || event.type === 'settle')
      return { ...event, ended: this.endedOf(event.definitions.flatMap(({ after }) => after)) };
    if (event.type === 'openScope') return { ...event, isKnown: this.known.has(event.scope) };
    return 'ended' in event && 'jobIds' in event ? { ...event, ended: this.endedOf(event.jobIds) } : event;
  }

  turn(events: readonly Event[], fails: boolean): void {
    const before = fails ? fingerprint(this.state) : null;
    const earlier = new Map(this.newest);
    const undos: (() => void)[] = [];
    const all: Decision[] = [];
    const take = (decision: Decision) => {
      undos.push(apply(this.state, decision.changes));
      all.push(decision);
      for (const change of decision.changes) this.checkChange(change);
    };
    for (const event of events) {
      const decision = decide(this.state, this.withFacts(event), this.now());
      this.checkAnswer(event, decision);
      take(decision);
    }
    take(schedule(this.state, 'scan', this.now()));
    take(settleScopes(this.state));
    if (before !== null) {
      for (const undo of undos.reverse()) undo();
      this.newest.clear();
      for (const [id, job] of earlier) this.newest.set(id, job);
      assert.deepEqual(fingerprint(this.state), before, 'taken back exactly');
      this.reach('undone');
      // What happens to processes is decided upon all the same.
      all.length = 0;
      for (const event of events)
        if (!asksForRecord(event)) take(decide(this.state, this.withFacts(event), this.now()));
    }
    for (const decision of all) this.carryOut(decision);
  }

  checkAnswer(event: Event, { effects }: Decision): void {
    for (const { method, code, isListed } of refusalsOf(event, effects)) {
      assert.ok(isListed, `${method} is refused with ${code}, which its list in src/protocol/methods.ts does not name`);
      this.reach(`${method}: ${code}`);
    }
  }

  checkChange(change: Change): void {
    if (change.kind === 'jobRemoved') this.newest.delete(change.jobId);
    if (change.kind !== 'job') return;
    const { before, after } = change;
    const known = this.newest.get(after.id) ?? null;
    const isSame = before === known || (known !== null && hasEnded(known.phase) && before?.phase === known.phase);
    assert.ok(
      isSame,
      `job ${after.id}: what it was (${known?.phase.status}) is not what the change goes by (${before?.phase.status})`,
    );
    this.newest.set(after.id, after);
    if (before === null || before.attempts.length !== after.attempts.length || after.attempts.length === 0) return;
    const cause = currentAttempt(before).cause;
    if (cause !== null) assert.equal(currentAttempt(after).cause, cause, `job ${after.id}: the first cause wins`);
  }

  carryOut({ changes, effects }: Decision): void {
    const over = new Map<number, number>();
    for (const change of changes) {
      if (change.kind === 'jobRemoved') this.stored.delete(change.jobId);
      if (change.kind === 'scope') this.known.add(change.after.id);
      if (change.kind !== 'job') continue;
      const { before, after } = change;
      if (isLasting(change)) this.stored.set(after.id, after);
      if (before === null || before.phase.status === after.phase.status) continue;
      const count = this.counts.get(after.definition.group);
      if (count === undefined) continue;
      if (after.phase.status === 'starting') count.starts += 1;
      if (!hasEnded(after.phase)) continue;
      count.ends += 1;
      over.set(after.id, (over.get(after.id) ?? 0) + 1);
    }
    for (const effect of effects) {
      const process = 'jobId' in effect ? this.processes.get(effect.jobId) : undefined;
      switch (effect.type) {
        case 'launch':
          assert.ok(!this.processes.has(effect.job.id), `job ${effect.job.id} has two attempts at once`);
          this.processes.set(effect.job.id, {
            attempt: currentAttempt(effect.job).number,
            stage: 'launching',
            frozen: false,
            told: false,
          });
          break;
        case 'freeze':
        case 'thaw':
          if (process) process.frozen = effect.type === 'freeze';
          break;
        case 'terminate':
        case 'kill':
          if (process) Object.assign(process, { frozen: false, told: true });
          break;
        case 'finished':
          over.set(effect.job.id, (over.get(effect.job.id) ?? 0) - 1);
          break;
        case 'sample':
          for (const { job } of effect.checks) {
            const check = { jobId: job.id, attempt: currentAttempt(job).number };
            // Most looks are over at once; others take their time.
            if (job.id % 4 === 0) this.sampling.push(check);
            else this.inbox.push({ type: 'sampled', samples: [this.sampleOf(check, 0)] });
          }
          break;
        case 'countScope':
          this.inbox.push({ type: 'scopeCounted', scope: effect.scope, processesLeft: 0 });
      }
    }
    for (const [id, left] of over) assert.equal(left, 0, `job ${id}: each end is told once`);
  }

  sampleOf(check: { jobId: number; attempt: number }, cpuUsec: number): CheckedJob {
    return { ...check, atMonoMs: this.monoMs, counts: { cpu: cpuUsec, output: 0, io: 0, talk: new Map() } };
  }

  /** The events of a command; `[]` where there is nothing to do it to. */
  events(one: Command): Event[] {
    const request = 1;
    const ended = new Map();
    switch (one.do) {
      case 'submit':
      case 'settle': {
        const after = this.newest.size === 0 ? [] : one.after.map((index) => this.pickJob(index));
        const scope = scopes[one.scope];
        const spec = { command: ['x'], env: {}, cwd: '/', ...one.spec, after, ...(scope ? { scope } : {}) };
        return [{ type: one.do, request, definitions: [definitionFrom(spec)], known: new Map(), ended }];
      }
      case 'jobs': {
        const jobIds = [...new Set(one.picks.map((index) => this.pickJob(index)))];
        if (one.type === 'attached') {
          this.holds.push(jobIds);
          return [{ type: 'attached', jobIds }];
        }
        if (one.type === 'detached') {
          const [held] = this.holds.splice((one.picks[0] ?? 0) % Math.max(1, this.holds.length), 1);
          return held === undefined ? [] : [{ type: 'detached', jobIds: held }];
        }
        if (one.type === 'cancel' || one.type === 'kill') {
          const mode = one.type === 'kill' ? 'kill' : 'graceful';
          return [{ type: 'cancel', request, jobIds, mode, ended }];
        }
        if (one.type === 'signal') return [{ type: 'signal', request, jobIds, ended, signal: 'SIGHUP' }];
        return [{ type: one.type, request, jobIds, ended }];
      }
      case 'group': {
        const name = groups[one.pick % groups.length] ?? '';
        if (one.type === 'runPending') return [{ type: 'runPending', request, name, tier: 'scan' }];
        if (one.type === 'resumeGroup') return [{ type: 'resumeGroup', request, name }];
        return [{ type: 'pauseGroup', request, name, running: one.type === 'letRun' ? 'letRun' : 'pause' }];
      }
      case 'setGroup':
        return [{ type: 'setGroup', request, name: groups[one.pick % groups.length] ?? '', settings: one.settings }];
      case 'scope': {
        const scope = scopes[one.pick % scopes.length] ?? '';
        if (one.type === 'openScope') return [{ type: 'openScope', request, scope, name: null, isKnown: false }];
        return one.type === 'closeScope' ? [{ type: 'closeScope', request, scope }] : [{ type: one.type, scope }];
      }
      case 'edit':
        return [
          { type: 'edit', request, jobIds: [this.pickJob(one.pick)], ended, edit: one.edit, defaults: builtInDefaults },
        ];
      case 'move':
        return [{ type: 'move', request, jobIds: [this.pickJob(one.pick)], ended, group: groups[one.to % 2] ?? '' }];
      case 'report': {
        const report = { kind: 'progress' as const, percent: one.percent, message: null };
        return [{ type: 'reportsRead', reports: new Map([[this.pickJob(one.pick), [report]]]) }];
      }
      case 'call': {
        const report = { kind: 'progress' as const, percent: one.percent, message: null };
        return [{ type: 'report', request, jobId: this.pickJob(one.pick), attempt: null, report }];
      }
      case 'disk':
        return [{ type: 'diskChecked', shortage: one.shortage }];
      case 'resetStuck':
        return [{ type: 'resetStuck', request, criteria: { olderThanMs: 100, noProgressForMs: null, group: null } }];
      case 'shutdown':
        return [{ type: 'shutdown' }];
      case 'retryPace':
        return [{ type: 'setRetryPace', perSecond: one.perSecond, burst: one.burst }];
      case 'sampled': {
        const samples = this.sampling.map((check) => this.sampleOf(check, one.cpuUsec));
        this.sampling = [];
        return [{ type: 'sampled', samples }];
      }
      case 'process':
        return this.processEvents(one.what, one.pick);
      case 'restart':
        this.restart();
        return [];
    }
  }

  processEvents(what: ProcessVerb, index: number): Event[] {
    const isLaunch = what === 'launched' || what === 'failed' || what === 'noSpace';
    const wanted = isLaunch ? 'launching' : what === 'emptied' ? 'leaderless' : 'alive';
    const fitting = [...this.processes].filter(([, { stage }]) => stage === wanted);
    const [jobId, process] = fitting[index % fitting.length] ?? [];
    if (jobId === undefined || process === undefined) return [];
    const usage = noUsage;
    switch (what) {
      case 'launched':
        process.stage = 'alive';
        return [{ type: 'launched', jobId, leader: { pid: jobId, startTicks: process.attempt, bootId: '' } }];
      case 'failed':
        this.processes.delete(jobId);
        return [{ type: 'launchFailed', jobId, message: '', exit: { code: 127, signal: null } }];
      case 'noSpace':
        this.processes.delete(jobId);
        return [{ type: 'launchLackedSpace', jobId, shortage: 'Full.' }];
      case 'exit0':
      case 'exit1':
        this.processes.delete(jobId);
        return [
          { type: 'leaderExited', jobId, exit: { code: what === 'exit0' ? 0 : 1, signal: null }, remaining: 0, usage },
        ];
      case 'killed':
      case 'oom': {
        this.processes.delete(jobId);
        const atLimits = { oomKills: 1, oomAtOwnLimit: true, refusedForks: 0, peakMemoryBytes: null };
        const limits = what === 'oom' ? { atLimits } : {};
        return [
          { type: 'leaderExited', jobId, exit: { code: null, signal: 'SIGKILL' }, remaining: 0, usage, ...limits },
        ];
      }
      case 'strays':
        process.stage = 'leaderless';
        return [{ type: 'leaderExited', jobId, exit: { code: 0, signal: null }, remaining: 1, usage }];
      case 'emptied':
        this.processes.delete(jobId);
        return [{ type: 'emptied', jobId, usage }];
      case 'measured':
        return [
          {
            type: 'outputMeasured',
            jobId,
            attempt: process.attempt,
            size: { stdout: 10_000, stderr: 0 },
            onDisk: { stdout: 10_000, stderr: 0 },
            totalLeavesBytes: null,
          },
        ];
      case 'kept':
        return [{ type: 'outputKept', jobId, reason: 'EOPNOTSUPP' }];
    }
  }

  /** A crash, and what `Supervisor.recover` makes of what the store has. Its monotonic clock goes on. */
  restart(): void {
    this.reach('restart');
    const restored: StoredScope[] = [...this.state.scopes.values()].map(({ scope }) => {
      const over = [...this.stored.values()].filter((job) => job.definition.scope === scope.id && hasEnded(job.phase));
      const cleaned = over.filter(({ phase }) => 'cause' in phase && phase.cause === 'scope').length;
      const { phase } = scope;
      const kept = phase.status === 'closing' ? { ...phase, jobIds: [], stage: 'ending' as const } : phase;
      return { scope: { ...scope, phase: kept }, ended: over.length, cleaned };
    });
    const entering = [...this.state.groups.values()].flatMap(({ group }) => groupEnters(group, this.now()));
    const { nextJobId } = this.state;
    this.state = emptyState(nextJobId);
    this.processes = new Map();
    this.counts = new Map(groups.map((name) => [name, { starts: 0, ends: 0 }]));
    this.inbox = [];
    this.sampling = [];
    this.holds.length = 0;
    restoreScopes(this.state, restored, this.now());
    const live = [...this.stored.values()].filter(({ phase }) => !hasEnded(phase));
    const jobs = revived(
      live.map((job) => ({ ...job, client: noClient })),
      this.now(),
    );
    apply(this.state, [...entering, ...jobs.map((after): Change => ({ kind: 'job', before: null, after }))]);
    this.newest.clear();
    for (const job of [...this.stored.values(), ...jobs]) this.newest.set(job.id, job);
    for (const job of jobs) this.stored.set(job.id, job);
    const take = (decision: Decision) => {
      const settled = settleDependents(this.state, decision, this.now());
      apply(this.state, settled.changes);
      for (const change of settled.changes) this.checkChange(change);
      const told = settled.changes.flatMap((change): Effect[] =>
        change.kind === 'job' && change.before !== null && hasEnded(change.after.phase)
          ? [{ type: 'finished', job: change.after }]
          : [],
      );
      this.carryOut({ changes: settled.changes, effects: told });
    };
    const lost = recover(this.state, jobs, () => 0, this.now());
    take({ changes: lost, effects: [] });
    take(endLeftovers(this.state, this.now()));
  }

  check(): void {
    const { state } = this;
    const now = this.now();
    const live = [...state.live.values()];
    for (const job of live) {
      const { id, phase, queue, definition } = job;
      const process = this.processes.get(id);
      assert.equal(this.newest.get(id), job, `job ${id} is the newest of its records`);
      assert.equal(holdsSlot(phase.status), process !== undefined, `job ${id} is ${phase.status}`);
      const group = state.groups.get(definition.group);
      const scopeStatus = definition.scope === null ? 'open' : state.scopes.get(definition.scope)?.scope.phase.status;
      const isDoomed = phase.status === 'stopping' || (phase.status === 'starting' && phase.stopRequested !== null);
      if (scopeStatus !== 'open') assert.ok(isDoomed, `job ${id} is ${phase.status} in a scope that is ${scopeStatus}`);
      switch (phase.status) {
        case 'queued': {
          if (job.attempts.length === 0)
            assert.deepEqual(
              new Set(phase.waitsFor),
              new Set(definition.after.filter((other) => state.live.has(other))),
              `what job ${id} waits for`,
            );
          else assert.deepEqual(phase.waitsFor, []);
          // Across a restart, a clock that was set moves the time that is left of a delay.
          if (!this.clockWasSet && phase.readyAtMonoMs !== null && phase.startByMonoMs !== null)
            assert.ok(phase.startByMonoMs > phase.readyAtMonoMs, `job ${id} has to start before it may`);
          assert.notEqual(queue.held?.by, 'group', `job ${id} waits, and its group holds it`);
          const hasDeadline = definition.policies.startDeadlineMs !== null && queue.retries === 0;
          const stands = queue.held !== null || group?.group.paused === true;
          const waitsForClock = phase.readyAtMonoMs !== null && queue.notBefore?.clock === 'wall';
          const runs = hasDeadline && !stands && !waitsForClock;
          assert.equal(phase.startByMonoMs !== null, runs, `the start deadline of job ${id}`);
          assert.equal(queue.startLeftMs !== undefined, hasDeadline && stands, `what job ${id} has left of it`);
          if (hasDeadline && group?.group.paused) this.reach('a start deadline in a paused group');
          if (!isReady(job) || group === undefined) break;
          const { mode, paused, parallel } = group.group;
          const mayStart = mode === 'auto' && !paused && state.admission === 'open' && group.active < parallel;
          if (mayStart) assert.notEqual(group.bucket.wakeAtMonoMs, null, `job ${id} could start`);
          break;
        }
        case 'starting':
          assert.equal(process?.stage, 'launching');
          break;
        case 'running': {
          if (queue.held?.by === 'group') assert.ok(group?.group.paused, `job ${id} stands still in an open group`);
          assert.equal(process?.stage, 'alive', `the process of job ${id}`);
          assert.equal(currentAttempt(job).cause, null);
          assert.equal(phase.paused !== null, isPaused(job), `job ${id} is paused`);
          assert.equal(process?.frozen, phase.paused !== null, `the processes of job ${id} stand still`);
          const hasLease = definition.policies.leaseMs !== null && this.callsOn(id) === 0;
          assert.equal(phase.leaseUntilMonoMs !== null, hasLease, `the lease of job ${id}`);
          break;
        }
        case 'stopping':
          assert.notEqual(currentAttempt(job).cause, null);
          assert.ok(process?.told && !process.frozen, `job ${id} was told to end`);
          break;
        default:
          assert.fail(`job ${id} has ended and is live`);
      }
      const stored = this.stored.get(id) as Job;
      const lasting = (one: Job) => ({
        ...one,
        phase: one.phase.status,
        client: null,
        attempts: one.attempts.map((attempt) => ({ ...attempt, progress: null })),
      });
      assert.ok(isDeepStrictEqual(lasting(stored), lasting(job)), `the store has what is lasting of job ${id}`);
    }
    const called = [...new Set(this.holds.flat())].map((id) => [id, this.callsOn(id)] as const);
    assert.deepEqual(state.calls, new Map(called), 'calls that are held, and none that are over');
    for (const [name, group] of state.groups) {
      const here = live.filter(({ definition }) => definition.group === name);
      assert.equal(group.queued, here.filter(({ phase }) => phase.status === 'queued').length, 'queued');
      assert.equal(group.active, here.filter(({ phase }) => phase.status !== 'queued').length, 'active');
      assert.deepEqual({ starts: group.starts, ends: group.ends }, this.counts.get(name), 'starts and ends');
      const place = (job: Job) => ({ jobId: job.id, priority: job.definition.priority });
      const best = here.filter(isReady).sort((one, other) => startsBefore(place(one), place(other)))[0];
      assert.equal(nextReady(state, group)?.id, best?.id, 'the best of those that are ready');
    }
    for (const [id, scope] of state.scopes) {
      const here = [...this.newest.values()].filter(({ definition }) => definition.scope === id);
      assert.deepEqual(new Set(scope.live), new Set(here.filter(({ phase }) => !hasEnded(phase)).map((job) => job.id)));
    }
    const wishes = [
      ...live.flatMap((job) => [deadlineOf(job), idleCheckOf(job)]),
      ...[...state.groups.values()].map(({ bucket }) => bucket.wakeAtMonoMs),
      ...[...state.scopes.values()].map(({ scope: { phase } }) =>
        phase.status === 'open' ? phase.returnByMonoMs : null,
      ),
    ].filter((at) => at !== null);
    const next = wishes.length === 0 ? null : Math.min(...wishes);
    assert.equal(nextDeadline(state), next, 'the alarm');
    assert.ok(
      next === null || next > now.monoMs,
      `the alarm rings for what was due ${now.monoMs - (next ?? 0)} ms ago`,
    );
  }

  /** One turn, and those that its effects and the alarm call for at the same time. */
  settle(events: readonly Event[], fails: boolean): void {
    const isDue = () => (nextDeadline(this.state) ?? Number.POSITIVE_INFINITY) <= this.monoMs;
    this.turn(isDue() ? [...events, { type: 'tick' }] : events, fails);
    for (let rounds = 0; rounds < 3 && (fails || isDue() || this.inbox.length > 0); rounds += 1) {
      fails = false;
      const more = this.inbox;
      this.inbox = [];
      this.turn(isDue() ? [...more, { type: 'tick' }] : more, false);
    }
    this.check();
  }

  /** Everybody lets everything go on. @returns jobs that do not end for all that */
  drain(): number[] {
    this.offsetMs = 0;
    if (this.state.admission === 'closing') this.restart();
    for (let round = 0; round < 200 && this.state.live.size > 0; round += 1) {
      const jobIds = [...this.state.live.keys()];
      const free = groups.flatMap((name): Event[] => [
        {
          type: 'setGroup',
          request: 1,
          name,
          settings: { parallel: 4, mode: 'auto', ratePerSecond: null, maxQueued: 100 },
        },
        { type: 'resumeGroup', request: 1, name },
      ]);
      const resume: Event = { type: 'resume', request: 1, jobIds, ended: new Map() };
      this.settle([{ type: 'diskChecked', shortage: null }, ...free, resume], false);
      const launched = [...this.processes].flatMap(() => this.processEvents('launched', 0));
      this.settle(launched, false);
      const exited = [...this.processes].flatMap(() => [
        ...this.processEvents('exit0', 0),
        ...this.processEvents('emptied', 0),
      ]);
      this.settle(exited, false);
      this.monoMs = Math.max(this.monoMs, nextDeadline(this.state) ?? 0);
    }
    return [...this.state.live.keys()];
  }
}

function fingerprint(state: State): object {
  const byId = (one: readonly [number, unknown], other: readonly [number, unknown]) => one[0] - other[0];
  return {
    admission: state.admission,
    retryPace: state.retryPace,
    live: [...state.live].sort(byId),
    calls: [...state.calls].sort(byId),
    groups: [...state.groups].map(([name, { ready, ...rest }]) => [name, { ...rest }]),
    dependents: [...state.dependents].sort(byId).map(([id, jobIds]) => [id, [...jobIds].sort((a, b) => a - b)]),
    scopes: [...state.scopes]
      .sort(([one], [other]) => one.localeCompare(other))
      .map(([id, { live, ...rest }]) => [id, { ...rest, live: [...live].sort((a, b) => a - b) }]),
  };
}

test('whatever happens: no attempt twice, no end told twice, no job stuck, no alarm in the past, and no trace of what is taken back', () => {
  const reached = new Map<string, number>();
  const statuses = new Map<string, number>();
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 40, size: 'max' }), (steps) => {
      const world = new World();
      for (const { afterMs, clockJumpMs, commands, fails } of steps) {
        world.monoMs = afterMs === 'alarm' ? (nextDeadline(world.state) ?? world.monoMs) : world.monoMs + afterMs;
        world.offsetMs += clockJumpMs;
        world.clockWasSet ||= clockJumpMs !== 0;
        const events: Event[] = [];
        for (const one of commands) {
          if (one.do === 'restart') {
            world.settle(events.splice(0), false);
            world.settle(world.events(one), false);
          } else {
            events.push(...world.events(one));
          }
        }
        world.settle(events, fails);
        for (const job of world.newest.values()) {
          const what = hasEnded(job.phase) ? job.phase.cause : job.phase.status;
          statuses.set(what, (statuses.get(what) ?? 0) + 1);
        }
      }
      assert.deepEqual(world.drain(), [], 'jobs that never end');
      for (const [what, times] of world.reached) reached.set(what, (reached.get(what) ?? 0) + times);
    }),
    { numRuns: 400 },
  );
  for (const what of ['undone', 'restart', 'a start deadline in a paused group'])
    assert.ok((reached.get(what) ?? 0) > 5, `control: the runs reach "${what}"`);
  const refusals = [...reached.keys()].filter((what) => what.includes(': '));
  assert.ok(refusals.length > 15, `control: the runs reach many refusals: ${refusals}`);
  for (const what of [...jobStatuses.filter((status) => !isFinal(status)), ...causes])
    assert.ok((statuses.get(what) ?? 0) > 2, `control: the runs reach "${what}" often: ${[...statuses]}`);
});

/** A world in which these events have happened, each in a turn of its own at its time. */
function after(events: readonly (readonly [atMs: number, event: Event])[]): World {
  const world = new World();
  for (const [atMs, event] of events) {
    world.monoMs = atMs;
    world.settle([event], false);
  }
  return world;
}

function submitted(spec: Partial<JobSpec>): Event {
  const definition = definitionFrom({ command: ['x'], env: {}, cwd: '/', ...spec });
  return { type: 'submit', request: 1, definitions: [definition], known: new Map(), ended: new Map() };
}

const ofJob = { request: 1, jobIds: [1], ended: new Map() };

test('a job whose deadline and whose scope are over at the same moment ends once, with its scope', () => {
  const world = after([
    [0, { type: 'openScope', request: 1, scope: 's1', name: null, isKnown: false }],
    [0, { type: 'setGroup', request: 1, name: 'default', settings: { parallel: 0 } }],
    [0, submitted({ scope: 's1', startDeadlineMs: 10_000 })],
  ]);
  world.restart();
  world.monoMs = 10_000;
  world.settle([], false);
  const { phase } = world.newest.get(1) as Job;
  assert.equal(hasEnded(phase) && phase.cause, 'scope');
});

test('a job that is about to be checked for idleness when its scope is deserted is ended all the same', () => {
  const idle = { checks: 5, intervalMs: 10_000 };
  const world = after([
    [0, { type: 'openScope', request: 1, scope: 's1', name: null, isKnown: false }],
    [0, { type: 'setGroup', request: 1, name: 'default', settings: { parallel: 0 } }],
    [0, submitted({ scope: 's1', idle })],
  ]);
  world.restart();
  world.settle([{ type: 'setGroup', request: 1, name: 'default', settings: { parallel: 1 } }], false);
  world.settle(world.processEvents('launched', 0), false);
  world.monoMs = 15_000; // The loop was late: the check and the patience with the client are over by now.
  world.settle([], false);
  assert.equal(world.state.live.get(1)?.phase.status, 'stopping');
});

test('a paused job whose time or start deadline is edited goes on with the new ones; a delay goes on meanwhile', () => {
  const edited = (spec: Partial<JobSpec>, edit: object) => {
    const world = after([
      [0, { type: 'setGroup', request: 1, name: 'default', settings: { parallel: 0 } }],
      [0, submitted(spec)],
      [100, { type: 'pause', ...ofJob }],
      [200, { type: 'edit', ...ofJob, edit, defaults: builtInDefaults }],
      [300, { type: 'resume', ...ofJob }],
    ]);
    const phase = world.state.live.get(1)?.phase;
    return phase?.status === 'queued' ? phase.startByMonoMs : undefined;
  };
  assert.equal(edited({ startDeadlineMs: 1_000 }, { delayMs: 60_000 }), 200 + 60_000 + 1_000);
  assert.equal(edited({ startDeadlineMs: 1_000, delayMs: 5_000 }, { startDeadlineMs: null }), null);
  assert.equal(edited({ startDeadlineMs: 1_000 }, { startDeadlineMs: 5_000 }), 300 + 5_000 - 100);
  assert.equal(edited({ delayMs: 5_000 }, { startDeadlineMs: 1_000 }), 5_000 + 1_000);
  assert.equal(edited({}, { startDeadlineMs: 1_000 }), 1_300);
  assert.equal(edited({ startDeadlineMs: 1_000 }, { priority: 1 }), 300 + 900, 'control: another edit changes nothing');
});

test('a delayed job that finds no room on the disk has its start deadline from when it might start', () => {
  const world = after([
    [0, submitted({ delayMs: 60_000, startDeadlineMs: 1_000 })],
    [60_000, { type: 'tick' }],
  ]);
  world.settle(world.processEvents('noSpace', 0), false);
  assert.equal(world.state.live.get(1)?.phase.status, 'queued');
  world.monoMs = 61_000;
  world.settle([], false);
  const { phase } = world.newest.get(1) as Job;
  assert.equal(hasEnded(phase) && phase.cause, 'start-deadline');
});

test('a job that was run again for ever can still be shown in a frame', () => {
  const world = after([[0, submitted({})]]);
  const job = world.state.live.get(1) as Job;
  const attempt = { ...currentAttempt(job), cause: 'exit' as const, message: 'x'.repeat(1_000) };
  const attempts = Array.from({ length: 5_000 }, (_, index) => ({ ...attempt, number: index + 1 }));
  const view = viewOf({ ...job, attempts }, { files: [], bytes: 0 }, null);
  assert.ok(JSON.stringify(view).length < frameLimits.maxFrameBytes / 2);
  assert.deepEqual([view.attempt, view.attempts.at(0)?.attempt, view.attempts.at(-1)?.attempt], [5_000, 4_901, 5_000]);
});

test('heartbeats without end do not fill the memory with deadlines that no longer stand', () => {
  const world = after([[0, submitted({ leaseMs: 86_400_000, idle: null })]]);
  world.settle(world.processEvents('launched', 0), false);
  for (let beat = 1; beat <= 5_000; beat += 1) {
    world.monoMs = beat;
    apply(world.state, decide(world.state, { type: 'heartbeat', ...ofJob }, world.now()).changes);
  }
  assert.ok(world.state.deadlines.size < 1_100, `${world.state.deadlines.size} entries`);
  assert.equal(nextDeadline(world.state), 86_405_000);
});
