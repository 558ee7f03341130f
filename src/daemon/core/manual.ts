/** The sequential mode: a manual group starts a job when a client says so, and only then. */
import { formatDuration, type RunPending, unreachable } from '../../protocol/index.ts';
import { type Decision, groupNotFound, merge, refuse } from './decision.ts';
import type { Event } from './events.ts';
import type { Instant } from './instant.ts';
import type { Job } from './job.ts';
import { nextReady, startOne } from './queue.ts';
import { tokenAtMonoMs } from './rate.ts';
import type { GroupState, State } from './state.ts';
import { type Obstacle, obstacleOf } from './waiting-for.ts';

export function runPending(state: State, event: Extract<Event, { type: 'runPending' }>, now: Instant): Decision {
  const { request, name, tier } = event;
  const group = state.groups.get(name);
  if (group === undefined) return refuse(request, 'GROUP_NOT_FOUND', groupNotFound(state, name));
  if (group.group.mode !== 'manual')
    return refuse(
      request,
      'INVALID_PARAMS',
      `Group "${name}" starts its jobs by itself. To have them started one by one: corral group set ${name} --mode manual`,
    );
  const chosen = chooseNext(state, group, now);
  const isRefusal = typeof chosen === 'string';
  const answer: RunPending = {
    total_pending: group.queued,
    started: isRefusal ? 0 : 1,
    job_ids: isRefusal ? [] : [chosen.id],
    message: isRefusal ? `Cannot start new job: ${chosen}` : startedMessage(chosen, group),
  };
  const replied: Decision = { changes: [], effects: [{ type: 'reply', request, result: answer }] };
  return isRefusal ? replied : merge([startOne(group, chosen, tier, now), replied]);
}

function startedMessage(job: Job, { queued }: GroupState): string {
  const left = queued - 1;
  const pending = left === 0 ? 'no more are pending' : left === 1 ? '1 more is pending' : `${left} more are pending`;
  return `Started job ${job.id}; ${pending}.`;
}

/** The job that is to start, or why none is. */
function chooseNext(state: State, group: GroupState, now: Instant): Job | string {
  const { name, parallel, paused } = group.group;
  const { admission } = state;
  if (parallel === 0) return `group "${name}" has no slots. Give it some: corral group set ${name} --parallel 1`;
  if (group.active >= parallel) {
    const limit = parallel === 1 ? 'one job' : `${parallel} jobs`;
    return `${group.active} job(s) already running. Only ${limit} can run at a time.`;
  }
  if (admission === 'closing') return 'the daemon is stopping.';
  if (admission !== 'open') return `${admission.pausedFor} Nothing is started until there is room.`;
  if (paused) return `group "${name}" is paused. Let it go on: corral group resume ${name}`;
  if (group.queued === 0) return `no job is pending in group "${name}".`;
  const job = nextReady(state, group);
  if (job === undefined) return `no pending job of group "${name}" is ready${whyNoneIsReady(state, name)}.`;
  const inMs = tokenAtMonoMs(group.group, group.bucket) - now.monoMs;
  if (inMs > 0) return `the rate of group "${name}" allows the next start in ${formatDuration(Math.ceil(inMs))}.`;
  return job;
}

function whyNoneIsReady(state: State, name: string): string {
  const counts = new Map<Obstacle, number>();
  for (const job of state.live.values()) {
    if (job.definition.group !== name || job.phase.status !== 'queued') continue;
    const obstacle = obstacleOf(job);
    if (obstacle !== null) counts.set(obstacle, (counts.get(obstacle) ?? 0) + 1);
  }
  const reasons = [...counts].map(([obstacle, count]) => `${count} ${obstacleWords(obstacle, count)}`);
  return reasons.length === 0 ? '' : `: ${reasons.join(', ')}`;
}

function obstacleWords(obstacle: Obstacle, count: number): string {
  switch (obstacle) {
    case 'held':
      return count === 1 ? 'is paused' : 'are paused';
    case 'after':
      return count === 1 ? 'waits for other jobs to end' : 'wait for other jobs to end';
    case 'notBefore':
      return count === 1 ? 'waits for its time' : 'wait for their time';
    default:
      return unreachable(obstacle);
  }
}
