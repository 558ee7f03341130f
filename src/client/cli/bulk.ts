/** Work on many jobs: which ones, in pieces, and what became of each. Every verb that does one thing to jobs is made here. */
import type { Command } from 'commander';
import { type BulkReport, CorralError, type JobStatus } from '../../protocol/index.ts';
import type { Client } from '../index.ts';
import { addFilters, checkGroup, type FilterFlags, filterFrom } from './filters.ts';
import { asJobIds, asRanges } from './job-ids.ts';
import { printJson, printLine, say } from './print.ts';
import { reportOn } from './report.ts';
import { withClient } from './session.ts';

export interface BulkFlags extends FilterFlags {
  readonly all?: true;
  readonly dryRun?: true;
  readonly json?: true;
}

/** What is done with jobs, and with which. */
export interface BulkWork<F> {
  /** What is said of the jobs for which it was done: `cancelled`. */
  readonly participle: string;
  /** Jobs that are meant where a filter alone tells which, and names no status. */
  readonly statuses: readonly JobStatus[];
  readonly example: string;
  readonly work: (client: Client, jobIds: number[], flags: F) => Promise<BulkReport>;
  /** With the jobs for which it was done. */
  readonly afterwards?: (client: Client, jobIds: number[], flags: F) => Promise<unknown>;
}

export interface BulkVerb<F> extends BulkWork<F> {
  readonly name: string;
  readonly description: string;
  readonly options?: (command: Command) => Command;
}

/** A verb that takes ids, ranges and filters, works in pieces, and says for each job that failed why. */
export function addBulkVerb<F extends object>(program: Command, verb: BulkVerb<F>): void {
  const command = program
    .command(verb.name)
    .description(verb.description)
    .argument('[ids...]', 'job ids or ranges; with filters, only those of them that fit', asJobIds);
  verb.options?.(command);
  addBulkOptions(command, verb).action(
    withClient((client, jobIds: number[] | [], flags: F & BulkFlags) => workInBulk(verb, client, jobIds, flags)),
  );
}

export function addBulkOptions<F>(command: Command, { statuses, example }: BulkWork<F>): Command {
  return addFilters(command, '--status <statuses>')
    .option('-a, --all', `all that are ${asList(statuses)}`)
    .option('--dry-run', 'only print the ids of the jobs that are meant')
    .option('--json', 'print the report as JSON')
    .addHelpText('after', `\nExample: ${example}`);
}

/** @param named the ids on the command line; none where filters alone tell which jobs */
export async function workInBulk<F>(
  verb: BulkWork<F>,
  client: Client,
  named: number[],
  flags: F & BulkFlags,
): Promise<number> {
  const filter = filterFrom(flags);
  const isFiltered = Object.keys(filter).length > 0 || flags.all === true;
  if (named.length === 0 && !isFiltered) {
    throw new CorralError(
      'INVALID_PARAMS',
      `Say which jobs: ids or ranges, filters such as --group NAME, or --all. Example: ${verb.example}`,
    );
  }
  const jobIds =
    isFiltered || flags.dryRun
      ? await client.select({
          ...(named.length > 0 ? { jobIds: named } : { statuses: [...verb.statuses] }),
          ...filter,
        })
      : named;
  if (jobIds.length === 0 && filter.group !== undefined) await checkGroup(client, filter.group);
  if (flags.dryRun) return printMeant(jobIds, flags);
  const report = await reportOn(jobIds, (piece) => verb.work(client, piece, flags), flags.json ?? false);
  const failed = new Set(report.errors.map(({ jobId }) => jobId));
  const done = jobIds.filter((jobId) => !failed.has(jobId));
  await verb.afterwards?.(client, done, flags);
  // Whoever named the jobs knows which they are; whoever did not is told.
  if (isFiltered && !flags.json) say(jobIds.length === 0 ? 'no such jobs' : summary(verb.participle, done, report));
  return report.exitCode;
}

function printMeant(jobIds: readonly number[], { json }: BulkFlags): number {
  if (json) printJson({ requested: jobIds.length, jobIds });
  else for (const jobId of jobIds) printLine(String(jobId));
  return 0;
}

function summary(participle: string, done: readonly number[], { requested }: BulkReport): string {
  const of = done.length === requested ? '' : ` of ${requested.toLocaleString('en')}`;
  const which = done.length === 0 ? '' : `: ${asRanges(done)}`;
  return `${participle} ${done.length.toLocaleString('en')}${of} job${requested === 1 ? '' : 's'}${which}`;
}

function asList(words: readonly string[]): string {
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}
