/** What running jobs use right now, as clients see it. */
import type { JobUsageView, ProcessUsageView } from '../../protocol/index.ts';
import { currentAttempt, type Job } from './job.ts';

/** What one look at the processes of a running job found. */
export interface JobUsage {
  readonly jobId: number;
  readonly atMonoMs: number;
  /** Since the attempt began, as well as its tier can count it. */
  readonly cpuMs: number | null;
  /** Since the look before; `null`: there was none that it can be compared with. */
  readonly cpuMillicores: number | null;
  readonly rssBytes: number;
  readonly processes: readonly ProcessUsage[];
}

export interface ProcessUsage {
  readonly pid: number;
  readonly cpuMs: number;
  readonly cpuMillicores: number | null;
  readonly rssBytes: number;
}

/** What a process is: its command line in one text, and its state as proc_pid_stat(5) has it. */
export interface ProcessFacts {
  readonly command: string;
  readonly state: string;
}

export function usageView(job: Job, usage: JobUsage): JobUsageView {
  const { phase } = job;
  const rule = job.definition.policies.idle;
  const watch = phase.status === 'running' ? phase.idle : null;
  return {
    jobId: job.id,
    attempt: currentAttempt(job).number,
    cpuMs: usage.cpuMs === null ? null : Math.round(usage.cpuMs),
    cpuMillicores: rounded(usage.cpuMillicores),
    rssBytes: usage.rssBytes,
    processCount: usage.processes.length,
    processes: [],
    idle:
      watch === null || rule === null ? null : { quietChecks: watch.quiet, checks: rule.checks, dryRun: rule.dryRun },
  };
}

export function processView(
  { pid, cpuMs, cpuMillicores, rssBytes }: ProcessUsage,
  facts: ProcessFacts,
): ProcessUsageView {
  return { pid, ...facts, cpuMs: Math.round(cpuMs), cpuMillicores: rounded(cpuMillicores), rssBytes };
}

function rounded(millicores: number | null): number | null {
  return millicores === null ? null : Math.round(millicores * 10) / 10;
}
