/** Why a job that is queued has not started, in a sentence. */
import { formatRate, unreachable } from '../../protocol/index.ts';
import type { Job } from './job.ts';
import { type GroupState, type State, startsBefore } from './state.ts';
import { isReady } from './waiting.ts';

/** What keeps a job from starting that lies with the job itself, whatever there is room for. */
export type Obstacle = 'held' | 'after' | 'notBefore';

/** The first of them, in the order in which somebody would have to act. */
export function obstacleOf(job: Job): Obstacle | null {
  if (job.queue.held) return 'held';
  if (unmet(job).length > 0) return 'after';
  if (job.phase.status === 'queued' && job.phase.readyAtMonoMs !== null) return 'notBefore';
  return null;
}

function unmet({ phase }: Job): readonly number[] {
  return phase.status === 'queued' ? phase.waitsFor : [];
}

/** How many other jobs a sentence names. */
const mostNamed = 5;

/** To count who is before a job is to look at every job: not where there are more than this. */
const mostCounted = 20_000;

/**
 * Why the job has not started; `null` where it has.
 *
 * @param detail `full` says how many jobs are before it, which costs a look at each
 */
export function waitingFor(state: State, job: Job, detail: 'brief' | 'full'): string | null {
  if (job.phase.status !== 'queued') return null;
  const obstacle = obstacleOf(job);
  if (obstacle !== null) return obstacleSentence(obstacle, job);
  const { admission } = state;
  const group = state.groups.get(job.definition.group);
  if (group === undefined) throw new Error(`job ${job.id} is in group ${job.definition.group}, which does not exist`);
  const { name, paused, mode, parallel, ratePerSecond } = group.group;
  if (paused) return `Group "${name}" is paused. Let it go on: corral group resume ${name}`;
  if (mode === 'manual') return `Group "${name}" starts a job only when it is told to: corral run-pending -g ${name}`;
  if (admission === 'closing') return 'The daemon is stopping. The job starts when it is back.';
  if (admission !== 'open') return `${admission.pausedFor} Nothing is started until there is room.`;
  if (parallel === 0) return `Group "${name}" has no slots. Give it some: corral group set ${name} --parallel 1`;
  const ahead = detail === 'full' ? aheadOf(state, group, job) : '';
  if (group.active >= parallel) {
    const slots = parallel === 1 ? `The slot of group "${name}" is` : `All ${parallel} slots of group "${name}" are`;
    return `${slots} in use${ahead}.`;
  }
  if (ratePerSecond !== null && group.bucket.wakeAtMonoMs !== null)
    return `Group "${name}" starts ${formatRate(ratePerSecond)} at most${ahead}.`;
  return 'It is about to start.';
}

function obstacleSentence(obstacle: Obstacle, job: Job): string {
  switch (obstacle) {
    case 'held':
      return `It is paused. Let it go on: corral resume ${job.id}`;
    case 'after': {
      const others = unmet(job);
      const named = others.slice(0, mostNamed).join(', ');
      const more = others.length > mostNamed ? ` and ${others.length - mostNamed} more` : '';
      return `It waits for job ${named}${more} to end.`;
    }
    case 'notBefore': {
      const { notBefore, retries } = job.queue;
      const time = notBefore === null ? 'its time' : new Date(notBefore.wallMs).toISOString();
      return retries > 0 ? `It is run again no sooner than ${time}.` : `It starts no sooner than ${time}.`;
    }
    default:
      return unreachable(obstacle);
  }
}

/** `; 17 jobs are before it`, or nothing where there are none, or too many to count. */
function aheadOf(state: State, group: GroupState, job: Job): string {
  if (state.live.size > mostCounted) return '';
  const place = (one: Job) => ({ jobId: one.id, priority: one.definition.priority });
  let ahead = 0;
  for (const other of state.live.values()) {
    if (other.definition.group !== group.group.name || !isReady(other)) continue;
    if (startsBefore(place(other), place(job)) < 0) ahead += 1;
  }
  if (ahead === 0) return '';
  return ahead === 1 ? '; 1 job is before it' : `; ${ahead} jobs are before it`;
}
