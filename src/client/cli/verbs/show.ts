import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { formatDuration, formatSize, type JobView, type ProcessUsageView } from '../../../protocol/index.ts';
import type { Client } from '../../index.ts';
import { asJobId } from '../job-ids.ts';
import { afterText, printPolicies, resourcesText } from '../policies.ts';
import { commandLine, oneLine, outcome, printJson, printLine, printTable, progressText, say } from '../print.ts';
import { withClient } from '../session.ts';

export function addShow(program: Command): void {
  program
    .command('show')
    .description('show everything about a job')
    .argument('<id>', 'job id', asJobId)
    .option('-p, --processes', 'the processes of a running job, with what each uses right now')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample: corral show 7 --processes')
    .action(withClient(show));
}

async function show(client: Client, jobId: number, flags: { processes?: true; json?: true }): Promise<number> {
  if (flags.processes) return showProcesses(client, jobId, flags);
  const job = await client.get(jobId);
  if (flags.json) printJson(job);
  else print(job);
  return 0;
}

function print(job: JobView): void {
  for (const [label, value] of describe(job)) printLine(`${label.padEnd(12)} ${oneLine(value)}`);
  printLine();
  printPolicies(job.policies);
}

/** CPU use is reckoned between two looks. */
const betweenLooksMs = 500;

async function showProcesses(client: Client, jobId: number, flags: { json?: true }): Promise<number> {
  const question = { jobIds: [jobId], processes: true };
  await client.usage(question);
  await delay(betweenLooksMs);
  const [usage] = await client.usage(question);
  const processes = usage?.processes ?? [];
  if (flags.json) printJson(processes);
  else if (usage === undefined) say(`job ${jobId} is ${(await client.get(jobId)).status}: it has no processes`);
  else printTable(['PID', 'STATE', 'CPU', 'CPU TIME', 'MEMORY', 'COMMAND'], processes.map(processCells));
  const unlisted = (usage?.processCount ?? 0) - processes.length;
  if (unlisted > 0) say(`${unlisted} more processes are not listed`);
  return 0;
}

function processCells({ pid, state, cpuMillicores, cpuMs, rssBytes, command }: ProcessUsageView): string[] {
  const cpu = cpuMillicores === null ? '-' : `${(cpuMillicores / 10).toFixed(1)}%`;
  return [String(pid), state, cpu, formatDuration(cpuMs), formatSize(rssBytes), oneLine(command)];
}

function describe(job: JobView): [label: string, value: string][] {
  const lines: [string, string | null][] = [
    ['job', `${job.id}${job.name === null ? '' : ` (${job.name})`}`],
    ['command', commandLine(job.command)],
    ['folder', job.cwd],
    ['group', `${job.group}, priority ${job.priority}`],
    ['profile', job.profile],
    ['scope', job.scope],
    [
      'status',
      job.status + (job.unkillable ? ' (some process cannot be killed)' : '') + (job.paused ? ' (paused)' : ''),
    ],
    ['not before', job.notBefore],
    ['after', afterText(job)],
    ['result', job.cause === null ? null : outcome(job)],
    ['waits', job.waitingFor],
    ['message', job.message],
    ['progress', job.progress === null ? null : `${progressText(job)} (${job.progress.at})`],
    ['reported', job.result === null ? null : JSON.stringify(job.result)],
    ...job.warnings.map((warning): [string, string] => ['warning', warning]),
    ['strays', job.strays === 0 ? null : `${job.strays} ended after the first process`],
    ['pid', job.pid === null ? null : String(job.pid)],
    ['attempt', job.attempt === 0 ? null : `${job.attempt}`],
    ['retries', job.retries === 0 ? null : `${job.retries}`],
    ['submitted', job.submittedAt],
    ['started', job.startedAt],
    ['finished', job.finishedAt],
    ['cpu time', job.cpuMs === null ? null : formatDuration(job.cpuMs)],
    [
      'peak memory',
      job.peakRssBytes === null ? null : `${Math.round(job.peakRssBytes / 1024 ** 2)} MiB in its largest process`,
    ],
    ['limits', resourcesText(job)],
    ['output', job.outputFiles.length === 0 ? null : outputText(job)],
    ['containment', job.containment],
  ];
  return lines.filter((line): line is [string, string] => line[1] !== null);
}

function outputText({ outputBytes, outputDroppedBytes, outputFiles }: JobView): string {
  const dropped = outputDroppedBytes === 0 ? '' : `, after ${outputDroppedBytes} that were dropped,`;
  return `${outputBytes} bytes${dropped} in ${outputFiles.join(', ')}`;
}
