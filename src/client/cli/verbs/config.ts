import path from 'node:path';
import type { Command } from 'commander';
import { CorralError, resolvePaths, type ShownConfig } from '../../../protocol/index.ts';
import { connect } from '../../index.ts';
import { readConfig } from '../../side-programs.ts';
import { printJson, printLine, printTable, say } from '../print.ts';
import { exitCodeFrom } from '../session.ts';

const answerMs = 5_000;

export function addConfig(program: Command): void {
  const config = program.command('config').description('show the configuration, check a file, say where it is');
  config
    .command('show')
    .description('show every key that is in force, and where it comes from')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample: corral config show')
    .action(async (flags: { json?: true }) => {
      process.exitCode = await exitCodeFrom(() => show(flags));
    });
  config
    .command('check')
    .description('say whether a daemon could use a configuration; exit with 78 if not, and name file and line')
    .argument('[file]', "the file (default: the daemon's)")
    .addHelpText('after', '\nExample: corral config check ./config.toml')
    .action(async (file: string | undefined) => {
      process.exitCode = await exitCodeFrom(() => check(file));
    });
  config
    .command('path')
    .description('print the path of the file that a daemon would read, whether or not it is there')
    .addHelpText('after', '\nExample: $EDITOR "$(corral config path)"')
    .action(async () => {
      process.exitCode = await exitCodeFrom(async () => {
        printLine(configFile());
        return 0;
      });
    });
}

async function show(flags: { json?: true }): Promise<number> {
  const { source, config, error } = await inForce();
  if (flags.json) {
    printJson({ source, ...config, error });
    return 0;
  }
  if (error !== null) say(`the daemon has not taken over what is in the file now: ${error}`);
  say(
    source === 'daemon'
      ? `in force in the daemon, from ${config.path ?? 'no file'}`
      : `no daemon answers; this is what one that starts now would have, from ${config.path ?? 'no file'}`,
  );
  printTable(
    ['KEY', 'VALUE', 'FROM'],
    config.keys.map(({ key, value, from }) => [key, String(value), from]),
  );
  return 0;
}

/** What a daemon has, where one answers; else what is in the file. */
async function inForce(): Promise<{ source: 'daemon' | 'file'; config: ShownConfig; error: string | null }> {
  try {
    await using client = await connect({ autoStart: false, reconnectMs: 0, timeoutMs: answerMs });
    const { error, ...config } = await client.config();
    return { source: 'daemon', config, error };
  } catch (error) {
    if (!(error instanceof CorralError && error.code === 'DAEMON_UNREACHABLE')) throw error;
    return { source: 'file', config: await readConfig(), error: null };
  }
}

async function check(file: string | undefined): Promise<number> {
  const config = await readConfig(file === undefined ? undefined : path.resolve(file));
  say(config.path === null ? `there is no ${configFile()}; the defaults hold` : `${config.path} can be used`);
  return 0;
}

function configFile(): string {
  return resolvePaths(process.env, process.getuid?.() ?? 0).configFile;
}
