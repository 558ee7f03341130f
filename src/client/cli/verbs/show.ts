import type { Command } from 'commander';
import { formatDuration, type JobView } from '../../../protocol/index.ts';
import type { Client } from '../../index.ts';
import { asJobId } from '../job-ids.ts';
import { commandLine, oneLine, outcome, printJson, printLine } from '../print.ts';
import { withClient } from '../session.ts';

export function addShow(program: Command): void {
  program
    .command('show')
    .description('show everything about a job')
    .argument('<id>', 'job id', asJobId)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample: corral show 7 --json')
    .action(withClient(show));
}

async function show(client: Client, jobId: number, flags: { json?: true }): Promise<number> {
  const job = await client.get(jobId);
  if (flags.json) printJson(job);
  else for (const [label, value] of describe(job)) printLine(`${label.padEnd(12)} ${oneLine(value)}`);
  return 0;
}

function describe(job: JobView): [label: string, value: string][] {
  const { limits } = job;
  const lines: [string, string | null][] = [
    ['job', `${job.id}${job.name === null ? '' : ` (${job.name})`}`],
    ['command', commandLine(job.command)],
    ['folder', job.cwd],
    ['group', `${job.group}, priority ${job.priority}`],
    ['status', job.status + (job.unkillable ? ' (some process cannot be killed)' : job.paused ? ' (paused)' : '')],
    ['result', job.cause === null ? null : outcome(job)],
    ['waits', job.waitingFor],
    ['message', job.message],
    ['strays', job.strays === 0 ? null : `${job.strays} ended after the first process`],
    ['pid', job.pid === null ? null : String(job.pid)],
    ['attempt', job.attempt === 0 ? null : `${job.attempt}`],
    ['submitted', job.submittedAt],
    ['started', job.startedAt],
    ['finished', job.finishedAt],
    ['cpu time', job.cpuMs === null ? null : formatDuration(job.cpuMs)],
    [
      'peak memory',
      job.peakRssBytes === null ? null : `${Math.round(job.peakRssBytes / 1024 ** 2)} MiB in its largest process`,
    ],
    ['max runtime', limits.maxRuntimeMs === null ? 'off' : formatDuration(limits.maxRuntimeMs)],
    ['kill grace', limits.killGraceMs === null ? 'none' : formatDuration(limits.killGraceMs)],
    ['if lost', job.onSupervisorLost],
    ['output', job.outputFiles.length === 0 ? null : `${job.outputBytes} bytes in ${job.outputFiles.join(', ')}`],
    ['containment', job.containment],
  ];
  return lines.filter((line): line is [string, string] => line[1] !== null);
}
