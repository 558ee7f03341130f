/** Node's own spawn, through execa: the only importer of it. execa is large, so whoever loads this file does so when it is needed. */
import type { Readable, Writable } from 'node:stream';
import { execa } from 'execa';
import type { LeaderExit } from '../core/index.ts';
import type { ChildReaper } from '../linux/index.ts';
import type { LaunchSpec } from './launcher.ts';

export interface ExecaChild {
  readonly pid: number;
  readonly exited: Promise<LeaderExit>;
}

/** @throws as `start` */
export function startWithFiles(spec: LaunchSpec, inside: Inside, reaper: ChildReaper): Promise<ExecaChild> {
  const [stdin, stdout, stderr] = spec.stdio;
  return start(spec, [anyDescriptor(stdin), anyDescriptor(stdout), anyDescriptor(stderr)], inside, reaper);
}

/** What it says on stdout is not read. @throws as `start` */
export function startWithPipes(
  spec: Omit<LaunchSpec, 'stdio'>,
  inside: Inside,
  reaper: ChildReaper,
): Promise<ExecaChild & { readonly stdin: Writable; readonly stderr: Readable }> {
  return start(spec, ['pipe', 'ignore', 'pipe'], inside, reaper);
}

type Inside = <T>(spawn: () => T) => T;

/** execa takes every open descriptor, but its types name only the small ones. */
type Descriptor = 3;

type StdioChoice = readonly ['pipe' | Descriptor, 'ignore' | Descriptor, 'pipe' | Descriptor];

/**
 * Starts a program as the leader of a new session, within `inside`, and leaves its end to libuv. Nothing that execa could do on the
 * side is left to it: jobs and hooks are ended through their holds, which also know of processes that execa does not, and its
 * promise is not waited for, because a stranger that holds a pipe open would delay it.
 *
 * @throws an error with `code` (`ENOENT`, `EACCES`, `E2BIG`, …) where the program cannot be executed
 */
async function start<const Stdio extends StdioChoice>(
  { file, argv, env, cwd }: Omit<LaunchSpec, 'stdio'>,
  stdio: Stdio,
  inside: Inside,
  reaper: ChildReaper,
) {
  const [argv0 = file, ...args] = argv;
  const child = inside(() =>
    execa(file, args, {
      argv0,
      cwd,
      env,
      extendEnv: false,
      detached: true,
      stdio,
      buffer: false,
      reject: false,
      cleanup: false,
      forceKillAfterDelay: false,
    }),
  );
  const { pid, stdin, stderr } = child;
  if (pid === undefined) {
    const cause: unknown = (await child).cause;
    throw cause instanceof Error ? cause : new Error(`${file} could not be started`);
  }
  const reaped = reaper.leaveToLibuv(pid);
  const exited = new Promise<LeaderExit>((resolve) => {
    child.nodeChildProcess.once('exit', (code, signal) => {
      reaped();
      resolve({ code, signal });
    });
  });
  return { pid, stdin, stderr, exited };
}

function anyDescriptor(fd: number): Descriptor {
  return fd as Descriptor;
}
