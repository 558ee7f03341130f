import type { JobUsageView, MethodResult, ParsedParams } from '../../../protocol/index.ts';
import { type JobUsage, processView, usageView } from '../../core/index.ts';
import type { Call, UsageApi } from '../backend.ts';

/** Jobs that one call looks at. */
const maxJobs = 500;

/** Processes that are listed for one job, and bytes of them in one answer: it must fit a frame. */
const maxProcesses = 500;
const maxListBytes = 512 * 1024;

export async function usage(params: ParsedParams<'usage'>, { backend }: Call): Promise<MethodResult<'usage'>> {
  const asked = params.jobIds === undefined ? null : new Set(params.jobIds);
  for (const jobId of asked ?? []) backend.supervisor.job(jobId);
  const after = params.cursor ?? 0;
  const wanted = backend.supervisor
    .runningJobs()
    .filter((jobId) => jobId > after && (asked === null || asked.has(jobId)));
  const page = wanted.slice(0, maxJobs);
  const found = await backend.usage.measure(page);
  const lists = new Map<number, JobUsageView['processes']>();
  if (params.processes) for (const one of found) lists.set(one.jobId, await listed(one, backend.usage));
  // Some may have ended, or even been removed, while the others were looked at.
  const running = new Set(backend.supervisor.runningJobs());
  const jobs: JobUsageView[] = [];
  let bytes = 0;
  for (const one of found.filter(({ jobId }) => running.has(jobId))) {
    const processes = lists.get(one.jobId) ?? [];
    bytes += Buffer.byteLength(JSON.stringify(processes));
    if (jobs.length > 0 && bytes > maxListBytes) return { jobs, nextCursor: jobs.at(-1)?.jobId ?? null };
    jobs.push({ ...usageView(backend.supervisor.job(one.jobId), one), processes });
  }
  return { jobs, nextCursor: wanted.length > page.length ? (page.at(-1) ?? null) : null };
}

async function listed({ processes }: JobUsage, usage: UsageApi): Promise<JobUsageView['processes']> {
  const most = [...processes].sort((a, b) => b.cpuMs - a.cpuMs).slice(0, maxProcesses);
  const facts = await usage.describe(most.map(({ pid }) => pid));
  return most.flatMap((one) => {
    const known = facts.get(one.pid);
    return known === undefined ? [] : [processView(one, known)];
  });
}
