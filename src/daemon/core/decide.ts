/**
 * `decide(state, event, now)`: what an event changes and what is to be done about it. Pure and total: no I/O, no clock, no
 * chance, an answer for every event in every status. The supervisor commits the changes and only then runs the effects.
 *
 * This file says what belongs to which event; how it is decided stands in the file of its concern.
 */
import { CorralError, unreachable } from '../../protocol/index.ts';
import { pauseAdmission, settle, submit } from './admitting.ts';
import { dueIdleChecks, dueJobs } from './deadlines.ts';
import { bulk, type Decision, jobNotFound, merge, nothing, onLive, replace } from './decision.ts';
import { settleDependents } from './dependencies.ts';
import { forgetEarlier } from './earlier-attempts.ts';
import { edit, move } from './editing.ts';
import { finish, finishUnstarted } from './ending.ts';
import type { EndedJobs, Event } from './events.ts';
import { addGroup, removeGroup, setGroup } from './groups.ts';
import { describeHookFailure } from './hooks.ts';
import { lookAtDue, sampled } from './idle.ts';
import type { Instant } from './instant.ts';
import { currentAttempt, type Job } from './job.ts';
import { lackedSpace, launched } from './launching.ts';
import { leaderExited } from './leader-exit.ts';
import { clientMoved, heartbeat, leaseEndMessage } from './lease.ts';
import { runPending } from './manual.ts';
import { outputKept, outputMeasured } from './output-limit.ts';
import { pause, pauseGroup, resume, resumeGroup } from './pausing.ts';
import { wake } from './queue.ts';
import { noteProgress, reported, reportsRead } from './reports.ts';
import { retry } from './rerun.ts';
import { paceRetries, setRetryPace, waitsForRetry } from './retry.ts';
import { closeDeserted, closeOnRequest, openScope, scopeClientGone, scopeCounted } from './scopes.ts';
import type { State } from './state.ts';
import { kill, shutdown, stop, stopFor } from './stopping.ts';
import { resetStuck } from './stuck.ts';
import { waitedEnough } from './waiting.ts';

export function decide(state: State, event: Event, now: Instant): Decision {
  return settleDependents(state, decideAlone(state, event, now), now);
}

/** What the event means, without what that means to jobs that wait for others. */
function decideAlone(state: State, event: Event, now: Instant): Decision {
  switch (event.type) {
    case 'submit':
      return submit(state, event, now);
    case 'settle':
      return settle(state, event, now);
    case 'cancel':
      return bulk(event.request, event.jobIds, (jobId) => {
        const job = state.live.get(jobId);
        const graceMs = event.mode === 'kill' ? null : (job?.definition.policies.killGraceMs ?? null);
        if (job) return stop(job, { cause: 'cancel', graceMs }, now);
        if (event.ended.has(jobId)) return nothing; // Cancelled means over, and it is.
        throw jobNotFound(jobId);
      });
    case 'signal':
      return bulk(event.request, event.jobIds, (jobId) => {
        const job = state.live.get(jobId);
        if (job?.phase.status === 'running' || job?.phase.status === 'stopping') {
          return { changes: [], effects: [{ type: 'signal', jobId, signal: event.signal }] };
        }
        const { status } = known(state, jobId, event.ended).phase;
        throw new CorralError('JOB_NOT_RUNNING', `Job ${jobId} is ${status}; only a running job can be signalled.`);
      });
    case 'pause':
      return bulk(event.request, event.jobIds, (jobId) => pause(known(state, jobId, event.ended), 'job', now));
    case 'resume':
      return bulk(event.request, event.jobIds, (jobId) => resume(state, known(state, jobId, event.ended), now));
    case 'report':
      return reported(state, event, now);
    case 'reportsRead':
      return reportsRead(state, event, now);
    case 'resetStuck':
      return resetStuck(state, event, now);
    case 'edit':
      return edit(state, event, now);
    case 'move':
      return move(state, event, now);
    case 'retry':
      return retry(state, event, now);
    case 'remove':
      return bulk(event.request, event.jobIds, (jobId) => {
        const job = state.live.get(jobId);
        if (job) {
          throw new CorralError(
            'JOB_RUNNING',
            `Job ${jobId} is ${job.phase.status}. End it first: corral cancel ${jobId}`,
          );
        }
        const ended = event.ended.get(jobId);
        if (ended === undefined) throw jobNotFound(jobId);
        const attempts = ended.attempts.map(({ number }) => number);
        return { changes: [{ kind: 'jobRemoved', jobId }], effects: [{ type: 'removeOutput', job: ended, attempts }] };
      });
    case 'forgetEarlier':
      return forgetEarlier(state, event);
    case 'addGroup':
      return addGroup(state, event, now);
    case 'setGroup':
      return setGroup(state, event, now);
    case 'removeGroup':
      return removeGroup(state, event);
    case 'runPending':
      return runPending(state, event, now);
    case 'pauseGroup':
      return pauseGroup(state, event, now);
    case 'resumeGroup':
      return resumeGroup(state, event, now);
    case 'attached':
    case 'detached':
      return clientMoved(state, event, now);
    case 'heartbeat':
      return heartbeat(state, event, now);
    case 'openScope':
      return openScope(state, event, now);
    case 'closeScope':
      return closeOnRequest(state, event, now);
    case 'scopeClientGone':
      return scopeClientGone(state, event.scope, now);
    case 'scopeCounted':
      return scopeCounted(state, event.scope, event.processesLeft);
    case 'launched':
      return launched(state, event, now);
    case 'launchFailed':
      return onLive(state, event.jobId, ['starting'], (job) =>
        finish(
          state,
          job,
          { cause: currentAttempt(job).cause ?? 'spawn-error', message: event.message, exit: event.exit },
          now,
        ),
      );
    case 'launchLackedSpace':
      return onLive(state, event.jobId, ['starting'], (job) => lackedSpace(state, job, event.shortage, now));
    case 'diskChecked':
      return pauseAdmission(state, event.shortage);
    case 'leaderExited':
      return onLive(state, event.jobId, ['running', 'stopping'], (job) => leaderExited(state, job, event, now));
    case 'emptied':
      return onLive(state, event.jobId, ['stopping'], (job) =>
        finish(state, job, { usage: event.usage }, now, event.atLimits),
      );
    case 'outputMeasured':
      return onLive(state, event.jobId, ['running', 'stopping'], (job) => outputMeasured(job, event, now));
    case 'outputKept':
      return onLive(state, event.jobId, ['running', 'stopping'], (job) => outputKept(job, event.reason, now));
    case 'hookFailed':
      return merge(
        event.jobIds.map((jobId) => noteHookFailure(state.live.get(jobId) ?? event.ended.get(jobId), event)),
      );
    case 'setRetryPace':
      return setRetryPace(state, event, (job) => waitedEnough(job, now), now);
    case 'tick':
      return tick(state, now);
    case 'sampled':
      return sampled(state, event, now);
    case 'shutdown':
      return shutdown(state, now);
    default:
      return unreachable(event);
  }
}

