import { type Command, InvalidArgumentError } from 'commander';
import { isErrno } from '../../../protocol/index.ts';
import type { Client } from '../../index.ts';
import { asJobId } from '../job-ids.ts';
import { asInteger } from '../job-options.ts';
import { write } from '../print.ts';
import { withClient } from '../session.ts';

interface Flags {
  readonly follow?: true;
  readonly lines?: number;
  readonly stderr?: true;
  readonly attempt?: number;
}

export function addLogs(program: Command): void {
  program
    .command('logs')
    .description('print the output of a job')
    .argument('<id>', 'job id', asJobId)
    .option('-f, --follow', 'go on until the job has ended')
    .option('-n, --lines <number>', 'only the last lines', asCount)
    .option('--stderr', 'the other stream of a job with --split-output')
    .option('--attempt <number>', 'of an earlier attempt', asCount)
    .addHelpText('after', '\nExample: corral logs -f -n 20 7')
    .action(withClient(logs));
}

async function logs(client: Client, jobId: number, flags: Flags): Promise<number> {
  const pieces = client.logs(jobId, {
    follow: flags.follow ?? false,
    stream: flags.stderr ? 'stderr' : 'stdout',
    ...(flags.lines === undefined ? {} : { tailLines: flags.lines }),
    ...(flags.attempt === undefined ? {} : { attempt: flags.attempt }),
  });
  try {
    for await (const piece of pieces) await write(process.stdout, piece);
  } catch (error) {
    if (!isErrno(error, 'EPIPE')) throw error; // A reader such as head has seen enough.
  }
  return 0;
}

function asCount(text: string): number {
  const count = asInteger(text);
  if (count < 0) throw new InvalidArgumentError('It must not be negative.');
  return count;
}
