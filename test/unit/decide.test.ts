import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  apply,
  type Decision,
  decide,
  definitionFrom,
  type Effect,
  type Event,
  emptyState,
  type GroupSettings,
  type Instant,
  isDrained,
  isPaused,
  type Job,
  killPatienceMs,
  nextDeadline,
  noUsage,
  type State,
  type StopMode,
  schedule,
  shutdownGraceMs,
} from '../../src/daemon/core/index.ts';
import type { BulkReport, JobSpec, RunPending, SignalName } from '../../src/protocol/index.ts';
import { groupOf, instant } from '../support/records.ts';

const at = (monoMs: number): Instant => instant(monoMs, 1_700_000_000_000 + monoMs);

/** A daemon without its shells: turns as the supervisor takes them, on a store that is a map. */
class Scenario {
  readonly state = emptyState();
  readonly jobs = new Map<number, Job>();

  constructor({ parallel = 1, maxQueued = 3 } = {}) {
    apply(this.state, [{ kind: 'group', before: null, after: groupOf('default', { parallel, maxQueued }) }]);
  }

  turn(now: Instant, events: readonly Event[]): Effect[] {
    const effects: Effect[] = [];
    for (const event of events) effects.push(...this.#commit(this.decide(now, event)).effects);
    effects.push(...this.#commit(schedule(this.state, 'scan', now)).effects);
    return effects;
  }

  /** A turn whose commit fails. */
  undoneTurn(now: Instant, events: readonly Event[]): void {
    const undos = events.map((event) => apply(this.state, this.decide(now, event).changes));
    undos.push(apply(this.state, schedule(this.state, 'scan', now).changes));
    for (const undo of undos.reverse()) undo();
  }

  decide(now: Instant, event: Event): Decision {
    return decide(this.state, this.#withFacts(event), now);
  }

  get told(): string {
    return [...this.jobs.values()].map(tell).join(', ');
  }

  #withFacts(event: Event): Event {
    const jobs = [...this.jobs.values()];
    const ended = new Map(jobs.filter(({ id }) => !this.state.live.has(id)).map((job) => [job.id, job]));
    if (event.type === 'submit') {
      return { ...event, ended, known: new Map(jobs.map((job) => [job.definition.idempotencyKey ?? '', job])) };
    }
    return 'ended' in event ? { ...event, ended } : event;
  }

  #commit(decision: Decision): Decision {
    apply(this.state, decision.changes);
    for (const change of decision.changes) {
      if (change.kind === 'job') this.jobs.set(change.after.id, change.after);
      if (change.kind === 'jobRemoved') this.jobs.delete(change.jobId);
    }
    return decision;
  }
}

/** `stopping max-runtime, 2 strays`: all that a scenario is about, in words. */
function tell(job: Job): string {
  const { phase, attempts } = job;
  const attempt = attempts.at(-1);
  const cause = 'cause' in phase ? phase.cause : phase.status === 'queued' ? null : attempt?.cause;
  return [
    phase.status,
    ...(cause ? [` ${cause}`] : []),
    ...(isPaused(job) ? [' paused'] : []),
    ...(attempt?.strays ? [` +${attempt.strays}`] : []),
    ...(phase.status === 'stopping' && phase.unkillable ? [' unkillable'] : []),
  ].join('');
}

function tellEffect(effect: Effect): string {
  switch (effect.type) {
    case 'reply':
      return tellReply(effect.result as Reply);
    case 'refuse':
      return effect.code;
    case 'removeOutput':
      return `${effect.type} ${effect.job.id}.${effect.attempts.join()}`;
    case 'launch':
    case 'finished':
    case 'dropOutput':
      return `${effect.type} ${effect.job.id}`;
    case 'signal':
      return `${effect.signal} ${effect.jobId}`;
    case 'goOn':
      return 'go on';
    case 'sample':
      return `sample ${effect.checks.map(({ job }) => job.id).join(', ')}`;
    case 'countScope':
    case 'scopeClosed':
      return `${effect.type} ${effect.scope}`;
    default:
      return `${effect.type} ${effect.jobId}`;
  }
}

type Reply = string | BulkReport | RunPending | { id: number; created: boolean }[];

function tellReply(result: Reply): string {
  if (typeof result === 'string') return `set ${result}`;
  if ('job_ids' in result) return `started ${result.started} of ${result.total_pending}`;
  if (Array.isArray(result)) return result.map(({ id, created }) => `${created ? 'new' : 'known'} ${id}`).join(', ');
  assert.equal(result.failed, result.errors.length);
  return [
    `done ${result.done} of ${result.requested}`,
    ...result.errors.map(({ jobId, code }) => `${code} ${jobId}`),
  ].join(', ');
}

const submit = (...specs: Partial<JobSpec>[]): Event => ({
  type: 'submit',
  request: 1,
  definitions: specs.map((spec) => definitionFrom({ command: ['true'], env: {}, cwd: '/', killGraceMs: 50, ...spec })),
  known: new Map(),
  ended: new Map(),
});
const bulk = (jobIds: number[]) => ({ request: 1, jobIds, ended: new Map<number, Job>() });
const cancel = (jobIds = [1], mode: StopMode = 'graceful'): Event => ({ type: 'cancel', mode, ...bulk(jobIds) });
const kill = (jobIds = [1]): Event => cancel(jobIds, 'kill');
const signal = (jobIds = [1], name: SignalName = 'SIGHUP'): Event => ({
  type: 'signal',
  signal: name,
  ...bulk(jobIds),
});
const pause = (jobIds = [1]): Event => ({ type: 'pause', ...bulk(jobIds) });
const resume = (jobIds = [1]): Event => ({ type: 'resume', ...bulk(jobIds) });
const pauseGroup = (running: 'pause' | 'letRun' = 'pause', name = 'default'): Event => ({
  type: 'pauseGroup',
  request: 1,
  name,
  running,
});
const resumeGroup = (name = 'default'): Event => ({ type: 'resumeGroup', request: 1, name });
const remove = (jobIds = [1]): Event => ({ type: 'remove', ...bulk(jobIds) });
const setGroup = (settings: GroupSettings, name = 'default'): Event => ({
  type: 'setGroup',
  request: 1,
  name,
  settings,
});
const addGroup = (name: string, settings: GroupSettings = {}): Event => ({
  type: 'addGroup',
  request: 1,
  name,
  settings,
});
const removeGroup = (name: string): Event => ({ type: 'removeGroup', request: 1, name });
const runPending = (name = 'default'): Event => ({ type: 'runPending', request: 1, name, tier: 'scan' });
const launched = (jobId = 1): Event => ({
  type: 'launched',
  jobId,
  leader: { pid: 100 + jobId, startTicks: 7, bootId: 'b' },
});
const launchFailed = (jobId = 1): Event => ({
  type: 'launchFailed',
  jobId,
  message: 'nope: command not found',
  exit: { code: 127, signal: null },
});
const exited = (jobId = 1, { code = 0, remaining = 0 } = {}): Event => ({
  type: 'leaderExited',
  jobId,
  exit: { code, signal: null },
  remaining,
  usage: noUsage,
});
const ended = (jobId = 1, { signal: name = 'SIGTERM', remaining = 0 } = {}): Event => ({
  type: 'leaderExited',
  jobId,
  exit: { code: null, signal: name },
  remaining,
  usage: noUsage,
});
const foundEnded = (jobId = 1): Event => ({
  type: 'leaderExited',
  jobId,
  exit: { code: null, signal: null },
  remaining: 0,
  usage: noUsage,
});
const emptied = (jobId = 1): Event => ({ type: 'emptied', jobId, usage: { ...noUsage, cpuMs: 5 } });
const tick: Event = { type: 'tick' };
const sampled = (jobId = 1): Event => ({
  type: 'sampled',
  samples: [{ jobId, attempt: 1, atMonoMs: 900, counts: { cpu: 0 } }],
});
const shutdown: Event = { type: 'shutdown' };

/** When, what happens, what the jobs are then (in order of their ids), and what is to be done. */
type Step = readonly [monoMs: number, events: Event | readonly Event[], jobs: string, effects: readonly string[]];

interface Case {
  readonly name: string;
  readonly group?: { parallel?: number; maxQueued?: number };
  readonly steps: readonly Step[];
}

const submitted = (spec: Partial<JobSpec> = {}): Step => [0, submit(spec), 'starting', ['new 1', 'launch 1']];
const running = (spec: Partial<JobSpec> = {}): Step[] => [submitted(spec), [10, launched(), 'running', []]];

const ends: Case[] = [
  {
    name: 'a leader that exits with 0 completes the job',
    steps: [...running(), [20, exited(), 'completed exit', ['finished 1']]],
  },
  {
    name: 'a leader that exits with another code fails it',
    steps: [...running(), [20, exited(1, { code: 1 }), 'failed exit', ['finished 1']]],
  },
  {
    name: 'a success code of its own completes it',
    steps: [...running({ successCodes: [0, 3] }), [20, exited(1, { code: 3 }), 'completed exit', ['finished 1']]],
  },
  {
    name: 'success codes without 0 make 0 a failure',
    steps: [...running({ successCodes: [3] }), [20, exited(), 'failed exit', ['finished 1']]],
  },
  {
    name: 'a leader that a signal ended fails the job',
    steps: [...running(), [20, ended(1, { signal: 'SIGSEGV' }), 'failed signal', ['finished 1']]],
  },
  {
    name: 'a leader whose end was found, and not told, fails the job',
    steps: [...running(), [20, foundEnded(), 'failed exit', ['finished 1']]],
  },
  {
    name: 'a job that was being stopped when its end was missed keeps its cause',
    steps: [
      ...running(),
      [15, cancel(), 'stopping cancel', ['terminate 1', 'done 1 of 1']],
      [20, foundEnded(), 'cancelled cancel', ['finished 1']],
    ],
  },
  {
    name: 'a program that cannot be started fails the job',
    steps: [submitted(), [10, launchFailed(), 'failed spawn-error', ['finished 1']]],
  },
  {
    name: 'what is said about an ended job is not heard',
    steps: [
      ...running(),
      [20, exited(), 'completed exit', ['finished 1']],
      [30, [exited(1, { code: 1 }), emptied(), launched(), launchFailed()], 'completed exit', []],
    ],
  },
];

const stops: Case[] = [
  {
    name: 'max runtime counts from the launch and ends the job to the millisecond',
    steps: [
      ...running({ maxRuntimeMs: 100 }),
      [109, tick, 'running', []],
      [110, tick, 'stopping max-runtime', ['terminate 1']],
      [115, ended(), 'failed max-runtime', ['finished 1']],
    ],
  },
  {
    name: 'a max runtime beyond 2^31 ms is not cut short',
    steps: [
      ...running({ maxRuntimeMs: 2 ** 40, idle: null }),
      [2 ** 40 + 9, tick, 'running', []],
      [2 ** 40 + 10, tick, 'stopping max-runtime', ['terminate 1']],
    ],
  },
  {
    name: 'cancel during grace keeps max-runtime',
    steps: [
      ...running({ maxRuntimeMs: 100 }),
      [110, tick, 'stopping max-runtime', ['terminate 1']],
      [120, cancel(), 'stopping max-runtime', ['done 1 of 1']],
      [130, ended(), 'failed max-runtime', ['finished 1']],
    ],
  },
  {
    name: 'max runtime during the grace of a cancel changes nothing',
    steps: [
      ...running({ maxRuntimeMs: 100, killGraceMs: 500 }),
      [20, cancel(), 'stopping cancel', ['terminate 1', 'done 1 of 1']],
      [110, tick, 'stopping cancel', []],
      [130, ended(), 'cancelled cancel', ['finished 1']],
    ],
  },
  {
    name: 'a leader that exits with 0 after a cancel stays cancelled',
    steps: [
      ...running(),
      [20, cancel(), 'stopping cancel', ['terminate 1', 'done 1 of 1']],
      [30, exited(), 'cancelled cancel', ['finished 1']],
    ],
  },
  {
    name: 'a leader that has exited before the cancel keeps exit',
    steps: [...running(), [20, [exited(), cancel()], 'completed exit', ['finished 1', 'done 1 of 1']]],
  },
  {
    name: 'SIGKILL follows SIGTERM when the grace is over, not before',
    steps: [
      ...running({ killGraceMs: 50 }),
      [20, cancel(), 'stopping cancel', ['terminate 1', 'done 1 of 1']],
      [69, tick, 'stopping cancel', []],
      [70, tick, 'stopping cancel', ['kill 1']],
      [71, ended(1, { signal: 'SIGKILL' }), 'cancelled cancel', ['finished 1']],
    ],
  },
  {
    name: 'a leader that exits during the grace does not put off the end of its group',
    steps: [
      ...running({ killGraceMs: 50 }),
      [20, cancel(), 'stopping cancel', ['terminate 1', 'done 1 of 1']],
      [60, ended(1, { remaining: 2 }), 'stopping cancel', []],
      [70, tick, 'stopping cancel', ['kill 1']],
      [71, emptied(), 'cancelled cancel', ['finished 1']],
    ],
  },
  {
    name: 'a second cancel does not begin the grace again',
    steps: [
      ...running({ killGraceMs: 50 }),
      [20, cancel(), 'stopping cancel', ['terminate 1', 'done 1 of 1']],
      [60, cancel(), 'stopping cancel', ['done 1 of 1']],
      [70, tick, 'stopping cancel', ['kill 1']],
    ],
  },
  {
    name: 'a job without grace is killed at once',
    steps: [
      ...running({ killGraceMs: null }),
      [20, cancel(), 'stopping cancel', ['kill 1', 'done 1 of 1']],
      [30, ended(), 'cancelled cancel', ['finished 1']],
    ],
  },
  {
    name: 'a job without grace is killed at once when its time is over',
    steps: [...running({ killGraceMs: null, maxRuntimeMs: 100 }), [110, tick, 'stopping max-runtime', ['kill 1']]],
  },
  {
    name: 'cancel with kill skips the grace',
    steps: [...running(), [20, kill(), 'stopping cancel', ['kill 1', 'done 1 of 1']]],
  },
  {
    name: 'cancel with kill during the grace ends the grace, once',
    steps: [
      ...running({ maxRuntimeMs: 100 }),
      [110, tick, 'stopping max-runtime', ['terminate 1']],
      [120, kill(), 'stopping max-runtime', ['kill 1', 'done 1 of 1']],
      [130, kill(), 'stopping max-runtime', ['done 1 of 1']],
      [160, tick, 'stopping max-runtime', []],
    ],
  },
  {
    name: 'what SIGKILL does not end is unkillable when patience is over, is killed again, and ends when it is gone',
    steps: [
      ...running(),
      [20, kill(), 'stopping cancel', ['kill 1', 'done 1 of 1']],
      [20 + killPatienceMs - 1, tick, 'stopping cancel', []],
      [20 + killPatienceMs, tick, 'stopping cancel unkillable', ['kill 1']],
      [20 + 2 * killPatienceMs, tick, 'stopping cancel unkillable', ['kill 1']],
      [90_000, ended(1, { signal: 'SIGKILL', remaining: 1 }), 'stopping cancel unkillable', []],
      [90_001, emptied(), 'cancelled cancel', ['finished 1']],
    ],
  },
  {
    name: 'a killed job is not unkillable before its patience is over, whoever asks again',
    steps: [
      ...running({ killGraceMs: 50 }),
      [20, cancel(), 'stopping cancel', ['terminate 1', 'done 1 of 1']],
      [70, tick, 'stopping cancel', ['kill 1']],
      [80, [kill(), shutdown, shutdown], 'stopping cancel', ['done 1 of 1']],
      [70 + killPatienceMs, tick, 'stopping cancel unkillable', ['kill 1']],
    ],
  },
];

const strays: Case[] = [
  {
    name: 'strays are counted, terminated, and keep the result of the leader',
    steps: [
      ...running(),
      [20, exited(1, { remaining: 2 }), 'stopping exit +2', ['terminate 1']],
      [30, emptied(), 'completed exit +2', ['finished 1']],
    ],
  },
  {
    name: 'cancel during strays keeps exit',
    steps: [
      ...running(),
      [20, exited(1, { remaining: 1 }), 'stopping exit +1', ['terminate 1']],
      [30, cancel(), 'stopping exit +1', ['done 1 of 1']],
      [40, emptied(), 'completed exit +1', ['finished 1']],
    ],
  },
  {
    name: 'strays that ignore SIGTERM are killed when the grace is over',
    steps: [
      ...running({ killGraceMs: 50 }),
      [20, exited(1, { code: 4, remaining: 1 }), 'stopping exit +1', ['terminate 1']],
      [70, tick, 'stopping exit +1', ['kill 1']],
      [71, emptied(), 'failed exit +1', ['finished 1']],
    ],
  },
  {
    name: 'strays of a job without grace are killed at once',
    steps: [...running({ killGraceMs: null }), [20, exited(1, { remaining: 1 }), 'stopping exit +1', ['kill 1']]],
  },
  {
    name: 'the max runtime does not reach strays: they have their own deadline',
    steps: [
      ...running({ maxRuntimeMs: 100, killGraceMs: 500 }),
      [20, exited(1, { remaining: 1 }), 'stopping exit +1', ['terminate 1']],
      [110, tick, 'stopping exit +1', []],
      [520, tick, 'stopping exit +1', ['kill 1']],
    ],
  },
  {
    name: 'a slot is held until the last stray is gone',
    steps: [
      [0, submit({}, {}), 'starting, queued', ['new 1, new 2', 'launch 1']],
      [10, launched(), 'running, queued', []],
      [20, exited(1, { remaining: 1 }), 'stopping exit +1, queued', ['terminate 1']],
      [30, emptied(), 'completed exit +1, starting', ['finished 1', 'launch 2']],
    ],
  },
];

const starting: Case[] = [
  {
    name: 'cancel while starting is carried out as soon as there is a process',
    steps: [
      submitted(),
      [5, cancel(), 'starting cancel', ['done 1 of 1']],
      [10, launched(), 'stopping cancel', ['terminate 1']],
      [60, tick, 'stopping cancel', ['kill 1']],
      [61, ended(), 'cancelled cancel', ['finished 1']],
    ],
  },
  {
    name: 'cancel with kill while starting kills as soon as there is a process',
    steps: [
      submitted(),
      [5, kill(), 'starting cancel', ['done 1 of 1']],
      [10, launched(), 'stopping cancel', ['kill 1']],
    ],
  },
  {
    name: 'cancel with kill while starting hurries a graceful one',
    steps: [
      submitted(),
      [5, [cancel(), kill()], 'starting cancel', ['done 1 of 1', 'done 1 of 1']],
      [10, launched(), 'stopping cancel', ['kill 1']],
    ],
  },
  {
    name: 'a graceful cancel while starting does not soften a kill',
    steps: [
      submitted(),
      [5, [kill(), cancel()], 'starting cancel', ['done 1 of 1', 'done 1 of 1']],
      [10, launched(), 'stopping cancel', ['kill 1']],
    ],
  },
  {
    name: 'the first of two causes while starting wins',
    steps: [
      submitted({ onSupervisorLost: 'retry' }),
      [5, [cancel(), shutdown], 'starting cancel', ['done 1 of 1']],
      [10, launched(), 'stopping cancel', ['terminate 1']],
      [20, ended(), 'cancelled cancel', ['finished 1']],
    ],
  },
  {
    name: 'a launch that fails after a cancel is cancelled',
    steps: [
      submitted(),
      [5, cancel(), 'starting cancel', ['done 1 of 1']],
      [10, launchFailed(), 'cancelled cancel', ['finished 1']],
    ],
  },
  {
    name: 'the max runtime of a cancelled launch does not outlast the cancel',
    steps: [
      submitted({ maxRuntimeMs: 20, killGraceMs: 50 }),
      [5, cancel(), 'starting cancel', ['done 1 of 1']],
      [10, launched(), 'stopping cancel', ['terminate 1']],
      [30, tick, 'stopping cancel', []],
      [60, tick, 'stopping cancel', ['kill 1']],
    ],
  },
];

const requests: Case[] = [
  {
    name: 'a queued job that is cancelled ends without having run',
    group: { parallel: 0 },
    steps: [
      [0, submit({}), 'queued', ['new 1']],
      [5, cancel(), 'cancelled cancel', ['finished 1', 'done 1 of 1']],
      [6, setGroup({ parallel: 9 }), 'cancelled cancel', ['set default']],
    ],
  },
  {
    name: 'cancel of an ended job is done, of an unknown one is refused by name, of one named twice is done once',
    steps: [
      ...running(),
      [20, exited(), 'completed exit', ['finished 1']],
      [30, cancel([1, 9, 1]), 'completed exit', ['done 1 of 2, JOB_NOT_FOUND 9']],
    ],
  },
  {
    name: 'only jobs with processes are signalled; the others are refused by name',
    group: { parallel: 3 },
    steps: [
      [
        0,
        submit({}, {}, {}),
        'starting, starting, starting',
        ['new 1, new 2, new 3', 'launch 1', 'launch 2', 'launch 3'],
      ],
      [5, [launched(1), launched(2), exited(2)], 'running, completed exit, starting', ['finished 2']],
      [
        6,
        [setGroup({ parallel: 0 }), submit({})],
        'running, completed exit, starting, queued',
        ['set default', 'new 4'],
      ],
      [
        10,
        signal([1, 2, 3, 4, 9]),
        'running, completed exit, starting, queued',
        ['SIGHUP 1', 'done 1 of 5, JOB_NOT_RUNNING 2, JOB_NOT_RUNNING 3, JOB_NOT_RUNNING 4, JOB_NOT_FOUND 9'],
      ],
    ],
  },
  {
    name: 'a stopping job can be signalled',
    steps: [
      ...running(),
      [20, cancel(), 'stopping cancel', ['terminate 1', 'done 1 of 1']],
      [30, signal(), 'stopping cancel', ['SIGHUP 1', 'done 1 of 1']],
    ],
  },
  {
    name: 'live jobs are not removed, and say so, while the others proceed',
    group: { parallel: 2 },
    steps: [
      [0, submit({}, {}, {}), 'starting, starting, queued', ['new 1, new 2, new 3', 'launch 1', 'launch 2']],
      [5, [launched(1), exited(1)], 'completed exit, starting, starting', ['finished 1', 'launch 3']],
      [6, launched(2), 'completed exit, running, starting', []],
      [
        10,
        remove([3, 1, 2, 9]),
        'running, starting',
        ['removeOutput 1.1', 'done 1 of 4, JOB_RUNNING 3, JOB_RUNNING 2, JOB_NOT_FOUND 9'],
      ],
      [11, remove([1]), 'running, starting', ['done 0 of 1, JOB_NOT_FOUND 1']],
    ],
  },
  {
    name: 'a queued job is not removed',
    group: { parallel: 0 },
    steps: [
      [0, submit({}), 'queued', ['new 1']],
      [5, remove(), 'queued', ['done 0 of 1, JOB_RUNNING 1']],
    ],
  },
  {
    name: 'a group takes as many as it allows, and no batch in part',
    group: { parallel: 0, maxQueued: 3 },
    steps: [
      [0, submit({}, {}), 'queued, queued', ['new 1, new 2']],
      [1, submit({}, {}), 'queued, queued', ['QUEUE_FULL']],
      [2, submit({}), 'queued, queued, queued', ['new 3']],
      [3, submit({}), 'queued, queued, queued', ['QUEUE_FULL']],
      [
        4,
        [cancel([2]), submit({})],
        'queued, cancelled cancel, queued, queued',
        ['finished 2', 'done 1 of 1', 'new 4'],
      ],
      [5, setGroup({ maxQueued: 4 }), 'queued, cancelled cancel, queued, queued', ['set default']],
      [6, submit({}), 'queued, cancelled cancel, queued, queued, queued', ['new 5']],
    ],
  },
  {
    name: 'only queued jobs count towards the limit of the queue',
    group: { parallel: 1, maxQueued: 1 },
    steps: [
      submitted(),
      [1, submit({}), 'starting, queued', ['new 2']],
      [2, submit({}), 'starting, queued', ['QUEUE_FULL']],
    ],
  },
  {
    name: 'a job that an idempotency key brings back takes no room in the queue',
    group: { parallel: 0, maxQueued: 1 },
    steps: [
      [0, submit({ idempotencyKey: 'k' }), 'queued', ['new 1']],
      [1, submit({ idempotencyKey: 'k' }), 'queued', ['known 1']],
    ],
  },
  {
    name: 'the same key with the same command makes one job, also within a batch and after its end',
    steps: [
      [
        0,
        submit({ idempotencyKey: 'k' }, { idempotencyKey: 'k', priority: 5 }, {}),
        'starting, queued',
        ['new 1, known 1, new 2', 'launch 1'],
      ],
      [5, [launched(1), exited(1)], 'completed exit, starting', ['finished 1', 'launch 2']],
      [6, submit({ idempotencyKey: 'k' }), 'completed exit, starting', ['known 1']],
    ],
  },
  {
    name: 'the same key with another command is refused, and the rest of its batch with it',
    steps: [
      [0, submit({ idempotencyKey: 'k' }), 'starting', ['new 1', 'launch 1']],
      [1, submit({}, { idempotencyKey: 'k', command: ['true', '-x'] }), 'starting', ['IDEMPOTENCY_MISMATCH']],
      [
        2,
        submit({ idempotencyKey: 'n' }, { idempotencyKey: 'n', command: ['false'] }),
        'starting',
        ['IDEMPOTENCY_MISMATCH'],
      ],
    ],
  },
  {
    name: 'jobs without a key are never taken for each other',
    group: { parallel: 0 },
    steps: [[0, submit({}, {}), 'queued, queued', ['new 1, new 2']]],
  },
  {
    name: 'a group that does not exist is refused',
    steps: [
      [0, submit({ group: 'nope' }), '', ['GROUP_NOT_FOUND']],
      [1, setGroup({ parallel: 1 }, 'nope'), '', ['GROUP_NOT_FOUND']],
    ],
  },
  {
    name: 'more slots start more jobs; fewer end none, and start none until enough have ended',
    steps: [
      [0, submit({}, {}, {}), 'starting, queued, queued', ['new 1, new 2, new 3', 'launch 1']],
      [1, setGroup({ parallel: 2 }), 'starting, starting, queued', ['set default', 'launch 2']],
      [2, setGroup({ parallel: 1 }), 'starting, starting, queued', ['set default']],
      [3, launchFailed(1), 'failed spawn-error, starting, queued', ['finished 1']],
      [4, launchFailed(2), 'failed spawn-error, failed spawn-error, starting', ['finished 2', 'launch 3']],
    ],
  },
];

const shutdowns: Case[] = [
  {
    name: 'a shutdown ends what runs, leaves what is queued, and starts nothing',
    steps: [
      [0, submit({}, {}), 'starting, queued', ['new 1, new 2', 'launch 1']],
      [10, launched(), 'running, queued', []],
      [20, shutdown, 'stopping supervisor-lost, queued', ['terminate 1']],
      [30, ended(), 'failed supervisor-lost, queued', ['finished 1']],
    ],
  },
  {
    name: 'a job that may be retried goes back to the queue, and is not started',
    steps: [
      ...running({ onSupervisorLost: 'retry' }),
      [20, shutdown, 'stopping supervisor-lost', ['terminate 1']],
      [30, ended(), 'queued', []],
      [40, tick, 'queued', []],
    ],
  },
  {
    name: 'a job that may be retried and ended by itself has its result',
    steps: [
      ...running({ onSupervisorLost: 'retry' }),
      [20, exited(1, { remaining: 1 }), 'stopping exit +1', ['terminate 1']],
      [25, shutdown, 'stopping exit +1', []],
      [30, emptied(), 'completed exit +1', ['finished 1']],
    ],
  },
  {
    name: 'a shutdown keeps the cause of what is stopping already',
    steps: [
      ...running({ onSupervisorLost: 'retry' }),
      [20, cancel(), 'stopping cancel', ['terminate 1', 'done 1 of 1']],
      [21, shutdown, 'stopping cancel', []],
      [30, ended(), 'cancelled cancel', ['finished 1']],
    ],
  },
  {
    name: 'a second shutdown kills',
    steps: [
      ...running(),
      [20, shutdown, 'stopping supervisor-lost', ['terminate 1']],
      [21, shutdown, 'stopping supervisor-lost', ['kill 1']],
      [22, shutdown, 'stopping supervisor-lost', []],
    ],
  },
  {
    name: 'a second shutdown kills what is starting as soon as there is a process',
    steps: [
      submitted(),
      [5, [shutdown, shutdown], 'starting supervisor-lost', []],
      [10, launched(), 'stopping supervisor-lost', ['kill 1']],
    ],
  },
  {
    name: 'a shutdown while starting is carried out as soon as there is a process',
    steps: [
      submitted(),
      [5, shutdown, 'starting supervisor-lost', []],
      [10, launched(), 'stopping supervisor-lost', ['terminate 1']],
    ],
  },
  {
    name: 'a shutdown submits nothing more',
    steps: [
      [0, shutdown, '', []],
      [1, submit({}), '', ['SHUTTING_DOWN']],
    ],
  },
  {
    name: 'queued jobs can be cancelled during a shutdown',
    group: { parallel: 0 },
    steps: [
      [0, submit({}), 'queued', ['new 1']],
      [1, [shutdown, cancel()], 'cancelled cancel', ['finished 1', 'done 1 of 1']],
    ],
  },
  {
    name: 'a shutdown gives a job its own grace where that is short',
    steps: [
      ...running({ killGraceMs: 50 }),
      [20, shutdown, 'stopping supervisor-lost', ['terminate 1']],
      [70, tick, 'stopping supervisor-lost', ['kill 1']],
    ],
  },
  {
    name: 'a shutdown gives a job without grace none',
    steps: [...running({ killGraceMs: null }), [20, shutdown, 'stopping supervisor-lost', ['kill 1']]],
  },
  {
    name: 'a shutdown cuts a long grace down',
    steps: [
      ...running({ killGraceMs: 3_600_000 }),
      [20, shutdown, 'stopping supervisor-lost', ['terminate 1']],
      [20 + shutdownGraceMs, tick, 'stopping supervisor-lost', ['kill 1']],
    ],
  },
  {
    name: 'a shutdown cuts the long grace of a job that is starting down',
    steps: [
      submitted({ killGraceMs: 3_600_000 }),
      [5, shutdown, 'starting supervisor-lost', []],
      [10, launched(), 'stopping supervisor-lost', ['terminate 1']],
      [10 + shutdownGraceMs, tick, 'stopping supervisor-lost', ['kill 1']],
    ],
  },
  {
    name: 'a shutdown cuts the long grace of a job that is stopping already down',
    steps: [
      ...running({ killGraceMs: 3_600_000 }),
      [20, cancel(), 'stopping cancel', ['terminate 1', 'done 1 of 1']],
      [30, shutdown, 'stopping cancel', []],
      [30 + shutdownGraceMs, tick, 'stopping cancel', ['kill 1']],
    ],
  },
];

const pauses: Case[] = [
  {
    name: 'a paused job is frozen, its max runtime stands still, and goes on with what was left',
    steps: [
      ...running({ maxRuntimeMs: 100 }),
      [50, pause(), 'running paused', ['freeze 1', 'done 1 of 1']],
      [5_000, tick, 'running paused', []],
      [9_000, resume(), 'running', ['thaw 1', 'done 1 of 1']],
      [9_059, tick, 'running', []],
      [9_060, tick, 'stopping max-runtime', ['terminate 1']],
    ],
  },
  {
    name: 'a job whose time is over in the turn in which it is paused is not ended',
    steps: [
      ...running({ maxRuntimeMs: 100 }),
      [110, [pause(), tick], 'running paused', ['freeze 1', 'done 1 of 1']],
      [900, [resume(), tick], 'stopping max-runtime', ['thaw 1', 'done 1 of 1', 'terminate 1']],
    ],
  },
  {
    name: 'pausing twice and resuming twice is done',
    steps: [
      ...running({ maxRuntimeMs: 100 }),
      [20, [pause(), pause()], 'running paused', ['freeze 1', 'done 1 of 1', 'done 1 of 1']],
      [30, pause(), 'running paused', ['done 1 of 1']],
      [40, [resume(), resume()], 'running', ['thaw 1', 'done 1 of 1', 'done 1 of 1']],
      [129, tick, 'running', []],
      [130, tick, 'stopping max-runtime', ['terminate 1']],
    ],
  },
  {
    name: 'a queued job that is paused does not start until it is resumed; others pass it by',
    group: { parallel: 1 },
    steps: [
      [
        0,
        [submit({ priority: 5 }, {}), pause()],
        'queued paused, starting',
        ['new 1, new 2', 'done 1 of 1', 'launch 2'],
      ],
      [10, launchFailed(2), 'queued paused, failed spawn-error', ['finished 2']],
      [20, resume(), 'starting, failed spawn-error', ['done 1 of 1', 'launch 1']],
    ],
  },
  {
    name: 'the start deadline of a paused job stands still, and goes on with what was left',
    group: { parallel: 0 },
    steps: [
      [0, submit({ startDeadlineMs: 100 }), 'queued', ['new 1']],
      [60, pause(), 'queued paused', ['done 1 of 1']],
      [5_000, tick, 'queued paused', []],
      [6_000, resume(), 'queued', ['done 1 of 1']],
      [6_039, tick, 'queued', []],
      [6_040, tick, 'failed start-deadline', ['finished 1']],
    ],
  },
  {
    name: 'a delay goes on while the job is paused',
    steps: [
      [0, [submit({ delayMs: 100 }), pause()], 'queued paused', ['new 1', 'done 1 of 1']],
      [100, tick, 'queued paused', []],
      [200, resume(), 'starting', ['done 1 of 1', 'launch 1']],
    ],
  },
  {
    name: 'a job that is paused while starting is frozen as soon as there is a process',
    steps: [
      submitted({ maxRuntimeMs: 100 }),
      [5, pause(), 'starting paused', ['done 1 of 1']],
      [10, launched(), 'running paused', ['freeze 1']],
      [500, tick, 'running paused', []],
      [510, resume(), 'running', ['thaw 1', 'done 1 of 1']],
      [610, tick, 'stopping max-runtime', ['terminate 1']],
    ],
  },
  {
    name: 'a job that is paused and resumed while starting is not frozen',
    steps: [
      submitted(),
      [5, [pause(), resume()], 'starting', ['done 1 of 1', 'done 1 of 1']],
      [10, launched(), 'running', []],
    ],
  },
  {
    name: 'a paused job that is cancelled while starting is terminated, not frozen',
    steps: [
      submitted(),
      [5, [pause(), cancel()], 'starting cancel paused', ['done 1 of 1', 'done 1 of 1']],
      [10, launched(), 'stopping cancel', ['terminate 1']],
    ],
  },
  {
    name: 'a paused job can be cancelled, killed and shut down',
    group: { parallel: 3 },
    steps: [
      [
        0,
        submit({}, {}, {}),
        'starting, starting, starting',
        ['new 1, new 2, new 3', 'launch 1', 'launch 2', 'launch 3'],
      ],
      [10, [launched(), launched(2), launched(3)], 'running, running, running', []],
      [
        20,
        pause([1, 2, 3]),
        'running paused, running paused, running paused',
        ['freeze 1', 'freeze 2', 'freeze 3', 'done 3 of 3'],
      ],
      [30, cancel(), 'stopping cancel, running paused, running paused', ['terminate 1', 'done 1 of 1']],
      [40, kill([2]), 'stopping cancel, stopping cancel, running paused', ['kill 2', 'done 1 of 1']],
      [50, shutdown, 'stopping cancel, stopping cancel, stopping supervisor-lost', ['terminate 3']],
    ],
  },
  {
    name: 'a job that is stopping or has ended is neither paused nor resumed',
    steps: [
      ...running(),
      [20, cancel(), 'stopping cancel', ['terminate 1', 'done 1 of 1']],
      [21, pause(), 'stopping cancel', ['done 0 of 1, JOB_NOT_RUNNING 1']],
      [22, resume(), 'stopping cancel', ['done 0 of 1, JOB_NOT_RUNNING 1']],
      [23, ended(), 'cancelled cancel', ['finished 1']],
      [24, pause([1, 2]), 'cancelled cancel', ['done 0 of 2, JOB_NOT_RUNNING 1, JOB_NOT_FOUND 2']],
      [25, resume([1, 2]), 'cancelled cancel', ['done 0 of 2, JOB_NOT_RUNNING 1, JOB_NOT_FOUND 2']],
    ],
  },
  {
    name: 'a paused job whose process somebody else kills ends; what is left of it is thawed to be ended',
    steps: [
      ...running(),
      [20, pause(), 'running paused', ['freeze 1', 'done 1 of 1']],
      [30, ended(1, { signal: 'SIGKILL', remaining: 2 }), 'stopping signal +2', ['terminate 1']],
      [40, emptied(), 'failed signal +2', ['finished 1']],
    ],
  },
  {
    name: 'a paused job that is run again stays paused',
    steps: [
      ...running({ onSupervisorLost: 'retry' }),
      [20, pause(), 'running paused', ['freeze 1', 'done 1 of 1']],
      [30, shutdown, 'stopping supervisor-lost', ['terminate 1']],
      [40, ended(), 'queued paused', []],
    ],
  },
  {
    name: 'a paused group starts nothing and its running jobs are frozen; what was paused by itself stays so',
    group: { parallel: 3, maxQueued: 9 },
    steps: [
      [0, submit({}, {}), 'starting, starting', ['new 1, new 2', 'launch 1', 'launch 2']],
      [10, [launched(), launched(2)], 'running, running', []],
      [20, pause(), 'running paused, running', ['freeze 1', 'done 1 of 1']],
      [30, pauseGroup(), 'running paused, running paused', ['freeze 2', 'done 2 of 2']],
      [40, submit({}), 'running paused, running paused, queued', ['new 3']],
      [50, resumeGroup(), 'running paused, running, starting', ['thaw 2', 'done 1 of 1', 'launch 3']],
    ],
  },
  {
    name: 'a job that was paused with its group and then by itself stays paused when the group goes on',
    steps: [
      ...running(),
      [20, [pauseGroup(), pause()], 'running paused', ['freeze 1', 'done 1 of 1', 'done 1 of 1']],
      [30, resumeGroup(), 'running paused', ['done 0 of 0']],
      [40, resume(), 'running', ['thaw 1', 'done 1 of 1']],
    ],
  },
  {
    name: 'a paused group may let its jobs run to their end',
    group: { parallel: 1 },
    steps: [
      [0, submit({}, {}), 'starting, queued', ['new 1, new 2', 'launch 1']],
      [10, [launched(), pauseGroup('letRun')], 'running, queued', ['done 0 of 0']],
      [20, exited(), 'completed exit, queued', ['finished 1']],
      [30, resumeGroup(), 'completed exit, starting', ['done 0 of 0', 'launch 2']],
    ],
  },
  {
    name: 'the start deadlines of those that wait stand still with their group, and go on with what was left',
    group: { parallel: 0 },
    steps: [
      [0, submit({ startDeadlineMs: 100 }), 'queued', ['new 1']],
      [60, pauseGroup(), 'queued', ['done 0 of 0']],
      [70, submit({ startDeadlineMs: 100 }), 'queued, queued', ['new 2']],
      [5_000, tick, 'queued, queued', []],
      [6_000, resumeGroup(), 'queued, queued', ['done 0 of 0']],
      [6_039, tick, 'queued, queued', []],
      [6_040, tick, 'failed start-deadline, queued', ['finished 1']],
      [6_100, tick, 'failed start-deadline, failed start-deadline', ['finished 2']],
    ],
  },
  {
    name: 'a job that its group froze and that goes back to its queue is not paused itself any more',
    steps: [
      ...running({ onSupervisorLost: 'retry' }),
      [20, pauseGroup(), 'running paused', ['freeze 1', 'done 1 of 1']],
      [30, shutdown, 'stopping supervisor-lost', ['terminate 1']],
      [40, ended(), 'queued', []],
    ],
  },
  {
    name: 'a group that is set open has what its pause froze go on',
    steps: [
      ...running(),
      [20, pauseGroup(), 'running paused', ['freeze 1', 'done 1 of 1']],
      [30, setGroup({ parallel: 2 }), 'running paused', ['set default']],
      [40, setGroup({ paused: false }), 'running', ['thaw 1', 'set default']],
    ],
  },
  {
    name: 'a group that does not exist is neither paused nor resumed',
    steps: [[0, [pauseGroup('pause', 'nope'), resumeGroup('nope')], '', ['GROUP_NOT_FOUND', 'GROUP_NOT_FOUND']]],
  },
];

for (const [about, cases] of Object.entries({ ends, stops, strays, starting, requests, shutdowns, pauses })) {
  describe(about, () => {
    for (const { name, group, steps } of cases) {
      test(name, () => {
        const scenario = new Scenario(group);
        for (const [monoMs, events, jobs, effects] of steps) {
          const done = scenario.turn(at(monoMs), [events].flat() as Event[]);
          assert.deepEqual(
            { monoMs, jobs: scenario.told, effects: done.map(tellEffect) },
            { monoMs, jobs, effects: [...effects] },
          );
        }
      });
    }
  });
}

/** The shortest way into each status that an event may find a job in. */
const ways: Record<string, { group?: { parallel: number }; events: readonly Event[] }> = {
  unknown: { events: [] },
  queued: { group: { parallel: 0 }, events: [submit({})] },
  starting: { events: [submit({})] },
  running: { events: [submit({ maxRuntimeMs: 100 }), launched()] },
  held: { group: { parallel: 0 }, events: [submit({ startDeadlineMs: 100 }), pause()] },
  shut: { group: { parallel: 0 }, events: [submit({ startDeadlineMs: 100 }), pauseGroup()] },
  paused: { events: [submit({ maxRuntimeMs: 100 }), launched(), pause()] },
  stopping: { events: [submit({}), launched(), cancel()] },
  draining: { events: [submit({}), launched(), exited(1, { remaining: 1 })] },
  completed: { events: [submit({}), launched(), exited()] },
  failed: { events: [submit({}), launchFailed()] },
  cancelled: { group: { parallel: 0 }, events: [submit({}), cancel()] },
};
const everyEvent: readonly Event[] = [
  submit({}),
  cancel(),
  kill(),
  signal(),
  pause(),
  resume(),
  pauseGroup(),
  resumeGroup(),
  remove(),
  setGroup({ parallel: 2 }),
  setGroup({ ratePerSecond: 2 }),
  setGroup({ paused: true }),
  addGroup('other'),
  removeGroup('default'),
  runPending(),
  launched(),
  launchFailed(),
  exited(),
  exited(1, { remaining: 1 }),
  emptied(),
  tick,
  sampled(),
  shutdown,
];

function reached(status: string): Scenario {
  const { group, events } = ways[status] as (typeof ways)[string];
  const scenario = new Scenario(group);
  for (const event of events) scenario.turn(at(0), [event]);
  return scenario;
}

function eventName(event: Event): string {
  const mode = event.type === 'cancel' && event.mode === 'kill' ? ' with kill' : '';
  return `${event.type}${mode}${event.type === 'leaderExited' && event.remaining > 0 ? ' with strays' : ''}`;
}

describe('decide is total and pure', () => {
  for (const status of Object.keys(ways)) {
    for (const event of everyEvent) {
      test(`there is an answer to ${eventName(event)} for a job that is ${status}, and it is the same if asked twice`, () => {
        const scenario = reached(status);
        const before = seen(scenario.state);
        const answer = scenario.decide(at(1_000), event);
        assert.deepEqual(seen(scenario.state), before);
        assert.deepEqual(scenario.decide(at(1_000), event), answer);
      });
    }
  }
});

function seen(state: State) {
  return {
    admission: state.admission,
    live: [...state.live].sort(([a], [b]) => a - b),
    groups: [...state.groups].sort().map(([, { ready, ...rest }]) => rest),
    deadlineMonoMs: nextDeadline(state),
  };
}

describe('undo', () => {
  const lostTurns: { name: string; group?: { parallel: number }; before: readonly Event[]; lost: readonly Event[] }[] =
    [
      { name: 'a submit', before: [], lost: [submit({}, {})] },
      { name: 'a start', group: { parallel: 0 }, before: [submit({}, {})], lost: [setGroup({ parallel: 1 })] },
      { name: 'the cancel of a queued job', group: { parallel: 0 }, before: [submit({}, {})], lost: [cancel()] },
      { name: 'a submit and its cancel', before: [], lost: [submit({}), cancel()] },
      { name: 'the cancel of a starting job', before: [submit({}, {})], lost: [cancel()] },
      { name: 'a launch', before: [submit({ maxRuntimeMs: 5 }, {})], lost: [launched()] },
      { name: 'the launch of a cancelled job', before: [submit({}, {}), cancel()], lost: [launched()] },
      { name: 'a launch that failed', before: [submit({}, {})], lost: [launchFailed()] },
      { name: 'the cancel of a running job', before: [submit({ maxRuntimeMs: 5 }, {}), launched()], lost: [cancel()] },
      { name: 'a max runtime', before: [submit({ maxRuntimeMs: 5 }, {}), launched()], lost: [tick] },
      { name: 'the end of a job', before: [submit({ maxRuntimeMs: 5 }, {}), launched()], lost: [exited()] },
      { name: 'an escalation', before: [submit({}, {}), launched(), cancel()], lost: [tick] },
      {
        name: 'the end of a job with strays',
        before: [submit({}, {}), launched(), exited(1, { remaining: 1 })],
        lost: [emptied()],
      },
      {
        name: 'a retry',
        before: [submit({ onSupervisorLost: 'retry' }, {}), launched(), shutdown],
        lost: [ended()],
      },
      {
        name: 'the pause of a group',
        before: [submit({}, { startDeadlineMs: 100 }), launched()],
        lost: [pauseGroup()],
      },
      {
        name: 'the end of the pause of a group',
        before: [submit({}, { startDeadlineMs: 100 }), launched(), pauseGroup()],
        lost: [resumeGroup()],
      },
      { name: 'a shutdown', before: [submit({}, {}), launched()], lost: [shutdown, submit({})] },
      { name: 'a new group', before: [], lost: [addGroup('other', { ratePerSecond: 2 }), submit({ group: 'other' })] },
      {
        name: 'the end of a group',
        before: [
          addGroup('other', { ratePerSecond: 0.1, burst: 3 }),
          submit({ group: 'other' }),
          launched(),
          exited(),
          addGroup('another'),
        ],
        lost: [removeGroup('other'), addGroup('other')],
      },
      { name: 'a token', before: [setGroup({ ratePerSecond: 0.1, parallel: 3 })], lost: [submit({}, {})] },
      {
        name: 'the wait for a token',
        before: [setGroup({ ratePerSecond: 0.1, parallel: 3 }), submit({})],
        lost: [submit({})],
      },
      {
        name: 'another rate',
        before: [setGroup({ ratePerSecond: 0.1, burst: 3, parallel: 3 }), submit({}, {})],
        lost: [setGroup({ ratePerSecond: 7 })],
      },
      {
        name: 'a start by hand',
        before: [setGroup({ mode: 'manual', ratePerSecond: 0.1 }), submit({}, {})],
        lost: [runPending()],
      },
      { name: 'a pause', before: [submit({ maxRuntimeMs: 5 }, {}), launched()], lost: [pause()] },
      { name: 'a resume', before: [submit({ maxRuntimeMs: 5_000 }, {}), launched(), pause()], lost: [resume()] },
      {
        name: 'the pause of a queued job',
        group: { parallel: 0 },
        before: [submit({ startDeadlineMs: 9_000 }, {})],
        lost: [pause()],
      },
      {
        name: 'the resume of a queued job',
        group: { parallel: 0 },
        before: [submit({ startDeadlineMs: 9_000 }, {}), pause()],
        lost: [resume()],
      },
      { name: 'the pause of a group', before: [submit({}, {}), launched()], lost: [pauseGroup()] },
      { name: 'the resume of a group', before: [submit({}, {}), launched(), pauseGroup()], lost: [resumeGroup()] },
      { name: 'a removal', before: [submit({}, {}), launched(), exited()], lost: [remove()] },
    ];

  for (const { name, group, before, lost } of lostTurns) {
    test(`${name} leaves no trace where it could not be committed`, () => {
      const scenario = new Scenario(group);
      const control = new Scenario(group);
      for (const event of before) {
        scenario.turn(at(0), [event]);
        control.turn(at(0), [event]);
      }
      scenario.undoneTurn(at(1_000), lost);
      assert.deepEqual(seen(scenario.state), seen(control.state));

      const after = [setGroup({ parallel: 10 }), tick];
      const effects = scenario.turn(at(2_000), after).map(tellEffect);
      assert.deepEqual(effects, control.turn(at(2_000), after).map(tellEffect));
      assert.deepEqual(seen(scenario.state), seen(control.state));
    });
  }

  test('the id of a job that could not be committed is not given out again', () => {
    const scenario = new Scenario();
    scenario.undoneTurn(at(0), [submit({}, {})]);
    assert.deepEqual(scenario.turn(at(1), [submit({})]).map(tellEffect), ['new 3', 'launch 3']);
  });
});

describe('what is written down', () => {
  const job = (scenario: Scenario): Job => scenario.jobs.get(1) as Job;

  test('a job has what was asked for, every default filled in, and the time', () => {
    const scenario = new Scenario();
    const event = submit({ name: 'nightly', env: { A: '1' } });
    scenario.turn(at(7), [event]);
    const { definition, submittedWallMs } = job(scenario);
    assert.deepEqual([definition], event.type === 'submit' && event.definitions);
    assert.equal(submittedWallMs, at(7).wallMs);
  });

  test('an attempt has its tier, leader, times, exit and usage', () => {
    const scenario = new Scenario();
    scenario.turn(at(0), [submit({})]);
    scenario.turn(at(10), [launched()]);
    scenario.turn(at(20), [
      {
        type: 'leaderExited',
        jobId: 1,
        exit: { code: 3, signal: null },
        remaining: 2,
        usage: { ...noUsage, cpuMs: 5, peakRssBytes: 6 },
      },
    ]);
    scenario.turn(at(30), [{ type: 'emptied', jobId: 1, usage: { cpuMs: 9, peakRssBytes: 6, outputBytes: 3 } }]);
    assert.deepEqual(job(scenario).attempts, [
      {
        number: 1,
        tier: 'scan',
        leader: { pid: 101, startTicks: 7, bootId: 'b' },
        startedWallMs: at(10).wallMs,
        finishedWallMs: at(30).wallMs,
        cause: 'exit',
        exit: { code: 3, signal: null },
        strays: 2,
        usage: { cpuMs: 9, peakRssBytes: 6, outputBytes: 3 },
        dropped: { stdout: 0, stderr: 0 },
        progress: null,
        result: null,
        message: null,
      },
    ]);
    assert.deepEqual(job(scenario).phase, { status: 'failed', cause: 'exit', finishedWallMs: at(30).wallMs });
  });

  test('a failed launch has the reason and the exit code that a shell would give, and no leader', () => {
    const scenario = new Scenario();
    scenario.turn(at(0), [submit({})]);
    scenario.turn(at(10), [launchFailed()]);
    const { leader, message, exit, startedWallMs } = job(scenario).attempts[0] as Job['attempts'][number];
    assert.deepEqual(
      { leader, message, exit, startedWallMs },
      { leader: null, message: 'nope: command not found', exit: { code: 127, signal: null }, startedWallMs: null },
    );
  });

  test('a cancelled job keeps the exit that its leader had', () => {
    const scenario = new Scenario();
    for (const event of [submit({}), launched(), cancel(), exited(1, { code: 5 })]) scenario.turn(at(0), [event]);
    assert.deepEqual(job(scenario).attempts[0]?.exit, { code: 5, signal: null });
  });

  test('a retried job keeps its lost attempt', () => {
    const scenario = new Scenario();
    for (const event of [submit({ onSupervisorLost: 'retry' }), launched(), shutdown, ended()])
      scenario.turn(at(0), [event]);
    assert.deepEqual(
      job(scenario).attempts.map(({ number, cause }) => ({ number, cause })),
      [{ number: 1, cause: 'supervisor-lost' }],
    );
  });

  test('a daemon that is told to stop is drained when the last slot is free, queued jobs or not', () => {
    const scenario = new Scenario();
    assert.equal(isDrained(scenario.state), false);
    scenario.turn(at(0), [submit({}, {})]);
    scenario.turn(at(1), [shutdown]);
    assert.equal(isDrained(scenario.state), false);
    scenario.turn(at(2), [launched()]);
    scenario.turn(at(3), [ended(1, { remaining: 1 })]);
    assert.equal(isDrained(scenario.state), false);
    scenario.turn(at(4), [emptied()]);
    assert.equal(isDrained(scenario.state), true);
    assert.equal(scenario.told, 'failed supervisor-lost, queued');
  });
});
