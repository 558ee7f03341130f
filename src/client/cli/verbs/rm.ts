import type { Command } from 'commander';
import type { Client } from '../../index.ts';
import { asJobIds } from '../job-ids.ts';
import { inBulk, withClient } from '../session.ts';

export function addRm(program: Command): void {
  program
    .command('rm')
    .description('delete the record and the output of jobs that have ended')
    .argument('<ids...>', 'job ids or ranges', asJobIds)
    .option('--json', 'print the report as JSON')
    .addHelpText('after', '\nExample: corral rm 3..9')
    .action(
      withClient((client: Client, jobIds: number[], flags: { json?: true }) =>
        inBulk(jobIds, (piece) => client.remove(piece), flags.json ?? false),
      ),
    );
}
