import type { Command } from 'commander';
import type { Client } from '../../index.ts';
import { asJobIds } from '../job-ids.ts';
import { reportOn } from '../report.ts';
import { withClient } from '../session.ts';

interface Flags {
  readonly group: string;
  readonly json?: true;
}

export function addMove(program: Command): void {
  program
    .command('move')
    .description('move queued jobs to another group; they keep their priority and their age')
    .argument('<ids...>', 'job ids or ranges', asJobIds)
    .requiredOption('-g, --group <group>', 'the group that they shall wait in')
    .option('--json', 'print the report as JSON')
    .addHelpText('after', '\nExample: corral move 3..9 -g night')
    .action(
      withClient(async (client: Client, jobIds: number[], { group, json }: Flags) => {
        const { exitCode } = await reportOn(jobIds, (piece) => client.move(piece, group), json ?? false);
        return exitCode;
      }),
    );
}
