/** Runs the command of one hook to its end, and what it leaves behind to its own. Loaded when the first hook is run: execa is large. */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { type ChildReaper, readStat } from '../linux/index.ts';
import type { Hold } from './containment.ts';

export interface HookCommand {
  /** Absolute path of the program. */
  readonly file: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly stdin: string;
  readonly timeoutMs: number;
}

export interface HookEnd {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly timedOut: boolean;
  /** The end of it. */
  readonly stderr: string;
}

/** Of stderr the end is kept. */
const keptCharacters = 200;

/** How long what it wrote may take to arrive once all its processes are gone: a stranger may hold the other end. */
const lastWordsMs = 100;

/** @throws an error with `code` (`ENOENT`, `EACCES`, `E2BIG`, …) where the program cannot be executed */
export async function runHookCommand(command: HookCommand, hold: Hold, reaper: ChildReaper): Promise<HookEnd> {
  const [argv0 = command.file, ...args] = command.argv;
  const child = hold.launchInside(() =>
    execa(command.file, args, {
      argv0,
      cwd: command.cwd,
      env: command.env,
      extendEnv: false,
      detached: true,
      stdin: 'pipe',
      stdout: 'ignore',
      stderr: 'pipe',
      buffer: false,
      reject: false,
      // Its processes are ended through the hold, also those that execa does not know of.
      cleanup: false,
      forceKillAfterDelay: false,
    }),
  );
  const { pid } = child;
  if (pid === undefined) {
    const cause: unknown = (await child).cause;
    throw cause instanceof Error ? cause : new Error(`${command.file} could not be started`);
  }
  const reaped = reaper.leaveToLibuv(pid);
  const exited = new Promise<Pick<HookEnd, 'exitCode' | 'signal'>>((resolve) => {
    child.nodeChildProcess.once('exit', (exitCode, signal) => resolve({ exitCode, signal }));
  });
  hold.setLeader(pid, readStat(pid)?.startTicks ?? 0);
  let stderr = '';
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text: string) => {
    stderr = (stderr + text).slice(-keptCharacters);
  });
  const silent = once(child.stderr, 'close');
  child.stdin.on('error', () => {}); // A command that does not read its input is free not to.
  child.stdin.end(command.stdin);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    hold.killAll();
  }, command.timeoutMs);
  const { exitCode, signal } = await exited;
  clearTimeout(timer);
  reaped();
  await endStrays(hold);
  await Promise.race([silent, delay(lastWordsMs)]);
  child.stderr.destroy();
  return { exitCode, signal, timedOut, stderr: stderr.toWellFormed() };
}

/** A hook is a short command: what it leaves behind when it ends does not stay. */
async function endStrays(hold: Hold): Promise<void> {
  if (hold.countAlive() === 0) return;
  hold.killAll();
  await new Promise<void>((resolve) => hold.whenEmpty(resolve));
}
