import { type Command, Option } from 'commander';
import { CorralError, formatDuration, type JobView, type StuckJob } from '../../../protocol/index.ts';
import type { Client, StuckCriteria } from '../../index.ts';
import { exitCodes } from '../exit-code.ts';
import { checkGroup } from '../filters.ts';
import { asPositiveDuration } from '../job-options.ts';
import { commandLine, oneLine, printJson, printLine, printTable, progressText, say } from '../print.ts';
import { withClient } from '../session.ts';

/** What counts as long where nobody says so. */
const defaultOlderThanMs = 30 * 60_000;

interface Flags {
  readonly olderThan?: number;
  readonly noProgressFor?: number;
  readonly group?: string;
  readonly json?: true;
}

export function addStuck(program: Command): void {
  const stuck = program
    .command('stuck')
    .description('list running jobs that may be stuck: running for long, or without progress')
    .option(
      '--older-than <duration>',
      'running for at least this long (default: 30m, if nothing else is asked for)',
      asPositiveDuration,
    )
    .addOption(noProgressFor())
    .option('-g, --group <group>', 'only this group')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample: corral stuck --no-progress-for 10m')
    .action(withClient(list));
  stuck
    .command('reset')
    .description('end such jobs with all their processes, and wait until these are gone')
    .option('--older-than <duration>', 'running for at least this long', asPositiveDuration)
    .addOption(noProgressFor())
    .option('-g, --group <group>', 'only this group')
    .option('--json', 'print the answer as JSON')
    .addHelpText('after', '\nExample: corral stuck reset --older-than 30m')
    .action(withClient(reset));
}

/** commander takes `--no-` for the negation of another option. */
function noProgressFor(): Option {
  const option = new Option('--no-progress-for <duration>', 'that have reported nothing new for this long');
  option.negate = false;
  return option.argParser(asPositiveDuration);
}

async function list(client: Client, flags: Flags): Promise<number> {
  const given = criteriaOf(flags);
  const isAny = given.olderThanMs === undefined && given.noProgressForMs === undefined;
  const criteria = isAny ? { ...given, olderThanMs: defaultOlderThanMs } : given;
  const found = await Promise.all((await client.stuck(criteria)).map((one) => withView(client, one)));
  const jobs = found.filter((job) => job !== null);
  if (jobs.length === 0 && flags.group !== undefined) await checkGroup(client, flags.group);
  if (flags.json) printJson(jobs);
  else if (jobs.length === 0) say('no such jobs');
  else printTable(['ID', 'RUNNING', 'NO PROGRESS', 'PROGRESS', 'GROUP', 'NAME', 'COMMAND'], jobs.map(row));
  return 0;
}

type StuckView = JobView & Omit<StuckJob, 'jobId'>;

/** `null`: it has gone meanwhile. */
async function withView(client: Client, { jobId, ...times }: StuckJob): Promise<StuckView | null> {
  try {
    return { ...(await client.get(jobId)), ...times };
  } catch (error) {
    if (error instanceof CorralError && error.code === 'JOB_NOT_FOUND') return null;
    throw error;
  }
}

function row(job: StuckView): string[] {
  return [
    String(job.id),
    formatDuration(job.runningMs),
    formatDuration(job.noProgressMs),
    progressText(job),
    oneLine(job.group),
    oneLine(job.name ?? '-'),
    commandLine(job.command),
  ];
}

async function reset(client: Client, flags: Flags): Promise<number> {
  const criteria = criteriaOf(flags);
  if (criteria.olderThanMs === undefined && criteria.noProgressForMs === undefined)
    throw new CorralError(
      'INVALID_PARAMS',
      'Say which jobs are to be ended: --older-than 30m, --no-progress-for 10m or both. Look first: corral stuck',
    );
  const report = await client.resetStuck(criteria);
  if (report.reset_count === 0 && report.success && flags.group !== undefined) await checkGroup(client, flags.group);
  if (flags.json) printJson(report);
  else printLine(report.message);
  return report.success ? 0 : exitCodes.partial;
}

function criteriaOf({ olderThan, noProgressFor, group }: Flags): StuckCriteria {
  return {
    ...(olderThan === undefined ? {} : { olderThanMs: olderThan }),
    ...(noProgressFor === undefined ? {} : { noProgressForMs: noProgressFor }),
    ...(group === undefined ? {} : { group }),
  };
}
