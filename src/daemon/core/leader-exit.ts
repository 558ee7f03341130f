/** The leader of an attempt has exited. The attempt is over when nothing else of it is alive. */
import type { Cause } from '../../protocol/index.ts';
import type { LeaderExit } from './attempt.ts';
import { type Decision, replace } from './decision.ts';
import { finish } from './ending.ts';
import type { Event } from './events.ts';
import type { Instant } from './instant.ts';
import { currentAttempt, type Job, withAttempt } from './job.ts';
import { type AtLimits, oomMessage } from './resources.ts';
import type { State } from './state.ts';
import { beginStopping } from './stopping.ts';

export function leaderExited(
  state: State,
  job: Job,
  event: Extract<Event, { type: 'leaderExited' }>,
  now: Instant,
): Decision {
  const { exit, remaining, usage, atLimits = null } = event;
  // A job that was being stopped keeps its cause: the first one wins.
  const known = currentAttempt(job).cause;
  const cause = known ?? causeOf(exit, atLimits);
  const isStopping = job.phase.status === 'stopping';
  const message =
    known === null && cause === 'oom' && atLimits !== null
      ? { message: oomMessage(job.definition.resources, atLimits) }
      : {};
  const isUnknown = exit.code === null && exit.signal === null;
  const shown = {
    exit,
    usage,
    cause,
    ...(isStopping ? {} : { strays: remaining }),
    ...message,
    ...(isUnknown ? { message: currentAttempt(job).message ?? missed } : {}),
  };
  if (remaining === 0) return finish(state, job, shown, now, atLimits);
  if (isStopping) return replace(job, withAttempt(job, shown));
  return beginStopping(withAttempt(job, shown), job.definition.policies.killGraceMs, now, job);
}

/** Neither code nor signal: its end was found, not told (process/missed-ends.ts). */
const missed = 'its leader has ended, and how is not known: nobody told corral, or somebody else took its exit status';

/** The kernel ends a process that finds no memory with SIGKILL, and counts it. cgroups-v2, memory.events */
function causeOf(exit: LeaderExit, atLimits: AtLimits | null): Cause {
  if (exit.signal === 'SIGKILL' && atLimits !== null && atLimits.oomKills > 0) return 'oom';
  return exit.signal === null ? 'exit' : 'signal';
}
