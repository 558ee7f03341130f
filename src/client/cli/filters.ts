/** The options by which jobs are meant that are not named by their numbers, the same for every verb. */
import { type Command, InvalidArgumentError } from 'commander';
import { CorralError, type JobFilter, type JobStatus, jobStatuses, noSuchGroup } from '../../protocol/index.ts';
import type { Client } from '../index.ts';
import { asPositiveDuration } from './job-options.ts';

export interface FilterFlags {
  readonly status?: JobStatus[];
  readonly group?: string;
  readonly name?: string;
  readonly scope?: string;
  readonly olderThan?: number;
}

/** @param statusFlags how the verb spells the one that has a short name in some: `--status <statuses>` */
export function addFilters(command: Command, statusFlags: string): Command {
  return command
    .option(statusFlags, `only these, with commas between: ${jobStatuses.join(', ')}`, asStatuses)
    .option('-g, --group <group>', 'only this group')
    .option('-n, --name <name>', "only this name; * stands for any text: 'build-*'")
    .option('--scope <scope>', 'only this scope')
    .option(
      '--older-than <duration>',
      'only those that were submitted longer ago, such as 30m; of ended ones, that ended longer ago',
      asPositiveDuration,
    );
}

/** What the options say, and nothing that they do not. */
export function filterFrom({ status, group, name, scope, olderThan }: FilterFlags): JobFilter {
  const filter = { statuses: status, group, name, scope, olderThanMs: olderThan };
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}

/** @throws CorralError where the daemon knows no group of this name: an empty list would hide the typing slip */
export async function checkGroup(client: Client, name: string): Promise<void> {
  const known = (await client.groups()).map((group) => group.name);
  if (!known.includes(name)) throw new CorralError('GROUP_NOT_FOUND', noSuchGroup(name, known));
}

function asStatuses(text: string): JobStatus[] {
  return text.split(',').map((word) => {
    const status = jobStatuses.find((candidate) => candidate === word);
    if (status === undefined)
      throw new InvalidArgumentError(`There is no status "${word}". Known: ${jobStatuses.join(', ')}.`);
    return status;
  });
}
