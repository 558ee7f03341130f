import type { Command } from 'commander';
import { addBulkVerb } from '../bulk.ts';

export function addResume(program: Command): void {
  addBulkVerb(program, {
    name: 'resume',
    description: 'have paused jobs go on where they were',
    participle: 'resumed',
    statuses: ['queued', 'starting', 'running'],
    example: 'corral resume 3..9',
    work: (client, jobIds) => client.resume(jobIds),
  });
}
