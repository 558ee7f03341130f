import type { Command } from 'commander';
import { CorralError, type GroupView } from '../../../protocol/index.ts';
import type { Client } from '../../index.ts';
import { asInteger } from '../job-options.ts';
import { printJson, printTable } from '../print.ts';
import { withClient } from '../session.ts';

interface SetFlags {
  readonly parallel?: number;
  readonly maxQueued?: number;
  readonly json?: true;
}

export function addGroup(program: Command): void {
  const group = program
    .command('group')
    .description('show and set groups: how many jobs run at once, how many may wait');
  group
    .command('ls')
    .description('list the groups')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample: corral group ls')
    .action(
      withClient(async (client: Client, flags: { json?: true }) => {
        const groups = await client.groups();
        if (flags.json) printJson(groups);
        else printGroups(groups);
        return 0;
      }),
    );
  group
    .command('set')
    .description('set limits of a group; they are kept across restarts')
    .argument('<group>', 'the group')
    .option('--parallel <number>', 'jobs that run at once; 0 starts nothing new', asInteger)
    .option('--max-queued <number>', 'jobs that may wait; a further submit is refused with QUEUE_FULL', asInteger)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample: corral group set default --parallel 8')
    .action(withClient(set));
}

async function set(client: Client, name: string, flags: SetFlags): Promise<number> {
  const { parallel, maxQueued } = flags;
  if (parallel === undefined && maxQueued === undefined) {
    throw new CorralError('INVALID_PARAMS', 'Say what to set: --parallel N or --max-queued N.');
  }
  const group = await client.setGroup(name, {
    ...(parallel === undefined ? {} : { parallel }),
    ...(maxQueued === undefined ? {} : { maxQueued }),
  });
  if (flags.json) printJson(group);
  else printGroups([group]);
  return 0;
}

function printGroups(groups: readonly GroupView[]): void {
  printTable(
    ['GROUP', 'SLOTS', 'IN USE', 'QUEUED', 'MAX QUEUED'],
    groups.map((group) => [group.name, group.parallel, group.active, group.queued, group.maxQueued].map(String)),
  );
}
