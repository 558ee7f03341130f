import assert from 'node:assert/strict';
import {
  apply,
  beginAttempt,
  type Change,
  type Decision,
  decide,
  definitionFrom,
  type Effect,
  type Event,
  emptyState,
  type Instant,
  type Job,
  nextDeadline,
  noUsage,
  recover,
  revived,
  type State,
  schedule,
} from '../../src/daemon/core/index.ts';
import type { JobSpec } from '../../src/protocol/index.ts';
import { groupOf, instant } from './records.ts';

/** A daemon without its shells: time passes when a test says so, and processes do what it says. */
export class BareDaemon {
  state: State = emptyState();
  monoMs = 0;
  /** How far somebody has set the wall clock. */
  shiftMs = 0;
  /** Chance, as it is handed in. */
  unitRandom = 0.5;
  /** When this daemon started, on a wall clock that nobody set. */
  epochMs = 1_700_000_000_000;
  readonly launches: { jobId: number; atMs: number }[] = [];
  readonly ended: Job[] = [];
  /** Numbers of the attempts whose output was removed. */
  readonly removed: number[] = [];

  constructor(parallel = 1_000) {
    apply(this.state, [{ kind: 'group', before: null, after: groupOf('default', { parallel, maxQueued: 100_000 }) }]);
  }

  get now(): Instant {
    const steadyMs = this.epochMs + this.monoMs;
    return { ...instant(this.monoMs, steadyMs + this.shiftMs, steadyMs), unitRandom: this.unitRandom };
  }

  job(id: number): Job | undefined {
    return this.state.live.get(id);
  }

  emit(...events: Event[]): Effect[] {
    const effects: Effect[] = [];
    const take = ({ changes, effects: more }: Decision) => {
      apply(this.state, changes);
      effects.push(...more);
    };
    for (const event of events) take(decide(this.state, event, this.now));
    // So many are started in a turn; the others in the turns that follow at once.
    for (let started = -1; started < effects.length; ) {
      started = effects.length;
      take(schedule(this.state, 'scan', this.now));
    }
    for (const effect of effects) {
      if (effect.type === 'launch') this.launches.push({ jobId: effect.job.id, atMs: this.monoMs });
      if (effect.type === 'finished') this.ended.push(effect.job);
      if (effect.type === 'removeOutput') this.removed.push(...effect.attempts);
    }
    return effects;
  }

  submit(...specs: Partial<JobSpec>[]): void {
    const definitions = specs.map((spec) => definitionFrom({ command: ['false'], env: {}, cwd: '/', ...spec }));
    this.emit({ type: 'submit', request: 1, definitions, known: new Map(), ended: new Map() });
  }

  /** Gives a queued job attempts that it had before. */
  age(jobId: number, attempts: number): void {
    const before = this.job(jobId) ?? assert.fail();
    let after = before;
    for (let n = 0; n < attempts; n += 1) after = { ...beginAttempt(after, 'scan'), phase: before.phase };
    apply(this.state, [{ kind: 'job', before, after }]);
  }

  /** The process that was launched for the job runs. */
  run(jobId: number): void {
    this.emit({ type: 'launched', jobId, leader: { pid: jobId, startTicks: 1, bootId: 'b' } });
  }

  exit(jobId: number, code = 1): void {
    this.emit({ type: 'leaderExited', jobId, exit: { code, signal: null }, remaining: 0, usage: noUsage });
  }

  fail(jobId: number): void {
    this.run(jobId);
    this.exit(jobId);
  }

  cancel(jobId: number): void {
    this.emit({ type: 'cancel', request: 1, jobIds: [jobId], mode: 'graceful', ended: new Map() });
  }

  /** Time passes; the alarm rings whenever it is due. */
  pass(ms: number): void {
    const untilMs = this.monoMs + ms;
    for (;;) {
      const next = nextDeadline(this.state);
      if (next === null || next > untilMs) break;
      assert.ok(next >= this.monoMs - 1, 'the alarm never rings for the past');
      this.monoMs = Math.max(this.monoMs, next);
      this.emit({ type: 'tick' });
      const later = nextDeadline(this.state);
      assert.ok(later === null || later > this.monoMs || later !== next, 'what was due has been looked after');
    }
    this.monoMs = untilMs;
  }

  /** SIGKILL, a while, and a new daemon that finds what the store kept: no phase but its status. */
  restart(downMs: number): void {
    const kept = [...this.state.live.values()].map(
      (job): Job => ({
        ...JSON.parse(JSON.stringify(job)),
        phase:
          job.phase.status === 'queued' ? { status: 'queued', readyAtMonoMs: null, startByMonoMs: null } : job.phase,
      }),
    );
    this.epochMs += this.monoMs + downMs + this.shiftMs;
    this.shiftMs = 0;
    this.monoMs = 0;
    const groups = [...this.state.groups.values()].map(
      ({ group }): Change => ({ kind: 'group', before: null, after: group }),
    );
    this.state = emptyState(this.state.nextJobId);
    const jobs = revived(kept, this.now);
    apply(this.state, [...groups, ...jobs.map((after): Change => ({ kind: 'job', before: null, after }))]);
    const changes = recover(this.state, jobs, () => 0, this.now);
    apply(this.state, changes);
    for (const change of changes)
      if (change.kind === 'job' && 'cause' in change.after.phase) this.ended.push(change.after);
    this.emit();
  }
}
