import fs from 'node:fs';
import path from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  type Cause,
  CorralError,
  type HookMoment,
  type HookSpec,
  hookMoments,
  type IdleSignal,
  idleSignals,
  noScope,
  parseDuration,
  parseSize,
  pathFromText,
  type RetryPolicy,
  retryableCauses,
  scopeVariable,
  showBytes,
} from '../../protocol/index.ts';
import { callerEnvironment, callerFolder } from '../caller.ts';
import type { JobRequest } from '../index.ts';
import { asJobIdList } from './job-ids.ts';
import { asTime } from './times.ts';

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
  readonly notify?: HookSpec[];
  readonly notifyTimeout?: number | 'off';
  readonly scope?: string;
  readonly idempotencyKey?: string;
  readonly delay?: number | 'off';
  readonly at?: Date;
  readonly startDeadline?: number | 'off';
  readonly after?: number[];
  readonly afterAny?: number[];
  readonly profile?: string;
  readonly lease?: number | 'off';
  readonly ttl?: number | 'off';
  readonly outputLimit?: number | 'off';
  readonly onOutputLimit?: 'truncate' | 'kill';
  readonly idle?: 'off' | 'on';
  readonly idleCpu?: number;
  readonly idleChecks?: number;
  readonly idleInterval?: number | 'off';
  readonly idleSignals?: IdleSignal[];
  readonly idleDryRun?: boolean;
  readonly retries?: number | 'unlimited';
  readonly retryDelay?: number | 'off';
  readonly retryMaxDelay?: number | 'off';
  readonly retryJitter?: number;
  readonly retryBreaker?: Breaker | 'off';
  readonly retryOn?: Cause[];
  readonly retryExitCodes?: number[];
  readonly memory?: number | 'off';
  readonly cpus?: number;
  readonly pidsLimit?: number;
  readonly nice?: number;
  readonly limits?: 'strict' | 'best-effort';
}

type Breaker = Pick<RetryPolicy, 'breakerFailures' | 'breakerWindowMs'>;

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
    .option('--success-codes <codes>', 'exit codes that count as success, such as 0,3 (default: 0)', asExitCodes)
    .option('--scope <scope>', 'the scope that it ends with, or none (default: $CORRAL_SCOPE, as corral scope sets it)')
    .option('--idempotency-key <key>', 'submitting again with the same key gives the same job')
    .optionsGroup(policies)
    .option('--profile <profile>', 'the set of policies that it starts from (default: default)')
    .option(
      '--max-runtime <duration>',
      "end it after this long, such as 90s or 30m; 0 or off for no limit (default: the profile's)",
      asDuration,
    )
    .option(
      '--kill-grace <duration>',
      "time between SIGTERM and SIGKILL; 0 or off for SIGKILL at once (default: the profile's)",
      asDuration,
    )
    .option('--lease <duration>', 'end it this long after the last client went away; off: it needs none', asDuration)
    .option('--ttl <duration>', 'delete its record and output this long after its end; off: keep them', asDuration)
    .option('--output-limit <size>', 'most output of an attempt, such as 64MiB; off: no limit of its own', asSize)
    .addOption(
      new Option('--on-output-limit <what>', 'drop the oldest output, or end the job').choices(['truncate', 'kill']),
    )
    .addOption(
      new Option('--on-supervisor-lost <what>', 'if the daemon dies while it runs (default: fail)').choices(
        lostPolicies,
      ),
    )
    .optionsGroup(idle)
    .addOption(new Option('--idle <what>', 'whether an idle job is ended').choices(['off', 'on']))
    .option('--idle-cpu <millicores>', 'CPU use at or below which a check is quiet', asAmount)
    .option('--idle-checks <number>', 'so many quiet checks in a row end it', asCount)
    .option('--idle-interval <duration>', 'time between two checks', asDuration)
    .option(
      '--idle-signals <signals>',
      `what must be quiet, such as cpu,output (of ${idleSignals.join(', ')})`,
      asSignals,
    )
    .option('--idle-dry-run', 'only say that it would have been ended')
    .option('--no-idle-dry-run', 'end it, also where its profile only says so')
    .optionsGroup(retry)
    .option('--retries <number>', 'run it again so often if it fails; or unlimited', asRetries)
    .option('--retry-delay <duration>', 'pause before the first retry; it doubles with each', asDuration)
    .option('--retry-max-delay <duration>', 'longest pause', asDuration)
    .option('--retry-jitter <share>', 'share of the pause that is left to chance, from 0 to 1', asAmount)
    .option(
      '--retry-breaker <failures/duration>',
      'give it up when it fails so often within so long, such as 10/5m; or off',
      asBreaker,
    )
    .option('--retry-on <causes>', `only after these, such as exit,oom (of ${retryableCauses.join(', ')})`, asCauses)
    .option('--retry-exit-codes <codes>', 'only after these exit codes, such as 75,111', asExitCodes)
    .optionsGroup(start)
    .option('--delay <duration>', 'start it no sooner than this long from now', asDuration)
    .option(
      '--at <time>',
      'start it no sooner than at this time, such as 18:30 or 2027-01-31T06:00, of this zone',
      asTime,
    )
    .option(
      '--start-deadline <duration>',
      "fail it if it could have started and has not this long after (default: the daemon's, off unless configured)",
      asDuration,
    )
    .option('--after <ids>', 'start it when these jobs are completed, such as 7 or 3..9,12; repeatable', asJobIdList)
    .option('--after-any <ids>', 'start it when these jobs have ended, however; repeatable', asJobIdList)
    .optionsGroup(limits)
    .option('--memory <size>', 'most memory, such as 512MiB', asSize)
    .option('--cpus <number>', 'most CPU time per time, such as 1.5 for one core and a half', asAmount)
    .option('--pids-limit <number>', 'most processes and threads at once', asCount)
    .option('--nice <number>', 'scheduling priority, from 19 (last) to -20 (first)', asInteger)
    .addOption(
      new Option(
        '--limits <how>',
        'what to do about a limit that this host cannot enforce: refuse the job, or take it with a warning (default: strict)',
      ).choices(['strict', 'best-effort']),
    )
    .optionsGroup(notifications)
    .option(
      '--notify <when: line>',
      `after these (${hookMoments.join(', ')}) run a line of shell that reads the job's JSON; repeatable`,
      asHook,
    )
    .option('--notify-timeout <duration>', 'kill a command of --notify that runs this long (default: 30s)', asDuration)
    .optionsGroup('Options:');
}

