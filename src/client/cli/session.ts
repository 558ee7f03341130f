import { CorralError } from '../../protocol/index.ts';
import { type Client, type ConnectOptions, connect } from '../index.ts';
import { exitCodes } from './exit-code.ts';
import { say, sayError } from './print.ts';

export interface VerbOptions extends ConnectOptions {
  /** `run` and `wait` pass on the code of a job: an absent daemon must not look like a job that exited with 3. */
  readonly noDaemonCode?: number;
}

/** Runs a verb with a connection and makes what it returns, or throws, the exit code. */
export function withClient<A extends unknown[]>(
  verb: (client: Client, ...args: A) => Promise<number>,
  options: VerbOptions = {},
) {
  return async (...args: A): Promise<void> => {
    process.exitCode = await exitCodeFrom(async () => {
      await using client = await connect({ onNotice: say, ...options });
      return await verb(client, ...args);
    }, options.noDaemonCode);
  };
}

/** Errors of ours become a line and a code; anything else is a defect, and shows as one. */
export async function exitCodeFrom(
  work: () => Promise<number>,
  noDaemonCode: number = exitCodes.notRunning,
): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof CorralError)) throw error;
    const code = sayError(error);
    return code === exitCodes.notRunning ? noDaemonCode : code;
  }
}
