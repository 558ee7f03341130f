import type { Command } from 'commander';
import {
  finalStatuses,
  type JobStatus,
  type JobView,
  jobStatuses,
  liveStatuses,
  maxPageSize,
} from '../../../protocol/index.ts';
import type { Client, ListOptions } from '../../index.ts';
import { addFilters, checkGroup, type FilterFlags, filterFrom } from '../filters.ts';
import { asCount } from '../job-options.ts';
import {
  commandLine,
  elapsed,
  oneLine,
  outcome,
  printJson,
  printLine,
  printTable,
  progressText,
  say,
} from '../print.ts';
import { withClient } from '../session.ts';

/** Ended jobs that `ls` shows below the live ones unless asked for more. */
const recentlyEnded = 20;

interface Flags extends FilterFlags {
  readonly all?: true;
  readonly limit?: number;
  readonly json?: true;
  readonly quiet?: true;
}

export function addLs(program: Command): void {
  const command = program
    .command('ls')
    .description('list jobs: all that have not ended, and the last that have')
    .option('-a, --all', 'all jobs that have a record');
  addFilters(command, '-s, --status <statuses>')
    .option('-l, --limit <number>', `at most so many ended ones (default: ${recentlyEnded})`, asCount)
    .option('-q, --quiet', 'ids only')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample: corral ls --status queued,running --json')
    .action(withClient(ls));
}

async function ls(client: Client, flags: Flags): Promise<number> {
  const wanted = flags.status ?? jobStatuses;
  const filter = filterFrom(flags);
  const live = wanted.filter((status) => (liveStatuses as readonly JobStatus[]).includes(status));
  const ended = wanted.filter((status) => (finalStatuses as readonly JobStatus[]).includes(status));
  const limit = flags.limit ?? (flags.all || flags.status ? Number.POSITIVE_INFINITY : recentlyEnded);
  const jobs = [
    ...(live.length === 0 ? [] : await fetchAll(client, { ...filter, statuses: live }, Number.POSITIVE_INFINITY)),
    ...(ended.length === 0 ? [] : await fetchAll(client, { ...filter, statuses: ended, order: 'newest' }, limit)),
  ].sort((a, b) => a.id - b.id);
  if (jobs.length === 0 && flags.group !== undefined) await checkGroup(client, flags.group);
  if (flags.json) printJson(jobs);
  else if (flags.quiet) for (const job of jobs) printLine(String(job.id));
  else if (jobs.length === 0) say(noneOf(flags));
  else printJobs(jobs);
  return 0;
}

/** Where less than all was asked for, there may be others. */
function noneOf({ limit, ...flags }: Flags): string {
  const isAll = Object.keys(filterFrom(flags)).length === 0 && limit === undefined;
  return isAll ? 'no jobs. Start one: corral run -- echo hello' : 'no such jobs (all: corral ls --all)';
}

async function fetchAll(client: Client, query: ListOptions, limit: number): Promise<JobView[]> {
  const jobs: JobView[] = [];
  for (let cursor: number | null | undefined; cursor !== null && jobs.length < limit; ) {
    const page = await client.list({
      ...query,
      ...(cursor === undefined ? {} : { cursor }),
      limit: Math.min(maxPageSize, limit - jobs.length),
    });
    jobs.push(...page.jobs);
    cursor = page.nextCursor;
  }
  return jobs;
}

/** A message of a job must not push the other columns out of sight. */
const progressWidth = 40;

/** Most jobs do not report, and then nobody wants a column for it. */
function printJobs(jobs: readonly JobView[]): void {
  if (jobs.every(({ progress }) => progress === null)) {
    printTable(['ID', 'STATUS', 'RESULT', 'TIME', 'GROUP', 'NAME', 'COMMAND'], jobs.map(row));
    return;
  }
  printTable(
    ['ID', 'STATUS', 'RESULT', 'TIME', 'PROGRESS', 'GROUP', 'NAME', 'COMMAND'],
    jobs.map((job) => row(job).toSpliced(4, 0, cut(progressText(job)))),
  );
}

function cut(text: string): string {
  return text.length > progressWidth ? `${text.slice(0, progressWidth - 1).toWellFormed()}…` : text;
}

function row(job: JobView): string[] {
  return [
    String(job.id),
    job.status,
    outcome(job),
    elapsed(job),
    oneLine(job.group),
    oneLine(job.name ?? '-'),
    commandLine(job.command),
  ];
}
