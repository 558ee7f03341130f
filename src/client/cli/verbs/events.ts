import type { Command } from 'commander';
import type { Client } from '../../index.ts';
import { eventLine } from '../event-line.ts';
import { asJobId } from '../job-ids.ts';
import { asCount } from '../job-options.ts';
import { ReaderGoneError, write } from '../print.ts';
import { withClient } from '../session.ts';

/** Events that are shown where nothing else is asked for. */
const recent = 100;

interface Flags {
  readonly follow?: true;
  readonly after?: number;
  readonly all?: true;
  readonly job?: number;
  readonly json?: true;
}

export function addEvents(program: Command): void {
  program
    .command('events')
    .description('print the record of what became of jobs, oldest first')
    .option('-f, --follow', 'go on with what happens from now on')
    .option('--after <number>', 'only what came after this number; go on where you were', asCount)
    .option('-a, --all', `everything that is still kept (default: the last ${recent})`)
    .option('-j, --job <id>', 'only this job', asJobId)
    .option('--json', 'print JSON, one object a line')
    .addHelpText('after', '\nExample: corral events -f --json --after 1234')
    .action(withClient(events));
}

async function events(client: Client, flags: Flags): Promise<number> {
  const from =
    flags.after !== undefined ? { after: flags.after } : flags.all || flags.job !== undefined ? {} : { last: recent };
  const filter = flags.job === undefined ? {} : { jobId: flags.job };
  // An empty record, or a wait for ever, would hide a slip of the finger. Events go with the record of their job.
  if (flags.job !== undefined) await client.get(flags.job);
  try {
    for await (const event of client.events({ ...from, ...filter, follow: flags.follow ?? false }))
      await write(process.stdout, Buffer.from(`${flags.json ? JSON.stringify(event) : eventLine(event)}\n`));
  } catch (error) {
    if (!(error instanceof ReaderGoneError)) throw error; // A reader such as head has seen enough.
  }
  return 0;
}
