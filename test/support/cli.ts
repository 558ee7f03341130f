import { type ChildProcess, spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CorralError, connect } from '../../src/client/index.ts';
import { resolvePaths } from '../../src/protocol/index.ts';
import { DaemonUnderTest } from './daemon.ts';

export const corral = fileURLToPath(new URL('../../bin/corral', import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line as a user has it, with a state directory of its own. The first verb that needs a daemon starts one. */
export class CommandLine {
  readonly daemon: DaemonUnderTest;

  constructor(t: TestContext, env: Record<string, string> = {}) {
    // Hooks run in the order in which they were added: the daemon is stopped before its folder goes.
    t.after(() => this.#stop());
    this.daemon = new DaemonUnderTest(t, { env });
  }

  /** As `corral daemon stop` does, without a program of its own, which would be a tenth of what all of these tests take. */
  async #stop(): Promise<void> {
    const { env } = this.daemon;
    try {
      await using client = await connect({ socket: resolvePaths(env, process.getuid?.() ?? 0).socket, env });
      await client.stopDaemon();
    } catch (error) {
      if (!(error instanceof CorralError)) throw error; // There is none, or the test has brought it down.
    }
  }

  async run(
    args: readonly string[],
    options: { input?: string; env?: Record<string, string>; cwd?: string } = {},
  ): Promise<Outcome> {
    const child = this.spawn(args, options);
    child.stdin?.end(options.input ?? '');
    return outcomeOf(child);
  }

  spawn(args: readonly string[], options: { env?: Record<string, string>; cwd?: string } = {}): ChildProcess {
    return spawn(corral, args, {
      env: { ...this.daemon.env, ...options.env },
      cwd: options.cwd ?? this.daemon.dir,
      stdio: 'pipe',
    });
  }
}

export function outcomeOf(child: ChildProcess): Promise<Outcome> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}
