import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import os from 'node:os';
import type { Command } from 'commander';
import { CorralError, isErrno, type ScopeReport, showBytes } from '../../../protocol/index.ts';
import { callerEnvironment } from '../../caller.ts';
import type { Client } from '../../index.ts';
import { exitCodes } from '../exit-code.ts';
import { printJson, printLine, say } from '../print.ts';
import { withClient } from '../session.ts';

interface Flags {
  readonly name?: string;
  readonly report?: string;
  readonly json?: true;
}

export function addScope(program: Command): void {
  program
    .command('scope')
    .description('run a command; when it ends, however it does, so do all jobs that were submitted under it')
    .argument('[command...]', 'program and arguments')
    .option('-n, --name <name>', 'a name for people')
    .option('--report <scope>', 'show what became of the jobs of a scope; kept for 24 hours after its end')
    .option('--json', 'the summary as one line of JSON, on stderr; with --report on stdout')
    .passThroughOptions()
    .addHelpText(
      'after',
      `
Example: corral scope -- pytest tests/
Example: corral scope --report 1f0c3a52b7d94e6f8a9b0c1d2e3f4a5b
Jobs belong to it by CORRAL_SCOPE, which the command and everything below it inherits. Ctrl-C goes to the command, as without corral.`,
    )
    .action(withClient(scope, { noDaemonCode: exitCodes.ourFailure }));
}

async function scope(client: Client, words: string[], flags: Flags): Promise<number> {
  const { report, name, json } = flags;
  if ((report === undefined) === (words.length === 0)) {
    throw new CorralError(
      'INVALID_PARAMS',
      'Name a program after --, or a scope with --report, and not both. Example: corral scope -- pytest',
    );
  }
  return report === undefined
    ? runInScope(client, words, name, json ?? false)
    : showReport(client, report, json ?? false);
}

async function showReport(client: Client, id: string, json: boolean): Promise<number> {
  const report = await client.scopeReport(id);
  if (json) printJson(report);
  else {
    const { name, status, end, openedAt, closedAt, errors } = report;
    printLine(`scope     ${report.scope}${name === null ? '' : ` (${name})`}`);
    printLine(`status    ${status}${end === null ? '' : `, ${endings[end]}`}`);
    printLine(`opened    ${openedAt}`);
    if (closedAt !== null) printLine(`closed    ${closedAt}`);
    printLine(`jobs      ${summary(report)}`);
    for (const { message } of errors) printLine(`left      ${message}`);
  }
  return isClean(report) ? 0 : exitCodes.partial;
}

const endings: Readonly<Record<NonNullable<ScopeReport['end']>, string>> = {
  closed: 'by its client',
  'client-gone': 'because its client went away',
  'client-lost': 'because its client did not come back after a restart of the daemon',
};

async function runInScope(client: Client, words: string[], name: string | undefined, json: boolean): Promise<number> {
  const passing = new PassedSignals();
  const scope = client.scope({ name });
  await scope.ready;
  const code = await run(words, scope.env, passing);
  const report = await scope.close();
  if (json) process.stderr.write(`${JSON.stringify(report)}\n`);
  else {
    say(`scope: ${summary(report)}`);
    for (const { message } of report.errors) say(message);
  }
  return isClean(report) ? code : exitCodes.ourFailure;
}

function isClean({ failed, processesLeft }: ScopeReport): boolean {
  return failed === 0 && (processesLeft ?? 0) === 0;
}

function summary({ status, jobs, ended, cleaned, failed, processesLeft }: ScopeReport): string {
  if (status === 'open')
    return `${jobs} job${jobs === 1 ? '' : 's'}, ${ended} ended by themselves, ${jobs - ended} live`;
  const left = `${processesLeft} process${processesLeft === 1 ? '' : 'es'} left`;
  return `${jobs} job${jobs === 1 ? '' : 's'}, ${ended} ended by themselves, ${cleaned} cleaned, ${failed} failed, ${left}`;
}

/** Runs a program as our own child, on our own terminal and files. Returns its exit code, as a shell has it. */
async function run(words: readonly string[], env: Readonly<Record<string, string>>, passing: PassedSignals) {
  const exact = { ...callerEnvironment(process.env), ...env };
  for (const text of [...words, ...Object.entries(exact).flat()]) {
    if (text.isWellFormed()) continue;
    throw new CorralError(
      'INVALID_PARAMS',
      `The command or the environment holds bytes that are not UTF-8 (${showBytes(text).slice(0, 100)}), which it cannot be given from here. Start it from a script.`,
    );
  }
  const [program = '', ...args] = words;
  const child = spawn(program, args, { env: exact, stdio: 'inherit' });
  passing.aimAt(child);
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return code ?? 128 + os.constants.signals[signal ?? 'SIGKILL'];
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'EACCES', 'ENOTDIR', 'ENOEXEC', 'E2BIG')) throw error;
    say(`${showBytes(program)} could not be started: ${error.message}`);
    return error.code === 'ENOENT' ? 127 : 126;
  }
}

/**
 * SIGTERM and SIGHUP go to the command, which may take its time to end; the scope is closed after that. Ctrl-C and Ctrl-\ come
 * from the terminal, which sends them to the command as well. termios(3)
 */
class PassedSignals {
  #child: ChildProcess | null = null;
  #early: NodeJS.Signals | null = null;

  constructor() {
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => this.#pass(signal));
    for (const signal of ['SIGINT', 'SIGQUIT'] as const) {
      process.on(signal, () => {
        if (this.#child === null) this.#early = signal; // It was not there to be sent it.
      });
    }
  }

  aimAt(child: ChildProcess): void {
    this.#child = child;
    if (this.#early !== null) child.kill(this.#early);
  }

  #pass(signal: NodeJS.Signals): void {
    if (this.#child === null) this.#early = signal;
    else this.#child.kill(signal);
  }
}
