import type { Command } from 'commander';
import { CorralError } from '../../../protocol/index.ts';
import type { Client, WaitOptions } from '../../index.ts';
import { exitCodeOf, exitCodes, explainEnd } from '../exit-code.ts';
import { asJobIds } from '../job-ids.ts';
import { asDuration } from '../job-options.ts';
import { printJson, say } from '../print.ts';
import { withClient } from '../session.ts';

interface Flags {
  readonly timeout?: number | 'off';
  readonly any?: true;
  readonly json?: true;
}

export function addWait(program: Command): void {
  program
    .command('wait')
    .description('wait until jobs have ended; exit with the code of the first that did not succeed')
    .argument('<ids...>', 'job ids or ranges', asJobIds)
    .option('-t, --timeout <duration>', 'give up after this long, with exit code 124', asDuration)
    .option('--any', 'until one of them has ended')
    .option('--json', 'print the ended jobs as JSON')
    .addHelpText('after', '\nExample: corral wait 3..9 --timeout 10m')
    .action(withClient(wait, { noDaemonCode: exitCodes.ourFailure }));
}

async function wait(client: Client, jobIds: number[], flags: Flags): Promise<number> {
  process.on('SIGINT', () => process.exit(exitCodes.interrupted));
  const jobs = await waitForAll(client, jobIds, {
    mode: flags.any ? 'any' : 'all',
    ...(typeof flags.timeout === 'number' ? { timeoutMs: flags.timeout } : {}),
  });
  if (flags.json) printJson(jobs);
  for (const job of jobs) {
    const explanation = explainEnd(job);
    if (explanation !== null) say(explanation);
  }
  return jobs.map(exitCodeOf).find((code) => code !== 0) ?? 0;
}

/** One id that is not there spoils a wait for many; which of them it is, the daemon says. */
async function waitForAll(client: Client, jobIds: readonly number[], options: WaitOptions) {
  try {
    return await client.wait(jobIds, options);
  } catch (error) {
    if (!(error instanceof CorralError) || error.code !== 'JOB_NOT_FOUND' || jobIds.length === 1) throw error;
    throw new CorralError(error.code, `${error.message} The others were not waited for: name them without it.`);
  }
}
