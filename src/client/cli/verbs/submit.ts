import readline from 'node:readline';
import type { Command } from 'commander';
import { z } from 'zod';
import { CorralError, describeIssues, jobSpecSchema } from '../../../protocol/index.ts';
import type { Client, JobRequest } from '../../index.ts';
import { asRanges } from '../job-ids.ts';
import { addJobOptions, jobRequest, jobSettings } from '../job-options.ts';
import { printSettled } from '../policies.ts';
import { ReaderGoneError, say, write } from '../print.ts';
import { withClient } from '../session.ts';

type Flags = Parameters<typeof jobRequest>[1] & { batch?: true; dryRun?: true; json?: true };

const lineSchema = jobSpecSchema.partial().extend({ shell: z.string().optional() });

export function addSubmit(program: Command): void {
  addJobOptions(program.command('submit'))
    .description('queue a job and print its id')
    .argument('[command...]', 'program and arguments')
    .option('--batch', 'read jobs from stdin, one JSON object a line, such as {"command":["make","test"],"priority":5}')
    .option('--dry-run', 'submit nothing: print the job as it would be, its policies, and where each comes from')
    .option('--json', 'print JSON')
    .passThroughOptions()
    .addHelpText(
      'after',
      '\nExample: corral submit --priority 5 -- ./import.sh today\nExample: seq 100 | sed \'s/.*/{"shell":"work &"}/\' | corral submit --batch',
    )
    .action(withClient(submit));
}

async function submit(client: Client, words: string[], flags: Flags): Promise<number> {
  if (flags.dryRun) return dryRun(client, words, flags);
  const submitted = flags.batch
    ? await submitLines(client, words, flags)
    : [await client.submit(jobRequest(words, flags))];
  for (const { id, warnings = [] } of submitted) for (const warning of warnings) say(`job ${id}: ${warning}`);
  const shown = flags.json
    ? JSON.stringify(flags.batch ? submitted : submitted[0], null, 2)
    : submitted.map(({ id }) => id).join('\n');
  if (shown === '') return 0;
  try {
    await write(process.stdout, Buffer.from(`${shown}\n`));
  } catch (error) {
    // They are accepted, so their ids must not be lost with the output.
    const ids = asRanges(submitted.map(({ id }) => id));
    const sentence = submitted.length === 1 ? `job ${ids} was submitted` : `jobs ${ids} were submitted`;
    if (error instanceof ReaderGoneError) say(sentence);
    else if (error instanceof CorralError) throw new CorralError(error.code, `${error.message} But ${sentence}.`);
    else throw error;
  }
  return 0;
}

async function dryRun(client: Client, words: string[], flags: Flags): Promise<number> {
  if (flags.batch) throw new CorralError('INVALID_PARAMS', '--dry-run shows one job; leave --batch out.');
  printSettled(await client.settle(jobRequest(words, flags)), flags.json ? 'json' : 'text');
  return 0;
}

async function submitLines(client: Client, words: readonly string[], flags: Flags) {
  if (words.length > 0 || flags.shell !== undefined)
    throw new CorralError('INVALID_PARAMS', '--batch reads the commands from stdin; name none on the command line.');
  const requests: JobRequest[] = [];
  let number = 0;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    number += 1;
    if (line.trim() !== '') requests.push(readRequest(line, number));
  }
  return client.submitBatch(requests, jobSettings(flags));
}

function readRequest(line: string, number: number): JobRequest {
  let request: unknown;
  try {
    request = JSON.parse(line);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new CorralError('INVALID_PARAMS', `Line ${number} is not JSON (${error.message}). Nothing was submitted.`);
  }
  const parsed = lineSchema.safeParse(request);
  if (!parsed.success) {
    throw new CorralError(
      'INVALID_PARAMS',
      `Line ${number}: ${describeIssues(parsed.error, [])}. Nothing was submitted.`,
    );
  }
  const { shell, command } = parsed.data;
  if ((shell === undefined) === (command === undefined)) {
    throw new CorralError(
      'INVALID_PARAMS',
      `Line ${number} must name one of command and shell: {"command":["program","argument"]} or {"shell":"line"}. Nothing was submitted.`,
    );
  }
  return parsed.data as JobRequest;
}
