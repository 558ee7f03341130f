import os from 'node:os';
import { errorTable, formatDuration, type JobView } from '../../protocol/index.ts';

/** Exit codes of `run` and `wait` beside the job's own; timeout(1) and the shell use the same. */
export const exitCodes = {
  partial: 1,
  usage: 2,
  notRunning: 3,
  /** Of `health` and `doctor`, by what they found. */
  health: { ok: 0, degraded: 1, failed: 2 },
  timeout: 124,
  /** 128 + SIGHUP: the terminal went away, the job goes on. */
  detached: 129,
  ourFailure: 125,
  interrupted: 130,
} as const;

/** Verbs that pass on how a job ended. */
export const verbsOfJobs: readonly string[] = ['run', 'attach', 'wait'];

type ExitStatus = readonly [code: string, meaning: string];

/** What the exit code of a verb says: the text of the man pages. */
export function exitStatusOf(verb: string): readonly ExitStatus[] {
  if (verb === 'health' || verb === 'doctor') {
    return [
      [String(exitCodes.health.ok), 'All is well.'],
      [String(exitCodes.health.degraded), 'It works, and something should be looked at.'],
      [String(exitCodes.health.failed), 'It does not do now what it is for, or the command line is wrong.'],
      [String(exitCodes.ourFailure), 'corral itself failed; the message says how.'],
    ];
  }
  if (verb === 'scope') {
    return [
      [
        '0 to 255',
        "The command's own exit code. With --report: 0, or 1 if something is left or there is no such scope.",
      ],
      ['128+n', 'The command was ended by signal n.'],
      [
        String(exitCodes.ourFailure),
        'Not all jobs of the scope could be ended, or corral itself failed: no daemon answers.',
      ],
      ['126, 127', 'The command is not executable, or there is no such program.'],
      [String(exitCodes.usage), 'The command line is wrong.'],
    ];
  }
  const interrupted = 128 + os.constants.signals.SIGTERM;
  const ofAJob: readonly ExitStatus[] = [
    ['0', 'The job succeeded: its exit code is 0, or one of its success codes.'],
    ['1 to 255', "The job's own exit code. Of several jobs, that of the first that did not succeed."],
    ['128+n', 'The job was ended by signal n.'],
    [String(exitCodes.timeout), 'The job ran for its time limit, or the time of the wait was over.'],
    [
      String(exitCodes.ourFailure),
      'The job was cancelled by somebody else or lost with its daemon, or corral itself failed: no daemon answers, the output cannot be written.',
    ],
    ['126', 'The program is not executable, or its folder has gone.'],
    ['127', 'There is no such program.'],
    [String(exitCodes.detached), 'The terminal went away. The job goes on.'],
    [`${exitCodes.interrupted}, ${interrupted}`, 'Interrupted by SIGINT (Ctrl-C) or SIGTERM.'],
  ];
  const ofItsOwn: readonly ExitStatus[] = [
    ['0', 'All was done.'],
    [String(exitCodes.notRunning), 'No daemon answers, and none could or should be started.'],
    [String(exitCodes.ourFailure), 'corral itself failed; the message says how.'],
  ];
  const common: readonly ExitStatus[] = [
    [String(exitCodes.partial), 'What was asked for was not there, or could be done in part only.'],
    [String(exitCodes.usage), 'The command line is wrong.'],
    [
      String(errorTable.QUEUE_FULL.exit),
      'The group holds as many queued jobs as it allows, or the disk is nearly full.',
    ],
    [
      String(errorTable.CONFIG_INVALID.exit),
      "The daemon's configuration cannot be used, so it does not start or reload.",
    ],
  ];
  return [...(verbsOfJobs.includes(verb) ? ofAJob : ofItsOwn), ...common].toSorted(
    ([one], [other]) => Number.parseInt(one, 10) - Number.parseInt(other, 10),
  );
}

/** The exit code by which a job's end is passed on: its own, 128+n for a signal, 124 for its time limit, 125 if we ended or lost it. */
export function exitCodeOf(job: JobView): number {
  if (job.status === 'completed') return 0;
  switch (job.cause) {
    case 'exit':
    case 'spawn-error':
      return job.exitCode ?? exitCodes.ourFailure;
    case 'signal':
      return 128 + signalNumber(job.signal ?? '');
    case 'max-runtime':
      return exitCodes.timeout;
    default:
      return exitCodes.ourFailure;
  }
}

/** Real-time signals have no name; they are written SIG40. */
function signalNumber(name: string): number {
  return os.constants.signals[name as NodeJS.Signals] ?? Number(name.slice(3));
}

function startDeadlineMs({ policies }: JobView): number {
  return Number(policies.startDeadlineMs?.value ?? 0);
}

/** A sentence on an end that the exit code alone does not explain; `null` where it does. */
export function explainEnd(job: JobView): string | null {
  const strays =
    job.strays > 0
      ? `job ${job.id}: its first process ended and left ${job.strays} more behind; they were ended too`
      : null;
  switch (job.cause) {
    case 'exit':
      return job.message === null ? strays : `job ${job.id}: ${job.message}`;
    case 'signal':
      return `job ${job.id} was ended by ${job.signal}`;
    case 'spawn-error':
      return `job ${job.id} could not start: ${job.message}`;
    case 'max-runtime':
      return `job ${job.id} was ended: it ran for its limit of ${formatDuration(job.limits.maxRuntimeMs ?? 0)}`;
    case 'idle':
      return `job ${job.id} was ended, because it was idle: ${job.message}`;
    case 'dependency':
      return `job ${job.id} was not started: ${job.message}`;
    case 'start-deadline':
      return `job ${job.id} was not started within its start deadline of ${formatDuration(startDeadlineMs(job))}`;
    case 'cancel':
      return `job ${job.id} was cancelled`;
    case 'output-limit':
      return `job ${job.id} was ended: ${job.message}`;
    case 'lease':
    case 'scope':
      return `job ${job.id} was ended${job.message === null ? ` (${job.cause})` : `: ${job.message}`}`;
    case 'supervisor-lost':
      return `job ${job.id} was ended because the daemon died or stopped while it ran; submit with --on-supervisor-lost retry to have such jobs run again`;
    default:
      return null;
  }
}
