/** Runs the command line. */
import type { Command } from 'commander';
import { exitCodes } from './exit-code.ts';
import { say } from './print.ts';
import { createProgram } from './program.ts';

// A reader such as head that closes the pipe early is no error of ours. Whoever waits for a write hears of its failure itself.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE' || process.stdout.listenerCount('error') > 1) return;
  say(`the output cannot be written: ${error.message}`);
  process.exitCode = exitCodes.ourFailure;
});
// Nobody is left to be told, such as after the terminal has gone; the exit code still says how it ended.
process.stderr.on('error', () => undefined);

const program = createProgram();
exitWithOurCodes(program);
try {
  await program.parseAsync();
} catch (error) {
  say(`this is a defect in corral, please report it: ${error instanceof Error ? error.message : String(error)}`);
  if (process.env.CORRAL_DEBUG === '1' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  else say('CORRAL_DEBUG=1 shows where it happened');
  process.exitCode = exitCodes.ourFailure;
}

/** Where commander ends the process, after --help or a bad command line, it is with our codes. */
function exitWithOurCodes(command: Command): void {
  command.exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : exitCodes.usage));
  for (const child of command.commands) exitWithOurCodes(child);
}
