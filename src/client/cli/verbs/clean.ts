import type { Command } from 'commander';
import { CorralError, finalStatuses } from '../../../protocol/index.ts';
import type { Client } from '../../index.ts';
import { addBulkOptions, type BulkFlags, type BulkWork, workInBulk } from '../bulk.ts';
import { withClient } from '../session.ts';

const cleaning: BulkWork<BulkFlags> = {
  participle: 'deleted',
  statuses: finalStatuses,
  example: 'corral clean --older-than 7d',
  work: (client, jobIds) => client.remove(jobIds),
};

/** What `rm` does, by age: for timers and cron, where a job that has not ended is nothing to be told of. */
export function addClean(program: Command): void {
  const command = program
    .command('clean')
    .description('delete the record and the output of all jobs that ended longer ago');
  addBulkOptions(command, cleaning).action(withClient(clean));
}

async function clean(client: Client, flags: BulkFlags): Promise<number> {
  if (flags.olderThan === undefined && flags.all === undefined) {
    throw new CorralError(
      'INVALID_PARAMS',
      `Say how long ago they must have ended, or --all. Example: ${cleaning.example}`,
    );
  }
  const alive = (flags.status ?? []).filter((status) => !finalStatuses.some((final) => final === status));
  if (alive.length > 0) {
    throw new CorralError(
      'INVALID_PARAMS',
      `Only jobs that have ended can be deleted, not ${alive.join(' or ')} ones. End them first: corral cancel --status ${alive.join(',')}`,
    );
  }
  return workInBulk(cleaning, client, [], flags);
}
