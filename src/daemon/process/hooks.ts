/**
 * Runs hooks: commands that are told what has become of a job. They are held like attempts, so they outlive neither their time nor
 * the daemon. Few run at once, few wait, and none is run twice: what waits when the daemon dies is lost.
 */
import type { JobView } from '../../protocol/index.ts';
import {
  attemptsBegun,
  describeHookFailure,
  type HookCall,
  type HookFacts,
  type HookFailure,
  type Job,
} from '../core/index.ts';
import type { ChildReaper } from '../linux/index.ts';
import type { Containment, Hold } from './containment.ts';
import type { HookEnd } from './hook-command.ts';
import { checkFolder, describeSpawnFailure, findProgram, SpawnError } from './program.ts';

const maxRunning = 8;
const maxWaiting = 1_000;
const usualTimeoutMs = 30_000;

/** Failures are remembered for so long. */
const rememberedMs = 3_600_000;
/** And so many of them: beyond that, the number says nothing more. */
const maxRemembered = 10_000;

/** What a service manager tells the daemon alone. systemd.exec(5) */
const daemonsOwn = /^(NOTIFY_SOCKET|WATCHDOG_|LISTEN_|INVOCATION_ID$|JOURNAL_STREAM$|MAINPID$)/;

export interface HooksOptions {
  readonly containment: Containment;
  readonly reaper: ChildReaper;
  readonly socket: string;
  /** The daemon's environment, which hooks of the configuration get. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What a hook reads of its job. */
  readonly viewOf: (job: Job) => JobView;
  readonly onFailure: (job: Job, failure: HookFailure) => void;
}

export class Hooks {
  readonly #options: HooksOptions;
  readonly #env: Readonly<Record<string, string>>;
  readonly #waiting: HookCall[] = [];
  readonly #running = new Set<Hold>();
  readonly #failuresMonoMs: number[] = [];
  #lastFailure: string | null = null;
  #started = 0;
  #startIsPlanned = false;
  #onIdle: (() => void) | null = null;

  constructor(options: HooksOptions) {
    this.#options = options;
    const env = Object.entries(options.env).filter((pair): pair is [string, string] => pair[1] !== undefined);
    this.#env = Object.fromEntries(env.filter(([name]) => !daemonsOwn.test(name)));
  }

  /** Queues hooks. Returns how many found no place, and are not run. */
  run(calls: readonly HookCall[]): number {
    const taken = calls.slice(0, Math.max(0, maxWaiting - this.#waiting.length));
    const dropped = calls.slice(taken.length);
    this.#waiting.push(...taken);
    for (const { job, moment, hook } of dropped) {
      const reason = `was not run: ${maxWaiting} others waited`;
      this.#remember(job, { moment, command: hook.command, reason, exitCode: null, signal: null, stderr: '' });
    }
    this.#planStart();
    return dropped.length;
  }

  facts(): HookFacts {
    this.#forget();
    const failures = this.#failuresMonoMs.length;
    return { failures, lastFailure: failures === 0 ? null : this.#lastFailure };
  }

  /**
   * Lets what waits and runs come to its end, for a daemon that stops, and ends it when the time is over.
   *
   * @returns how many were not run
   */
  async finish(patienceMs: number): Promise<number> {
    if (this.#isIdle()) return 0;
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    let notRun = 0;
    const timer = setTimeout(() => {
      notRun = this.#waiting.splice(0).length;
      for (const hold of this.#running) hold.killAll();
      this.#checkIdle();
    }, patienceMs);
    await idle;
    clearTimeout(timer);
    return notRun;
  }

  /** One start a turn of the event loop: with a large heap each takes milliseconds. */
  #planStart(): void {
    if (this.#startIsPlanned || this.#waiting.length === 0 || this.#running.size >= maxRunning) return;
    this.#startIsPlanned = true;
    setImmediate(() => {
      this.#startIsPlanned = false;
      const call = this.#running.size < maxRunning ? this.#waiting.shift() : undefined;
      if (call !== undefined) void this.#carryOut(call);
      this.#planStart();
    });
  }

  async #carryOut(call: HookCall): Promise<void> {
    const { job, moment, hook } = call;
    this.#started += 1;
    const name = `hook.${this.#started}`;
    let hold: Hold | null = null;
    try {
      hold = this.#options.containment.open(name, null);
      this.#running.add(hold);
      const end = await this.#command(call, hold);
      if (end.exitCode !== 0) {
        const { exitCode, signal, stderr } = end;
        const reason = whatHappened(end, hook.timeoutMs ?? usualTimeoutMs);
        this.#remember(job, { moment, command: hook.command, reason, exitCode, signal, stderr });
      }
    } catch (error) {
      const { command } = hook;
      const failure =
        error instanceof SpawnError
          ? error
          : describeSpawnFailure({ file: command[0] ?? '', argv: command, env: {} }, error);
      const reason = `could not be started: ${failure.message}`;
      this.#remember(job, { moment, command, reason, exitCode: failure.exit.code, signal: null, stderr: '' });
    } finally {
      hold?.release();
      if (hold !== null) this.#running.delete(hold);
      this.#planStart();
      this.#checkIdle();
    }
  }

  async #command({ job, moment, hook, from }: HookCall, hold: Hold): Promise<HookEnd> {
    const { reaper, socket, viewOf } = this.#options;
    const { definition } = job;
    const cwd = from === 'job' ? definition.cwd : '/';
    const env = {
      ...(from === 'job' ? definition.env : this.#env),
      CORRAL_HOOK: moment,
      CORRAL_JOB_ID: String(job.id),
      CORRAL_ATTEMPT: String(attemptsBegun(job)),
      CORRAL_SOCKET: socket,
      ...hold.env,
    };
    checkFolder(cwd);
    const command = {
      file: findProgram(hook.command[0] ?? '', env, cwd),
      argv: hook.command,
      env: onlyText(env),
      cwd,
      stdin: `${JSON.stringify(viewOf(job))}\n`,
      timeoutMs: hook.timeoutMs ?? usualTimeoutMs,
    };
    if (![cwd, ...hook.command].every((text) => text.isWellFormed()))
      throw new SpawnError('its command or folder holds bytes that are not UTF-8', 126);
    const { runHookCommand } = await import('./hook-command.ts');
    return runHookCommand(command, hold, reaper);
  }

  #remember(job: Job, failure: HookFailure): void {
    this.#failuresMonoMs.push(performance.now());
    this.#lastFailure = `job ${job.id}: ${describeHookFailure(failure)}`;
    this.#forget();
    this.#options.onFailure(job, failure);
  }

  #forget(): void {
    const sinceMs = performance.now() - rememberedMs;
    const fresh = this.#failuresMonoMs.findIndex((atMs) => atMs >= sinceMs);
    this.#failuresMonoMs.splice(0, fresh === -1 ? this.#failuresMonoMs.length : fresh);
    if (this.#failuresMonoMs.length > maxRemembered) this.#failuresMonoMs.shift();
  }

  #isIdle(): boolean {
    return this.#waiting.length === 0 && this.#running.size === 0;
  }

  #checkIdle(): void {
    if (!this.#isIdle()) return;
    this.#onIdle?.();
    this.#onIdle = null;
  }
}

function whatHappened({ exitCode, signal, timedOut }: HookEnd, timeoutMs: number): string {
  if (timedOut) return `was killed: it had run for its limit of ${timeoutMs} ms`;
  return signal === null ? `ended with exit code ${exitCode}` : `was ended by ${signal}`;
}

/** Node's spawn takes text only; a variable that holds other bytes is left out. */
function onlyText(env: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((pair) => pair.every((text) => text.isWellFormed())));
}
