import { setTimeout as delay } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { CorralError, formatSize, type JobUsageView, type JobView, parseDuration } from '../../../protocol/index.ts';
import type { Client } from '../../index.ts';
import { commandLine, elapsed, oneLine, printJson, printTable, ReaderGoneError, say, write } from '../print.ts';
import { withClient } from '../session.ts';

/** CPU use is reckoned between two looks; the first figures so come after this. */
const firstLookMs = 1_000;

const defaultIntervalMs = 2_000;
const shortestIntervalMs = 500;

/** Cursor home, and everything below it gone. console_codes(4) */
const clearScreen = '\u001b[H\u001b[J';

interface Flags {
  readonly once?: true;
  readonly json?: true;
  readonly interval: number;
}

/** A running job with what it uses. */
interface Row {
  readonly job: JobView;
  readonly usage: JobUsageView;
}

export function addTop(program: Command): void {
  program
    .command('top')
    .description('show what running jobs use, again and again: CPU, memory, processes, how close they are to idle')
    .option('--once', 'one look, then end; so it is off a terminal')
    .option('-i, --interval <duration>', 'time between two looks (default: 2s)', asInterval, defaultIntervalMs)
    .option('--json', 'print JSON: an array with --once, else one object a line for each look')
    .addHelpText('after', '\nExample: corral top --once --json')
    .action(withClient(top));
}

async function top(client: Client, flags: Flags): Promise<number> {
  const views = new Map<number, JobView>();
  const isOnce = flags.once ?? (!flags.json && process.stdout.isTTY !== true);
  await client.usage(); // CPU use is known from the second look on.
  await delay(Math.min(firstLookMs, flags.interval));
  for (;;) {
    const rows = await look(client, views);
    if (isOnce) {
      if (flags.json) printJson(rows.map(asJson));
      else printRows(rows);
      return 0;
    }
    try {
      if (flags.json) {
        const line = { at: new Date().toISOString(), jobs: rows.map(asJson) };
        await write(process.stdout, Buffer.from(`${JSON.stringify(line)}\n`));
      } else {
        await write(process.stdout, Buffer.from(clearScreen));
        printRows(rows.slice(0, Math.max(1, process.stdout.rows - 2)));
      }
    } catch (error) {
      if (error instanceof ReaderGoneError) return 0; // A reader such as head has seen enough.
      throw error;
    }
    await delay(flags.interval);
  }
}

async function look(client: Client, views: Map<number, JobView>): Promise<Row[]> {
  const usages = await client.usage();
  const rows = await Promise.all(usages.map((usage) => rowOf(client, usage, views)));
  const shown = new Set(usages.map(({ jobId }) => jobId));
  for (const jobId of views.keys()) if (!shown.has(jobId)) views.delete(jobId);
  const use = ({ usage }: Row) => usage.cpuMillicores ?? 0;
  return rows.filter((row) => row !== null).sort((a, b) => use(b) - use(a) || a.job.id - b.job.id);
}

/** What does not change is asked for once. `null`: the job has been removed meanwhile. */
async function rowOf(client: Client, usage: JobUsageView, views: Map<number, JobView>): Promise<Row | null> {
  const known = views.get(usage.jobId);
  if (known?.attempt === usage.attempt) return { job: known, usage };
  try {
    const job = await client.get(usage.jobId);
    views.set(job.id, job);
    return { job, usage };
  } catch (error) {
    if (error instanceof CorralError && error.code === 'JOB_NOT_FOUND') return null;
    throw error;
  }
}

function asJson({ job, usage }: Row) {
  const { processes: _, ...figures } = usage;
  const { name, group, command, startedAt } = job;
  return { ...figures, name, group, command, startedAt };
}

function printRows(rows: readonly Row[]): void {
  if (rows.length === 0) say('nothing runs. Start something: corral run -- sleep 60');
  else printTable(['ID', 'CPU', 'MCPU', 'MEMORY', 'PROCS', 'TIME', 'IDLE', 'NAME', 'COMMAND'], rows.map(cells));
}

function cells({ job, usage }: Row): string[] {
  const { cpuMillicores, rssBytes, processCount, idle } = usage;
  return [
    String(job.id),
    cpuMillicores === null ? '-' : `${(cpuMillicores / 10).toFixed(1)}%`,
    cpuMillicores === null ? '-' : cpuMillicores.toFixed(1),
    formatSize(rssBytes),
    String(processCount),
    elapsed(job),
    idle === null ? 'off' : `${idle.quietChecks}/${idle.checks}${idle.dryRun ? ' dry' : ''}`,
    oneLine(job.name ?? '-'),
    commandLine(job.command),
  ];
}

function asInterval(text: string): number {
  try {
    const ms = parseDuration(text);
    if (ms !== null && ms >= shortestIntervalMs) return ms;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new InvalidArgumentError(error.message);
  }
  throw new InvalidArgumentError('It must be at least 500ms.');
}
