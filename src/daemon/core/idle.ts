/** Running jobs are looked at, and end when they count as idle. */
import type { IdlePolicy } from '../../protocol/index.ts';
import { type Decision, merge, nothing, replace } from './decision.ts';
import type { IdleCheck } from './effects.ts';
import type { CheckedJob, Event } from './events.ts';
import { type IdleWatch, idleReason, observe } from './idle-watch.ts';
import type { Instant } from './instant.ts';
import { currentAttempt, type Job, withPhase } from './job.ts';
import { lastClientMonoMs } from './lease.ts';
import type { RunningPhase } from './phase.ts';
import type { State } from './state.ts';
import { stopFor } from './stopping.ts';

/** A running job whose policy has a rule for idleness. */
interface Watched {
  readonly job: Job;
  readonly phase: RunningPhase;
  readonly watch: IdleWatch;
  readonly rule: IdlePolicy;
}

function watchedIn(job: Job): Watched[] {
  const { phase } = job;
  const rule = job.definition.policies.idle;
  return phase.status !== 'running' || phase.idle === null || rule === null
    ? []
    : [{ job, phase, watch: phase.idle, rule }];
}

/** The jobs that are to be looked at now: one effect for all of them. */
export function lookAtDue(state: State, jobs: readonly Job[], now: Instant): Decision {
  const checks: IdleCheck[] = [];
  const decisions = jobs.flatMap(watchedIn).map((one) => {
    const { job, phase, watch, rule } = one;
    if (phase.paused !== null) return replace(job, withWatch(one, observe(watch, 'unseen', rule, now).watch));
    if (wasHeardOf(state, one, now)) return replace(job, withWatch(one, observe(watch, 'heardOf', rule, now).watch));
    checks.push({ job, dueMonoMs: watch.dueMonoMs ?? now.monoMs, rule, last: watch.last });
    return replace(job, withWatch(one, { ...watch, dueMonoMs: null }));
  });
  if (checks.length === 0) return merge(decisions);
  return merge([...decisions, { changes: [], effects: [{ type: 'sample', checks }] }]);
}

/** What looks have found. */
export function sampled(state: State, event: Extract<Event, { type: 'sampled' }>, now: Instant): Decision {
  return merge(
    event.samples.flatMap((sample) => {
      const job = state.live.get(sample.jobId);
      return job === undefined ? [] : watchedIn(job).map((one) => checked(state, one, sample, now));
    }),
  );
}

function checked(state: State, one: Watched, sample: CheckedJob, now: Instant): Decision {
  const { job, phase, watch: before, rule } = one;
  // A look at an earlier attempt, or from before the watch began anew, says nothing.
  if (sample.attempt !== currentAttempt(job).number || before.dueMonoMs !== null) return nothing;
  const look = phase.paused !== null ? 'unseen' : wasHeardOf(state, one, now) ? 'heardOf' : sample;
  const { watch, verdict } = observe(before, look, rule, now);
  const after = withWatch(one, watch);
  if (verdict !== 'idle') return replace(job, after);
  const message = idleReason(watch, rule);
  const cpuMillicores = watch.millicores.map((used) => Number(used.toFixed(3)));
  const detail = { message, dryRun: rule.dryRun, cpuMillicores };
  const told: Decision = {
    changes: [
      { kind: 'job', before: job, after },
      { kind: 'note', job: after, note: 'idle', detail },
    ],
    effects: [],
  };
  return rule.dryRun ? told : merge([told, stopFor('idle', after, now, message)]);
}

function withWatch({ job, phase }: Watched, watch: IdleWatch): Job {
  return withPhase(job, { ...phase, idle: { ...watch, progress: currentAttempt(job).progress } });
}

/** Signals that the state itself knows of: a report of the job, or a client that is interested in it. */
function wasHeardOf(state: State, { job, watch, rule }: Watched, now: Instant): boolean {
  const { signals } = rule;
  if (signals.includes('progress') && currentAttempt(job).progress !== watch.progress) return true;
  const client = signals.includes('client') ? lastClientMonoMs(state, job, now) : null;
  return client !== null && client > watch.lookedMonoMs;
}