/**
 * Each job is decided upon once. One that ends with its scope does so whatever else is due, and one of which both a deadline and a
 * check are due is looked at again when the deadline has been seen to.
 */
function tick(state: State, now: Instant): Decision {
  const deserted = closeDeserted(state, now);
  const seenTo = new Set(deserted.changes.map((change) => (change.kind === 'job' ? change.after.id : null)));
  const due = dueJobs(state, now).filter(({ id }) => !seenTo.has(id));
  for (const { id } of due) seenTo.add(id);
  const unchecked = dueIdleChecks(state, now).filter(({ id }) => !seenTo.has(id));
  return merge([
    deserted,
    ...due.filter((job) => !isRetryDue(job)).map((job) => overdue(job, now)),
    paceRetries(state.retryPace, due.filter(isRetryDue), (job) => waitedEnough(job, now), now),
    wake(state, now),
    lookAtDue(state, unchecked, now),
  ]);
}

function noteHookFailure(job: Job | undefined, { failure }: Extract<Event, { type: 'hookFailed' }>): Decision {
  if (job === undefined) return nothing;
  const { moment, command, exitCode, signal, stderr } = failure;
  const detail = { message: describeHookFailure(failure), hook: { on: moment, command, exitCode, signal, stderr } };
  return { changes: [{ kind: 'note', job, note: 'warning', detail }], effects: [] };
}

/** A retry whose pause is over, and that has no turn among the others yet. */
function isRetryDue(job: Job): boolean {
  return waitsForRetry(job) && job.phase.status === 'queued' && job.phase.hasTurn !== true;
}

/** @throws CorralError `JOB_NOT_FOUND` */
function known(state: State, jobId: number, ended: EndedJobs): Job {
  const job = state.live.get(jobId) ?? ended.get(jobId);
  if (job === undefined) throw jobNotFound(jobId);
  return job;
}

/** A deadline of the job has come. */
function overdue(job: Job, now: Instant): Decision {
  switch (job.phase.status) {
    case 'queued': {
      const { startByMonoMs } = job.phase;
      if (startByMonoMs !== null && startByMonoMs <= now.monoMs) return finishUnstarted(job, 'start-deadline', now);
      return replace(job, waitedEnough(job, now));
    }
    case 'running': {
      const { deadlineMonoMs, leaseUntilMonoMs, paused } = job.phase;
      if (paused === null && deadlineMonoMs !== null && deadlineMonoMs <= now.monoMs)
        return stopFor('max-runtime', job, now);
      if (paused === null && leaseUntilMonoMs !== null && leaseUntilMonoMs <= now.monoMs)
        return stopFor('lease', job, now, leaseEndMessage(job));
      return noteProgress(job, now);
    }
    case 'stopping':
      return kill(job, now);
    default:
      return nothing;
  }
}
