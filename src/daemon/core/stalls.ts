/** What should move by itself and does not: a queue that nobody empties, a launch that does not answer. */
import type { Instant } from './instant.ts';
import type { Job } from './job.ts';
import { startsByItself } from './queue.ts';
import { tokenAtMonoMs } from './rate.ts';
import type { GroupState, State } from './state.ts';
import { isReady } from './waiting.ts';

/** A job that could start is started in the same turn of the loop. One that has been there for this long has been forgotten. */
const queuePatienceMs = 5_000;

/** A daemon that comes this late to its own beat was held up itself: what it finds then is no sign of anything else. */
const beatPatienceMs = 3_000;

/** Between the decision to start and the process there is a file to open and a fork. */
const launchPatienceMs = 30_000;

/** A group that does not start a job which it could start. */
export interface StalledQueue {
  readonly group: string;
  readonly jobId: number;
  readonly sinceMonoMs: number;
}

/** Finds queues that stand still for no reason. Looked at on each beat of the daemon. */
export class QueueWatch {
  #seen = new Map<string, StalledQueue & { readonly starts: number }>();
  #lookedAtMonoMs: number | null = null;

  /** What has stalled by now. Looks at the jobs of a group only where it has queued ones and a free slot. */
  look(state: State, now: Instant): StalledQueue[] {
    const isLate = this.#lookedAtMonoMs === null || now.monoMs - this.#lookedAtMonoMs > beatPatienceMs;
    const before = isLate ? new Map() : this.#seen;
    this.#lookedAtMonoMs = now.monoMs;
    this.#seen = new Map();
    if (state.admission !== 'open') return [];
    for (const [name, group] of state.groups) {
      if (!couldStart(group, now)) continue;
      const known = before.get(name);
      const stands =
        known !== undefined && known.starts === group.starts && isReadyIn(state.live.get(known.jobId), name);
      if (stands) this.#seen.set(name, known);
      else this.#note(state, group, now);
    }
    return [...this.#seen.values()].filter(({ sinceMonoMs }) => now.monoMs - sinceMonoMs > queuePatienceMs);
  }

  /** Nothing is started at the moment, and that is told by itself. */
  forget(): void {
    this.#seen = new Map();
  }

  /** Not by the heap of the group: it may be the heap that has lost the job. */
  #note(state: State, { group: { name }, starts }: GroupState, now: Instant): void {
    for (const job of state.live.values()) {
      if (!isReadyIn(job, name)) continue;
      this.#seen.set(name, { group: name, jobId: job.id, sinceMonoMs: now.monoMs, starts });
      return;
    }
  }
}

function couldStart(group: GroupState, now: Instant): boolean {
  const { queued, active, bucket } = group;
  const hasRoom = queued > 0 && active < group.group.parallel;
  return hasRoom && startsByItself(group) && tokenAtMonoMs(group.group, bucket) <= now.monoMs;
}

function isReadyIn(job: Job | undefined, group: string): boolean {
  return job !== undefined && isReady(job) && job.definition.group === group;
}

/** Jobs whose launch has not answered for too long: neither a process nor a failure. */
export function stalledLaunches(state: State, now: Instant): number[] {
  return [...state.live.values()].flatMap(({ id, phase }) =>
    phase.status === 'starting' && now.monoMs - phase.sinceMonoMs > launchPatienceMs ? id : [],
  );
}
