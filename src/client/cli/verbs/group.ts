import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  type BulkReport,
  CorralError,
  formatRate,
  type GroupMode,
  type GroupView,
  groupModes,
  parseRate,
} from '../../../protocol/index.ts';
import type { Client, GroupSettings } from '../../index.ts';
import { asInteger } from '../job-options.ts';
import { oneLine, printJson, printTable, say } from '../print.ts';
import { withClient } from '../session.ts';

interface SettingFlags {
  readonly parallel?: number;
  readonly maxQueued?: number;
  readonly rate?: number | 'off';
  readonly burst?: number;
  readonly mode?: GroupMode;
  readonly json?: true;
}

export function addGroup(program: Command): void {
  const group = program
    .command('group')
    .description('show, make and set groups: how many jobs run at once, how fast they start, how many may wait');
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
  addSettings(
    group
      .command('add')
      .description('make a group; what is not said is one slot, no rate, and mode auto')
      .argument('<name>', 'its name'),
  )
    .addHelpText('after', '\nExample: corral group add nightly --parallel 2 --rate 10/m')
    .action(
      withClient(async (client: Client, name: string, flags: SettingFlags) =>
        show(await client.addGroup(name, settingsOf(flags)), flags),
      ),
    );
  addSettings(
    group
      .command('set')
      .description('set a group; what is not said stays, and all of it is kept across restarts')
      .argument('<group>', 'the group'),
  )
    .addHelpText('after', '\nExample: corral group set default --parallel 8')
    .action(
      withClient(async (client: Client, name: string, flags: SettingFlags) => {
        const settings = settingsOf(flags);
        if (Object.keys(settings).length === 0)
          throw new CorralError(
            'INVALID_PARAMS',
            'Say what to set: --parallel N, --max-queued N, --rate N/s, --burst N or --mode auto|manual.',
          );
        return show(await client.setGroup(name, settings), flags);
      }),
    );
  group
    .command('rm')
    .description('remove a group in which every job has ended; the records of its jobs stay')
    .argument('<group>', 'the group')
    .addHelpText('after', '\nExample: corral group rm nightly')
    .action(
      withClient(async (client: Client, name: string) => {
        await client.removeGroup(name);
        return 0;
      }),
    );
  group
    .command('pause')
    .description('start nothing more of a group; its running jobs stand still')
    .argument('<group>', 'the group')
    .option('--let-run', 'running jobs go on to their end')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample: corral group pause default --let-run')
    .action(withClient(pause));
  group
    .command('resume')
    .description('start jobs of a group again; those that were paused with it go on')
    .argument('<group>', 'the group')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample: corral group resume default')
    .action(withClient(resume));
}

async function pause(client: Client, name: string, flags: { letRun?: true; json?: true }): Promise<number> {
  const answer = await client.pauseGroup(name, { running: flags.letRun ? 'letRun' : 'pause' });
  if (flags.json) printJson(answer);
  else say(`group ${name} starts nothing more${flags.letRun ? '' : `; ${countOf(answer.report)} paused`}`);
  return 0;
}

async function resume(client: Client, name: string, flags: { json?: true }): Promise<number> {
  const answer = await client.resumeGroup(name);
  if (flags.json) printJson(answer);
  else say(`group ${name} starts jobs again; ${countOf(answer.report)} resumed`);
  return 0;
}

function countOf({ done }: BulkReport): string {
  return `${done} running job${done === 1 ? '' : 's'}`;
}

function addSettings(command: Command): Command {
  return command
    .option('--parallel <number>', 'jobs that run at once; 0 starts nothing new', asInteger)
    .option('--rate <rate>', 'starts at most, such as 10/s, 5/m or 100/h; off for no limit', asRate)
    .option('--burst <number>', 'starts that may come at once before the rate holds', asInteger)
    .addOption(
      new Option('--mode <mode>', 'auto starts jobs by itself; manual when told to: corral run-pending').choices(
        groupModes,
      ),
    )
    .option('--max-queued <number>', 'jobs that may wait; a further submit is refused with QUEUE_FULL', asInteger)
    .option('--json', 'print JSON');
}

function settingsOf({ parallel, maxQueued, rate, burst, mode }: SettingFlags): GroupSettings {
  return {
    ...(parallel === undefined ? {} : { parallel }),
    ...(maxQueued === undefined ? {} : { maxQueued }),
    ...(rate === undefined ? {} : { rate: rate === 'off' ? null : rate }),
    ...(burst === undefined ? {} : { burst }),
    ...(mode === undefined ? {} : { mode }),
  };
}

/** `off` stands for no limit: commander itself has no use for null. */
function asRate(text: string): number | 'off' {
  try {
    return parseRate(text) ?? 'off';
  } catch (error) {
    if (error instanceof RangeError) throw new InvalidArgumentError(error.message);
    throw error;
  }
}

function show(group: GroupView, flags: { json?: true }): number {
  if (flags.json) printJson(group);
  else printGroups([group]);
  return 0;
}

function printGroups(groups: readonly GroupView[]): void {
  printTable(
    ['GROUP', 'SLOTS', 'IN USE', 'QUEUED', 'MAX QUEUED', 'RATE', 'BURST', 'MODE', 'STATE'],
    groups.map((group) => [
      oneLine(group.name),
      ...[group.parallel, group.active, group.queued, group.maxQueued].map(String),
      group.rate === null ? 'off' : formatRate(group.rate),
      group.rate === null ? '-' : String(group.burst),
      group.mode,
      group.paused ? 'paused' : 'open',
    ]),
  );
}
