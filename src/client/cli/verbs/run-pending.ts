import type { Command } from 'commander';
import { defaultGroup } from '../../../protocol/index.ts';
import type { Client } from '../../index.ts';
import { exitCodes } from '../exit-code.ts';
import { printJson, printLine, say } from '../print.ts';
import { withClient } from '../session.ts';

interface Flags {
  readonly group: string;
  readonly json?: true;
}

export function addRunPending(program: Command): void {
  program
    .command('run-pending')
    .description('start the next job of a manual group and print its id, or say why none can be started')
    .option('-g, --group <group>', 'the group', defaultGroup)
    .option('--json', 'print what became of it as JSON')
    .addHelpText('after', '\nExample: corral run-pending -g deploy')
    .action(withClient(runPending));
}

async function runPending(client: Client, flags: Flags): Promise<number> {
  const answer = await client.runPending(flags.group);
  if (flags.json) printJson(answer);
  else if (answer.started === 0) say(answer.message);
  else for (const id of answer.job_ids) printLine(String(id));
  return answer.started === 0 ? exitCodes.partial : 0;
}
