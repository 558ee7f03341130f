import type { Command } from 'commander';
import { addBulkVerb } from '../bulk.ts';

export function addPause(program: Command): void {
  addBulkVerb(program, {
    name: 'pause',
    description: 'have jobs stand still: queued ones do not start, the processes of running ones are frozen',
    participle: 'paused',
    statuses: ['queued', 'starting', 'running'],
    example: 'corral pause 3..9',
    work: (client, jobIds) => client.pause(jobIds),
  });
}