/** Headings of --help. */
const policies = 'What ends it, and how long it is kept:';
const idle = 'When it counts as idle:';
const retry = 'When it is run again:';
const limits = 'What it may use:';
const start = 'When it starts:';
const notifications = 'Who is told of it:';

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
    env: { ...environmentFor(flags.scope), ...flags.env },
    stdin: flags.stdin === undefined ? undefined : readableFile(flags.stdin),
    splitOutput: flags.splitOutput,
    successCodes: flags.successCodes,
    hooks: hooks(flags),
    scope: flags.scope,
    idempotencyKey: flags.idempotencyKey,
    ...startSettings(flags),
    profile: flags.profile,
    maxRuntimeMs: orNull(flags.maxRuntime),
    killGraceMs: orNull(flags.killGrace),
    leaseMs: orNull(flags.lease),
    ttlMs: orNull(flags.ttl),
    outputLimitBytes: orNull(flags.outputLimit),
    onOutputLimit: flags.onOutputLimit,
    onSupervisorLost: flags.onSupervisorLost,
    idle: idleSettings(flags),
    retry: nonEmpty({
      limit: flags.retries === 'unlimited' ? null : flags.retries,
      delayMs: amount('--retry-delay', flags.retryDelay),
      maxDelayMs: amount('--retry-max-delay', flags.retryMaxDelay),
      jitter: flags.retryJitter,
      ...(flags.retryBreaker === 'off' ? { breakerFailures: null } : flags.retryBreaker),
      causes: flags.retryOn,
      exitCodes: flags.retryExitCodes,
    }),
    resources: nonEmpty({
      memoryBytes: flags.memory === 'off' ? undefined : flags.memory,
      cpus: flags.cpus,
      pids: flags.pidsLimit,
      nice: flags.nice,
      enforce: flags.limits,
    }),
  };
  return given(settings);
}

function hooks({ notify, notifyTimeout }: JobFlags): HookSpec[] | undefined {
  const timeoutMs = amount('--notify-timeout', notifyTimeout);
  if (timeoutMs === undefined) return notify;
  if (notify === undefined)
    throw new CorralError('INVALID_PARAMS', '--notify-timeout is for the commands of --notify; name one.');
  return notify.map((hook) => ({ ...hook, timeoutMs }));
}

function idleSettings(flags: JobFlags): JobRequest['idle'] {
  const parts = nonEmpty({
    cpuMillicores: flags.idleCpu,
    checks: flags.idleChecks,
    intervalMs: amount('--idle-interval', flags.idleInterval),
    signals: flags.idleSignals,
    dryRun: flags.idleDryRun,
  });
  if (flags.idle !== 'off') return flags.idle === 'on' ? (parts ?? {}) : parts;
  if (parts !== undefined)
    throw new CorralError('INVALID_PARAMS', '--idle off leaves nothing for the other options of idle to say.');
  return null;
}

