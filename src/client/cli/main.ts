/** The CLI: one file per verb under verbs/. */
import { Command } from 'commander';
import { version } from '../../protocol/index.ts';
import { exitCodes } from './exit-code.ts';
import { say } from './print.ts';
import { addCancel } from './verbs/cancel.ts';
import { addDaemon } from './verbs/daemon.ts';
import { addDoctor } from './verbs/doctor.ts';
import { addEvents } from './verbs/events.ts';
import { addGroup } from './verbs/group.ts';
import { addHealth } from './verbs/health.ts';
import { addKill } from './verbs/kill.ts';
import { addLogs } from './verbs/logs.ts';
import { addLs } from './verbs/ls.ts';
import { addRm } from './verbs/rm.ts';
import { addRun } from './verbs/run.ts';
import { addShow } from './verbs/show.ts';
import { addSubmit } from './verbs/submit.ts';
import { addWait } from './verbs/wait.ts';

const program = new Command('corral')
  .description('A local job supervisor: nothing it started outlives its purpose, nothing it acknowledged is lost.')
  .version(version)
  .enablePositionalOptions()
  .showHelpAfterError('(see --help)')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : exitCodes.usage))
  .addHelpText('after', "\nExample: corral run -- sh -c 'echo hello from $CORRAL_JOB_ID'");

for (const add of [
  addRun,
  addSubmit,
  addLs,
  addShow,
  addLogs,
  addWait,
  addCancel,
  addKill,
  addRm,
  addGroup,
  addEvents,
  addHealth,
  addDoctor,
  addDaemon,
])
  add(program);
inheritSettings(program);

// A reader such as head that closes the pipe early is no error of ours. Whoever waits for a write hears of its failure itself.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE' || process.stdout.listenerCount('error') > 1) return;
  say(`the output cannot be written: ${error.message}`);
  process.exitCode = exitCodes.ourFailure;
});

try {
  await program.parseAsync();
} catch (error) {
  say(`this is a defect in corral, please report it: ${error instanceof Error ? error.message : String(error)}`);
  if (process.env.CORRAL_DEBUG === '1' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  else say('CORRAL_DEBUG=1 shows where it happened');
  process.exitCode = exitCodes.ourFailure;
}

/** commander copies settings to subcommands made with `command()` only where they were set before; ours are made in their own files. */
function inheritSettings(command: Command): void {
  for (const child of command.commands) {
    child.copyInheritedSettings(command);
    inheritSettings(child);
  }
}
