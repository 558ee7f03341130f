import type { Command } from 'commander';
import { finalStatuses } from '../../../protocol/index.ts';
import { addBulkVerb } from '../bulk.ts';

export function addRetry(program: Command): void {
  addBulkVerb(program, {
    name: 'retry',
    description: 'run jobs again that have ended: the same jobs, with one more attempt',
    participle: 'retried',
    // What succeeded is run again only where that is said: by its id, or with --status completed.
    statuses: finalStatuses.filter((status) => status !== 'completed'),
    example: 'corral retry --group nightly --status failed',
    work: (client, jobIds) => client.retry(jobIds),
  });
}