function orNull<T>(value: T | 'off' | undefined): T | null | undefined {
  return value === 'off' ? null : value;
}

/** A duration that cannot be turned off. */
function amount(option: string, value: number | 'off' | undefined): number | undefined {
  if (value === 'off') throw new CorralError('INVALID_PARAMS', `${option} needs a duration, such as 500ms.`);
  return value;
}

function given<T extends object>(settings: T) {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

function nonEmpty<T extends object>(settings: T): T | undefined {
  const named = given(settings);
  return Object.keys(named).length === 0 ? undefined : (named as T);
}

/** From when on the job may start, and by when it must have. */
function startSettings({ delay, at, startDeadline, after, afterAny }: JobFlags) {
  if (delay !== undefined && at !== undefined)
    throw new CorralError(
      'INVALID_PARAMS',
      'Name one of --delay and --at: a job has one time before which it does not start.',
    );
  if (after !== undefined && afterAny !== undefined)
    throw new CorralError(
      'INVALID_PARAMS',
      'Name one of --after and --after-any: it holds for all the jobs that are waited for.',
    );
  return {
    delayMs: delay === 'off' ? undefined : delay,
    startAt: at?.toISOString(),
    startDeadlineMs: startDeadline === 'off' ? null : startDeadline,
    after: after ?? afterAny,
    afterMode: afterAny === undefined ? undefined : ('any' as const),
  };
}

/** What a job outside of all scopes submits is outside as well. */
function environmentFor(scope: string | undefined): Record<string, string> {
  const env = callerEnvironment(process.env);
  if (scope === noScope) delete env[scopeVariable];
  return env;
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

/** Where `off` and 0 would mean the same as to leave the option out: jobs of any age, or a single heartbeat. */
export function asPositiveDuration(text: string): number {
  const ms = asDuration(text);
  if (ms === 'off') throw new InvalidArgumentError('Write a time like 500ms, 20s, 30m, 24h or 60d.');
  return ms;
}

function asSize(text: string): number | 'off' {
  try {
    return parseSize(text) ?? 'off';
  } catch (error) {
    if (error instanceof RangeError) throw new InvalidArgumentError(error.message);
    throw error;
  }
}

function asAmount(text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) throw new InvalidArgumentError('It must be a number, such as 4 or 0.5.');
  return Number(text);
}

function asRetries(text: string): number | 'unlimited' {
  return text === 'unlimited' ? text : asCount(text);
}

/** `10/5m` */
function asBreaker(text: string): Breaker | 'off' {
  if (text === 'off') return text;
  const [, failures, window = ''] = /^(\d+)\/(.+)$/.exec(text) ?? [];
  const breakerWindowMs = failures === undefined ? 'off' : asDuration(window);
  if (breakerWindowMs === 'off') throw new InvalidArgumentError('Write failures and a time, such as 10/5m, or off.');
  return { breakerFailures: Number(failures), breakerWindowMs };
}

const asSignals = (text: string) => asListOf(idleSignals, text);
const asCauses = (text: string) => asListOf(retryableCauses, text);

function asListOf<T extends string>(all: readonly T[], text: string): T[] {
  return text.split(',').map((word) => {
    const known = all.find((one) => one === word);
    if (known === undefined) throw new InvalidArgumentError(`Write some of ${all.join(', ')}, with commas between.`);
    return known;
  });
}

function asVariable(text: string, earlier: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Write it NAME=value.');
  return { ...earlier, [text.slice(0, at)]: text.slice(at + 1) };
}

/** `failed,cancelled: line of shell` */
function asHook(text: string, earlier: HookSpec[] = []): HookSpec[] {
  const at = text.indexOf(':');
  const line = text.slice(at + 1).trim();
  if (at < 1 || line === '')
    throw new InvalidArgumentError("Write when and what, such as 'failed,cancelled: mail -s failed me'.");
  const on = text
    .slice(0, at)
    .split(',')
    .map((word): HookMoment => {
      const moment = hookMoments.find((candidate) => candidate === word.trim());
      if (moment === undefined)
        throw new InvalidArgumentError(`There is no "${word.trim()}". Known: ${hookMoments.join(', ')}.`);
      return moment;
    });
  return [...earlier, { on, command: ['/bin/sh', '-c', line] }];
}

function asExitCodes(text: string): number[] {
  const codes = text.split(',').map(Number);
  if (!codes.every((code) => Number.isInteger(code) && code >= 0 && code <= 255))
    throw new InvalidArgumentError('Write exit codes from 0 to 255 with commas between: 0,3.');
  return codes;
}
