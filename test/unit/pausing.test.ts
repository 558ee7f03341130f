import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  apply,
  type Change,
  decide,
  type Event,
  emptyState,
  type Instant,
  type Job,
  justRunning,
  pause,
  recover,
  resume,
  revived,
  type State,
  schedule,
  viewOf,
  withPhase,
} from '../../src/daemon/core/index.ts';
import { groupOf, instant, jobOf } from '../support/records.ts';

const wallMs = 1_700_000_000_000;
const at = (monoMs: number): Instant => instant(monoMs, wallMs + monoMs);
const noOutput = { files: [], bytes: 0 };

function stateOf(job: Job): State {
  const state = emptyState();
  const group = groupOf('default');
  apply(state, [
    { kind: 'group', before: null, after: group },
    { kind: 'job', before: null, after: job },
  ]);
  return state;
}

function after(changes: readonly Change[]): Job {
  const change = changes.find(({ kind }) => kind === 'job');
  assert.ok(change?.kind === 'job');
  return change.after;
}

const requestOf = (type: 'pause' | 'resume'): Event => ({ type, request: 1, jobIds: [1], ended: new Map() });

describe('paused', () => {
  test('a pause and a resume are told in the events of the job, once each', () => {
    const state = stateOf(jobOf(1));
    const notes: string[] = [];
    for (const type of ['pause', 'pause', 'resume', 'resume'] as const) {
      const { changes } = decide(state, requestOf(type), at(0));
      apply(state, changes);
      for (const change of changes) if (change.kind === 'note') notes.push(change.note);
    }
    assert.deepEqual(notes, ['paused', 'resumed']);
  });

  test('it is shown of a job that waits or runs, and not of one that is ended or has ended', () => {
    const held = after(pause(jobOf(1), 'job', at(0)).changes);
    const shown = (job: Job) => viewOf(job, noOutput, null).paused;
    assert.equal(shown(jobOf(1)), false);
    assert.equal(shown(held), true);
    const running = withPhase(attempted(held), justRunning);
    assert.equal(shown(running), true);
    assert.equal(shown(withPhase(running, { status: 'failed', cause: 'signal', finishedWallMs: wallMs })), false);
  });

  test('a job that waits stays paused across a restart, and then has what was left of its start deadline', () => {
    const job = jobOf(1, { startDeadlineMs: 1_000 }, wallMs);
    const held = after(pause(job, 'job', at(400)).changes);
    const stored = { ...JSON.parse(JSON.stringify(held)), phase: { ...held.phase, startByMonoMs: 1 } } as Job;
    // Another daemon, a day later by the wall clock, on a clock that begins anew.
    const later = (monoMs: number) => instant(monoMs, wallMs + 86_400_000 + monoMs);
    const [back] = revived([stored], later(5)) as [Job];
    assert.equal(viewOf(back, noOutput, null).paused, true);
    assert.deepEqual(back.phase, { status: 'queued', readyAtMonoMs: null, startByMonoMs: null, waitsFor: [] });
    const goesOn = after(resume(stateOf(back), back, later(50)).changes);
    assert.deepEqual(goesOn.phase, { status: 'queued', readyAtMonoMs: null, startByMonoMs: 650, waitsFor: [] });
    const [again] = revived([goesOn], later(150)) as [Job];
    assert.equal((again.phase as { startByMonoMs: number }).startByMonoMs, 650, 'and that survives another restart');
  });

  test('a paused job that is lost and run again waits until it is resumed', () => {
    const held = after(pause(jobOf(1, { onSupervisorLost: 'retry' }), 'job', at(0)).changes);
    const lost = withPhase(attempted(held), justRunning);
    const [change] = recover(emptyState(), [lost], () => 0, at(9));
    assert.ok(change?.kind === 'job');
    const state = stateOf(change.after);
    assert.deepEqual(schedule(state, 'scan', at(0)).changes, []);
    apply(state, decide(state, requestOf('resume'), at(10)).changes);
    assert.equal(schedule(state, 'scan', at(0)).effects[0]?.type, 'launch');
  });

  test('whatever happens meanwhile, a job runs for its max runtime, pauses not counted', () => {
    const step = fc.record({ type: fc.constantFrom('pause', 'resume', 'tick'), waitMs: fc.nat({ max: 400 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 1, max: 1_000 }), (steps, maxRuntimeMs) => {
        const starting = withPhase(attempted(jobOf(1, { maxRuntimeMs })), {
          status: 'starting',
          sinceMonoMs: 0,
          stopRequested: null,
        });
        const state = stateOf(starting);
        let monoMs = 0;
        const happens = (event: Event) => apply(state, decide(state, event, at(monoMs)).changes);
        happens({ type: 'launched', jobId: 1, leader: { pid: 1, startTicks: 1, bootId: 'b' } });
        let ranMs = 0;
        let isPaused = false;
        for (const { type, waitMs } of [
          ...steps,
          { type: 'resume', waitMs: 0 } as const,
          { type: 'tick', waitMs: 1_001 } as const,
        ]) {
          monoMs += waitMs;
          if (!isPaused) ranMs += waitMs;
          // The alarm rings at the deadline: a tick comes no later than that.
          if (!isPaused) happens({ type: 'tick' });
          const { status } = (state.live.get(1) as Job).phase;
          assert.equal(status, ranMs >= maxRuntimeMs ? 'stopping' : 'running', `after ${ranMs} of ${maxRuntimeMs} ms`);
          if (status === 'stopping') return;
          happens(type === 'tick' ? { type } : requestOf(type));
          isPaused = type === 'tick' ? isPaused : type === 'pause';
          assert.equal(viewOf(state.live.get(1) as Job, noOutput, null).paused, isPaused);
        }
        assert.fail('it was never ended');
      }),
    );
  });
});

/** With an attempt under way. */
function attempted(job: Job): Job {
  const { changes } = schedule(stateOf({ ...job, queue: { ...job.queue, held: null } }), 'scan', at(0));
  return { ...after(changes), queue: job.queue };
}
