import type { Command } from 'commander';
import { CorralError } from '../../../protocol/index.ts';
import type { Client } from '../../index.ts';
import { asJobId } from '../job-ids.ts';
import { noNewDaemon, reporter } from '../reporting.ts';
import { withClient } from '../session.ts';

export function addResult(program: Command): void {
  program
    .command('result')
    .description('report the result of a job, which is kept with it: any JSON of at most 64 KiB; the last one counts')
    .argument('<json>', 'the result; null takes back an earlier one')
    .option('-j, --job <id>', 'the job (default: the one that this runs in)', asJobId)
    .addHelpText('after', `\nExample: corral result '{"rows": 7}'`)
    .action(
      withClient(async (client: Client, json: string, flags: { job?: number }) => {
        const { jobId, ...attempt } = reporter(flags.job);
        await client.result(jobId, parsed(json), attempt);
        return 0;
      }, noNewDaemon),
    );
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new CorralError(
      'INVALID_PARAMS',
      `This is not JSON (${error.message}). A text is written with both quotes: corral result '"done"'`,
    );
  }
}
