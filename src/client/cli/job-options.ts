import fs from 'node:fs';
import path from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { CorralError, parseDuration, pathFromText, showBytes } from '../../protocol/index.ts';
import { callerEnvironment, callerFolder } from '../caller.ts';
import type { JobRequest } from '../index.ts';

interface JobFlags {
  readonly shell?: string;
  readonly name?: string;
  readonly group?: string;
  readonly priority?: number;
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  readonly stdin?: string;
  readonly splitOutput?: true;
  readonly maxRuntime?: number | 'off';
  readonly killGrace?: number | 'off';
  readonly successCodes?: number[];
  readonly onSupervisorLost?: 'fail' | 'retry';
  readonly idempotencyKey?: string;
}

const lostPolicies = ['fail', 'retry'];

/** The options that describe a job, shared by `run` and `submit`. */
export function addJobOptions(command: Command): Command {
  return command
    .option('-c, --shell <line>', 'run a line of shell (/bin/sh -c) in place of a program with arguments')
    .option('-n, --name <name>', 'a name for people')
    .option('-g, --group <group>', 'the group whose slots it runs in (default: default)')
    .option('-p, --priority <number>', 'higher starts first', asInteger)
    .option('-C, --cwd <folder>', 'where to run it (default: here)')
    .option('-e, --env <NAME=value>', 'set a variable on top of the current environment; repeatable', asVariable)
    .option('--stdin <file>', 'what it reads as standard input (default: /dev/null)')
    .option('--split-output', 'keep stdout and stderr apart, in two files')
    .option(
      '--max-runtime <duration>',
      "end it after this long, such as 90s or 30m; 0 or off for no limit (default: the daemon's, off unless configured)",
      asDuration,
    )
    .option(
      '--kill-grace <duration>',
      "time between SIGTERM and SIGKILL; 0 or off for SIGKILL at once (default: the daemon's, 5s unless configured)",
      asDuration,
    )
    .option('--success-codes <codes>', 'exit codes that count as success, such as 0,3 (default: 0)', asExitCodes)
    .addOption(
      new Option('--on-supervisor-lost <what>', 'if the daemon dies while it runs (default: fail)').choices(
        lostPolicies,
      ),
    )
    .option('--idempotency-key <key>', 'submitting again with the same key gives the same job');
}

/** The job that the command line describes. Paths are resolved against the current folder. */
export function jobRequest(words: readonly string[], flags: JobFlags): JobRequest {
  if ((flags.shell === undefined) === (words.length === 0)) {
    throw new CorralError(
      'INVALID_PARAMS',
      'Name a program after --, or a line of shell with -c, and not both. Example: corral run -- make test',
    );
  }
  return { ...(flags.shell === undefined ? { command: [...words] } : { shell: flags.shell }), ...jobSettings(flags) };
}

/** What the options say about a job beside its command. */
export function jobSettings(flags: JobFlags): Partial<JobRequest> & { command?: never; shell?: never } {
  const settings = {
    name: flags.name,
    group: flags.group,
    priority: flags.priority,
    cwd: absolute(flags.cwd ?? '.'),
    env: { ...callerEnvironment(process.env), ...flags.env },
    stdin: flags.stdin === undefined ? undefined : readableFile(flags.stdin),
    splitOutput: flags.splitOutput,
    maxRuntimeMs: flags.maxRuntime === 'off' ? null : flags.maxRuntime,
    killGraceMs: flags.killGrace === 'off' ? null : flags.killGrace,
    successCodes: flags.successCodes,
    onSupervisorLost: flags.onSupervisorLost,
    idempotencyKey: flags.idempotencyKey,
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

/** Where the path itself says it all, the current folder may even be gone. */
function absolute(file: string): string {
  return path.isAbsolute(file) ? path.resolve(file) : path.resolve(callerFolder(), file);
}

/** Files that are another thing, or nothing, to each process that opens them. */
const ourOwnInput = /^(\/dev\/(stdin|stdout|stderr|tty|fd\/.*)|\/proc\/(self|thread-self|\d+)\/fd\/.*)$/;

function readableFile(file: string): string {
  const full = absolute(file);
  if (file === '-' || ourOwnInput.test(full)) {
    throw new CorralError(
      'INVALID_PARAMS',
      `--stdin ${showBytes(file)}: the daemon starts the job, and cannot see what is open here. Write it to a file first: cat >input; then --stdin input`,
    );
  }
  if (!fs.existsSync(pathFromText(full)))
    throw new CorralError('INVALID_PARAMS', `--stdin ${showBytes(file)}: there is no such file.`);
  return full;
}

export function asInteger(text: string): number {
  if (!/^-?\d+$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

export function asCount(text: string): number {
  const count = asInteger(text);
  if (count < 0) throw new InvalidArgumentError('It must not be negative.');
  return count;
}

export function asLineCount(text: string): number | 'all' {
  return text === 'all' ? text : asCount(text);
}

/** `off` stands for none: commander itself has no use for null. */
export function asDuration(text: string): number | 'off' {
  try {
    return parseDuration(text) ?? 'off';
  } catch (error) {
    if (error instanceof RangeError) throw new InvalidArgumentError(error.message);
    throw error;
  }
}

function asVariable(text: string, earlier: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Write it NAME=value.');
  return { ...earlier, [text.slice(0, at)]: text.slice(at + 1) };
}

function asExitCodes(text: string): number[] {
  const codes = text.split(',').map(Number);
  if (!codes.every((code) => Number.isInteger(code) && code >= 0 && code <= 255))
    throw new InvalidArgumentError('Write exit codes from 0 to 255 with commas between: 0,3.');
  return codes;
}
