/** What the supervisor needs of the world around it. The shells that fill these in are chosen in main.ts. */
import type { HostLimits, IdleCheck, Instant, Job, OutputFacts } from './core/index.ts';

export type Clock = () => Instant;

export interface ProcessShell {
  /** Name of the containment tier; written down with each attempt. */
  readonly tier: string;
  /** How it can hold jobs to the limits that they ask for. */
  readonly hostLimits: HostLimits;
  launch(job: Job): void;
  /** What is asked of many jobs within costs less than one by one, and is done when this returns. */
  together(act: () => void): void;
  terminate(jobId: number): void;
  kill(jobId: number): void;
  signal(jobId: number, signal: NodeJS.Signals): void;
  freeze(jobId: number): void;
  thaw(jobId: number): void;
  /** Answers with a `sampled` for each. */
  sample(checks: readonly IdleCheck[]): void;
  /** Live processes of these jobs together, whatever is thought of their status. */
  countAlive(jobIds: readonly number[]): number;
}

export interface OutputShell {
  facts(job: Job): OutputFacts;
  /**
   * Gives back the room of what was dropped of the newest attempt's output.
   *
   * @returns why the file system cannot; `null` where it did
   */
  drop(job: Job): string | null;
  /** Deletes the output of these attempts, by their numbers. */
  remove(job: Job, attempts: readonly number[]): void;
}

export interface Log {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}
