import { type Command, InvalidArgumentError } from 'commander';
import type { Client } from '../../index.ts';
import { asJobId } from '../job-ids.ts';
import { noNewDaemon, reporter } from '../reporting.ts';
import { withClient } from '../session.ts';

interface Flags {
  readonly message?: string;
  readonly job?: number;
}

export function addProgress(program: Command): void {
  program
    .command('progress')
    .description('report how far a job is: it shows in ls, show and events')
    .argument('[percent]', 'from 0 to 100, fractions too', asPercent)
    .argument('[message]', 'what it does now, in at most 500 characters')
    .option('-m, --message <message>', 'the message, where there is no percentage')
    .option('-j, --job <id>', 'the job (default: the one that this runs in)', asJobId)
    .addHelpText('after', "\nExample: corral progress 40 'reading the second file'")
    .action(withClient(progress, noNewDaemon));
}

async function progress(
  client: Client,
  percent: number | undefined,
  words: string | undefined,
  flags: Flags,
): Promise<number> {
  const { jobId, ...attempt } = reporter(flags.job);
  const message = words ?? flags.message;
  await client.progress(jobId, {
    ...attempt,
    ...(percent === undefined ? {} : { percent }),
    ...(message === undefined ? {} : { message }),
  });
  return 0;
}

function asPercent(text: string): number {
  const percent = /^\d+(\.\d+)?%?$/.test(text) ? Number.parseFloat(text) : Number.NaN;
  if (!(percent <= 100))
    throw new InvalidArgumentError('It must be a number from 0 to 100. For a message alone: --message TEXT');
  return percent;
}
