/** The command line as a whole: what main.ts runs, and what man pages and shell completion are made from. */
import { Command } from 'commander';
import { version } from '../../protocol/index.ts';
import { addAttach } from './verbs/attach.ts';
import { addCancel } from './verbs/cancel.ts';
import { addClean } from './verbs/clean.ts';
import { addCompletion } from './verbs/completion.ts';
import { addConfig } from './verbs/config.ts';
import { addDaemon } from './verbs/daemon.ts';
import { addDoctor } from './verbs/doctor.ts';
import { addEdit } from './verbs/edit.ts';
import { addEvents } from './verbs/events.ts';
import { addGroup } from './verbs/group.ts';
import { addHealth } from './verbs/health.ts';
import { addHeartbeat } from './verbs/heartbeat.ts';
import { addHelp } from './verbs/help.ts';
import { addKill } from './verbs/kill.ts';
import { addLogs } from './verbs/logs.ts';
import { addLs } from './verbs/ls.ts';
import { addMove } from './verbs/move.ts';
import { addPause } from './verbs/pause.ts';
import { addProgress } from './verbs/progress.ts';
import { addResult } from './verbs/result.ts';
import { addResume } from './verbs/resume.ts';
import { addRetry } from './verbs/retry.ts';
import { addRm } from './verbs/rm.ts';
import { addRun } from './verbs/run.ts';
import { addRunPending } from './verbs/run-pending.ts';
import { addScope } from './verbs/scope.ts';
import { addShow } from './verbs/show.ts';
import { addStuck } from './verbs/stuck.ts';
import { addSubmit } from './verbs/submit.ts';
import { addTop } from './verbs/top.ts';
import { addWait } from './verbs/wait.ts';

/** In the order in which --help lists them. */
const verbs: readonly ((program: Command) => void)[] = [
  addRun,
  addAttach,
  addSubmit,
  addLs,
  addShow,
  addTop,
  addLogs,
  addWait,
  addCancel,
  addKill,
  addHeartbeat,
  addPause,
  addResume,
  addEdit,
  addMove,
  addRetry,
  addRm,
  addClean,
  addStuck,
  addProgress,
  addResult,
  addScope,
  addGroup,
  addRunPending,
  addEvents,
  addHealth,
  addDoctor,
  addConfig,
  addDaemon,
  addCompletion,
  addHelp,
];

export function createProgram(): Command {
  const program = new Command('corral')
    .description('A local job supervisor: nothing it started outlives its purpose, nothing it acknowledged is lost.')
    .version(version)
    .enablePositionalOptions()
    .helpCommand(false)
    .showHelpAfterError('(see corral --help)')
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'corral: ')) })
    .addHelpText('after', "\nExample: corral run -- sh -c 'echo hello from $CORRAL_JOB_ID'");
  for (const add of verbs) add(program);
  inheritSettings(program);
  return program;
}

/** commander copies settings to subcommands made with `command()` only where they were set before; ours are made in their own files. */
function inheritSettings(command: Command): void {
  for (const child of command.commands) {
    child.copyInheritedSettings(command);
    child.showHelpAfterError(`(see ${pathOf(child)} --help)`);
    inheritSettings(child);
  }
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}
