/** Runs the command of one hook to its end, and what it leaves behind to its own. Loaded when the first hook is run: it brings execa. */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { type ChildReaper, readStat } from '../linux/index.ts';
import type { Hold } from './containment.ts';
import { startWithPipes } from './execa-child.ts';

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
  const { pid, stdin, stderr, exited } = await startWithPipes(command, (spawn) => hold.launchInside(spawn), reaper);
  hold.setLeader(pid, readStat(pid)?.startTicks ?? 0);
  let lastWords = '';
  stderr.setEncoding('utf8');
  stderr.on('data', (text: string) => {
    lastWords = (lastWords + text).slice(-keptCharacters);
  });
  const silent = once(stderr, 'close');
  stdin.on('error', () => {}); // A command that does not read its input is free not to.
  stdin.end(command.stdin);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    hold.killAll();
  }, command.timeoutMs);
  const { code: exitCode, signal } = await exited;
  clearTimeout(timer);
  await endStrays(hold);
  await Promise.race([silent, delay(lastWordsMs)]);
  stderr.destroy();
  return { exitCode, signal, timedOut, stderr: lastWords.toWellFormed() };
}

/** A hook is a short command: what it leaves behind when it ends does not stay. */
async function endStrays(hold: Hold): Promise<void> {
  if (hold.countAlive() === 0) return;
  hold.killAll();
  await new Promise<void>((resolve) => hold.whenEmpty(resolve));
}
