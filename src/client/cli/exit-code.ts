import os from 'node:os';
import { formatDuration, type JobView } from '../../protocol/index.ts';

/** Exit codes of `run` and `wait` beside the job's own; timeout(1) and the shell use the same. */
export const exitCodes = {
  partial: 1,
  usage: 2,
  notRunning: 3,
  /** Of `health`, by what it found. */
  health: { ok: 0, degraded: 1, failed: 2 },
  timeout: 124,
  /** 128 + SIGHUP: the terminal went away, the job goes on. */
  detached: 129,
  ourFailure: 125,
  interrupted: 130,
} as const;

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

/** A sentence on an end that the exit code alone does not explain; `null` where it does. */
export function explainEnd(job: JobView): string | null {
  const strays =
    job.strays > 0
      ? `job ${job.id}: its first process ended and left ${job.strays} more behind; they were ended too`
      : null;
  switch (job.cause) {
    case 'exit':
      return strays;
    case 'signal':
      return `job ${job.id} was ended by ${job.signal}`;
    case 'spawn-error':
      return `job ${job.id} could not start: ${job.message}`;
    case 'max-runtime':
      return `job ${job.id} was ended: it ran for its limit of ${formatDuration(job.limits.maxRuntimeMs ?? 0)}`;
    case 'cancel':
      return `job ${job.id} was cancelled`;
    case 'supervisor-lost':
      return `job ${job.id} was ended because the daemon died or stopped while it ran; submit with --on-supervisor-lost retry to have such jobs run again`;
    default:
      return null;
  }
}
