import { Command } from 'commander';
import { CorralError, type JobEdit, policyFields } from '../../../protocol/index.ts';
import type { Client } from '../../index.ts';
import { asJobId } from '../job-ids.ts';
import { addJobOptions, jobSettings } from '../job-options.ts';
import { printJson } from '../print.ts';
import { withClient } from '../session.ts';

type JobFlags = Parameters<typeof jobSettings>[0];
type Flags = JobFlags & { unset?: string[]; json?: true };

/** Options of a new job that say what cannot be changed once it is there. */
const onlyWhenNew = [
  '--group',
  '--profile',
  '--stdin',
  '--split-output',
  '--success-codes',
  '--idempotency-key',
  '--after',
  '--after-any',
];

export function addEdit(program: Command): void {
  const command = program
    .command('edit')
    .description('change a job that is queued: what is not named stays as it is')
    .argument('<id>', 'job id', asJobId)
    .argument('[program...]', 'program and its arguments, in place of those that it has');
  const ofJobs = addJobOptions(new Command()).options.filter(({ long }) => !onlyWhenNew.includes(long ?? ''));
  for (const option of ofJobs) {
    option.description = option.description
      .replace(/ \(default: .*\)$/, '')
      .replace('on top of the current environment', 'in its environment');
    command.addOption(option);
  }
  command
    .option('--unset <NAME>', 'take a variable out of its environment; repeatable', (name, earlier: string[] = []) => [
      ...earlier,
      name,
    ])
    .option('--json', 'print the job as it is now, as JSON')
    .addHelpText(
      'after',
      `
Example: corral edit 7 --priority 9 --max-runtime 1h
Example: corral edit 7 -e MODE=full --unset DEBUG -- ./import.sh today
--delay counts from now; --delay off lets it start at once. -n '' takes its name away.`,
    )
    .action(withClient(edit));
}

async function edit(client: Client, jobId: number, words: string[], flags: Flags): Promise<number> {
  const job = await client.edit(jobId, wishOf(words, flags));
  if (flags.json) printJson(job);
  return 0;
}

function wishOf(words: readonly string[], flags: Flags): JobEdit {
  const { name, priority, shell, env, unset, cwd, delay } = flags;
  if (shell !== undefined && words.length > 0)
    throw new CorralError('INVALID_PARAMS', 'Name a program after --, or a line of shell with -c, and not both.');
  const command = shell === undefined ? [...words] : ['/bin/sh', '-c', shell];
  const settings: Record<string, unknown> = jobSettings(flags);
  const same = ['resources', 'startAt', ...Object.keys(policyFields)].filter((key) => settings[key] !== undefined);
  const wish: JobEdit = {
    ...Object.fromEntries(same.map((key) => [key, settings[key]])),
    ...(name === undefined ? {} : { name: name === '' ? null : name }),
    ...(priority === undefined ? {} : { priority }),
    ...(command.length === 0 ? {} : { command }),
    ...(cwd === undefined ? {} : { cwd: String(settings.cwd) }),
    ...(delay === undefined ? {} : { delayMs: delay === 'off' ? null : delay }),
    ...(env === undefined && unset === undefined ? {} : { env: { set: env ?? {}, unset: unset ?? [] } }),
  };
  const [unknown] = Object.keys(settings).filter(
    (key) => !(key in wish || ['name', 'cwd', 'env', 'delayMs'].includes(key)),
  );
  if (unknown !== undefined)
    throw new CorralError(
      'INVALID_PARAMS',
      `The ${unknown} of a job cannot be changed. Cancel it, and submit another.`,
    );
  if (Object.keys(wish).length === 0)
    throw new CorralError(
      'INVALID_PARAMS',
      'Say what to change, such as --priority 9. All that can be: corral edit --help',
    );
  return wish;
}
