import type { Command } from 'commander';
import { finalStatuses } from '../../../protocol/index.ts';
import { addBulkVerb } from '../bulk.ts';

export function addRm(program: Command): void {
  addBulkVerb(program, {
    name: 'rm',
    description: 'delete the record and the output of jobs that have ended',
    participle: 'deleted',
    statuses: finalStatuses,
    example: "corral rm --name 'nightly-*' --older-than 7d",
    work: (client, jobIds) => client.remove(jobIds),
  });
}
