import { type Command, InvalidArgumentError } from 'commander';
import {
  CorralError,
  finalStatuses,
  type JobStatus,
  type JobView,
  jobStatuses,
  liveStatuses,
  maxPageSize,
  noSuchGroup,
} from '../../../protocol/index.ts';
import type { Client, ListOptions } from '../../index.ts';
import { asCount } from '../job-options.ts';
import { commandLine, elapsed, oneLine, outcome, printJson, printLine, printTable, say } from '../print.ts';
import { withClient } from '../session.ts';

/** Ended jobs that `ls` shows below the live ones unless asked for more. */
const recentlyEnded = 20;

interface Flags {
  readonly all?: true;
  readonly status?: JobStatus[];
  readonly group?: string;
  readonly limit?: number;
  readonly json?: true;
  readonly quiet?: true;
}

export function addLs(program: Command): void {
  program
    .command('ls')
    .description('list jobs: all that have not ended, and the last that have')
    .option('-a, --all', 'all jobs that have a record')
    .option('-s, --status <statuses>', `only these, with commas between: ${jobStatuses.join(', ')}`, asStatuses)
    .option('-g, --group <group>', 'only this group')
    .option('-l, --limit <number>', `at most so many ended ones (default: ${recentlyEnded})`, asCount)
    .option('-q, --quiet', 'ids only')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample: corral ls --status queued,running --json')
    .action(withClient(ls));
}

async function ls(client: Client, flags: Flags): Promise<number> {
  const wanted = flags.status ?? jobStatuses;
  const filter = flags.group === undefined ? {} : { group: flags.group };
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
  else printTable(['ID', 'STATUS', 'RESULT', 'TIME', 'GROUP', 'NAME', 'COMMAND'], jobs.map(row));
  return 0;
}

/** Where less than all was asked for, there may be others. */
function noneOf({ status, group, limit }: Flags): string {
  const isAll = status === undefined && group === undefined && limit === undefined;
  return isAll ? 'no jobs. Start one: corral run -- echo hello' : 'no such jobs (all: corral ls --all)';
}

/** @throws CorralError where the daemon knows no group of this name: an empty list would hide the typing slip */
async function checkGroup(client: Client, name: string): Promise<void> {
  const known = (await client.groups()).map((group) => group.name);
  if (!known.includes(name)) throw new CorralError('GROUP_NOT_FOUND', noSuchGroup(name, known));
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

function asStatuses(text: string): JobStatus[] {
  return text.split(',').map((word) => {
    const status = jobStatuses.find((candidate) => candidate === word);
    if (status === undefined)
      throw new InvalidArgumentError(`There is no status "${word}". Known: ${jobStatuses.join(', ')}.`);
    return status;
  });
}
