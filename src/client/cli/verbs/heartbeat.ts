import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { type BulkReport, CorralError } from '../../../protocol/index.ts';
import type { Client } from '../../index.ts';
import { asJobIds } from '../job-ids.ts';
import { asPositiveDuration } from '../job-options.ts';
import { reportOn } from '../report.ts';
import { withClient } from '../session.ts';

interface Flags {
  readonly every?: number;
  readonly json?: true;
}

export function addHeartbeat(program: Command): void {
  program
    .command('heartbeat')
    .description('keep jobs with a lease alive without staying attached to them')
    .argument('<ids...>', 'job ids or ranges', asJobIds)
    .option('--every <duration>', 'go on, one heartbeat each time, until all of them have ended', asPositiveDuration)
    .option('--json', 'print the report as JSON')
    .addHelpText('after', '\nExample: corral heartbeat 7 --every 30s')
    .action(withClient(heartbeat));
}

async function heartbeat(client: Client, jobIds: number[], { every, json }: Flags): Promise<number> {
  if (every === undefined) {
    return (await reportOn(jobIds, (piece) => client.heartbeat(piece), json ?? false)).exitCode;
  }
  if (json) throw new CorralError('INVALID_PARAMS', '--json prints one report; leave out --every.');
  let live: readonly number[] = jobIds;
  const beat = async (piece: readonly number[]): Promise<BulkReport> => {
    const report = await client.heartbeat(piece);
    const over = report.errors.filter(({ code }) => code === 'JOB_NOT_RUNNING').map(({ jobId }) => jobId);
    live = live.filter((jobId) => !over.includes(jobId));
    const errors = report.errors.filter(({ code }) => code !== 'JOB_NOT_RUNNING');
    return { ...report, failed: errors.length, errors };
  };
  for (;;) {
    const { exitCode } = await reportOn(live, beat, false);
    if (exitCode !== 0 || live.length === 0) return exitCode;
    await delay(every);
  }
}
