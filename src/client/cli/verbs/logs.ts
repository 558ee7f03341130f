import type { Command } from 'commander';
import type { Client } from '../../index.ts';
import { asJobId } from '../job-ids.ts';
import { asCount, asLineCount } from '../job-options.ts';
import { ReaderGoneError, sayDropped, sayGone, write } from '../print.ts';
import { withClient } from '../session.ts';

interface Flags {
  readonly follow?: true;
  readonly lines?: number | 'all';
  readonly stderr?: true;
  readonly attempt?: number;
}

export function addLogs(program: Command): void {
  program
    .command('logs')
    .description('print the output of a job')
    .argument('<id>', 'job id', asJobId)
    .option('-f, --follow', 'go on until the job has ended')
    .option('-n, --lines <count>', 'only the last so many lines (default: all)', asLineCount)
    .option('--stderr', 'the other stream of a job with --split-output')
    .option('--attempt <number>', 'of an earlier attempt', asCount)
    .addHelpText('after', '\nExample: corral logs -f -n 20 7')
    .action(withClient(logs));
}

async function logs(client: Client, jobId: number, flags: Flags): Promise<number> {
  const pieces = client.logs(jobId, {
    follow: flags.follow ?? false,
    onDropped: sayDropped,
    onAttemptsGone: sayGone,
    stream: flags.stderr ? 'stderr' : 'stdout',
    ...(flags.lines === undefined || flags.lines === 'all' ? {} : { tailLines: flags.lines }),
    ...(flags.attempt === undefined ? {} : { attempt: flags.attempt }),
  });
  try {
    for await (const piece of pieces) await write(process.stdout, piece);
  } catch (error) {
    if (!(error instanceof ReaderGoneError)) throw error; // A reader such as head has seen enough.
  }
  return 0;
}
