import path from 'node:path';
import type { Command } from 'commander';
import { CorralError, type CorralPaths, type MethodResult, resolvePaths } from '../../../protocol/index.ts';
import { compileCache, daemonProgram, nodeFlags, startDaemon } from '../../daemon-process.ts';
import type { Client } from '../../index.ts';
import { backUpStore } from '../../side-programs.ts';
import { printJson, printLine, say } from '../print.ts';
import { exitCodeFrom, withClient } from '../session.ts';

/** These verbs are about the daemon itself, so none of them starts one on the side, and a missing one is an answer. */
const existing = { autoStart: false, reconnectMs: 0 };

export function addDaemon(program: Command): void {
  const daemon = program.command('daemon').description('start, stop and look at the daemon');
  daemon
    .command('run')
    .description('run the daemon in the foreground, as a service manager does')
    .addHelpText('after', '\nExample: corral daemon run')
    .action(() => {
      const env = { ...(process.env as Record<string, string>), ...compileCache(process.env) };
      // The daemon takes this process over, so a service manager sees one pid and signals it directly.
      process.execve?.(process.execPath, [process.execPath, ...nodeFlags, daemonProgram], env);
    });
  daemon
    .command('start')
    .description('start the daemon in the background')
    .addHelpText('after', '\nExample: corral daemon start')
    .action(async () => {
      process.exitCode = await exitCodeFrom(start);
    });
  daemon
    .command('stop')
    .description('end all jobs gracefully and stop the daemon; queued jobs stay queued')
    .addHelpText('after', '\nExample: corral daemon stop')
    .action(
      withClient(async (client: Client) => {
        const { pid } = await client.stopDaemon();
        say(`the daemon (pid ${pid}) has stopped`);
        return 0;
      }, existing),
    );
  daemon
    .command('reload')
    .description('have the daemon read its configuration again, without touching jobs')
    .addHelpText('after', '\nExample: corral daemon reload')
    .action(
      withClient(async (client: Client) => {
        const { path, error, atNextStart } = await client.reload();
        if (error !== null) throw new CorralError('CONFIG_INVALID', `${error} The last good one stays in force.`);
        if (atNextStart.length > 0) say(takesRestart(atNextStart));
        say(
          path === null
            ? 'there is no configuration file; the defaults are in force'
            : `${path} is in force${atNextStart.length > 0 ? ' but for that' : ''}`,
        );
        return 0;
      }, existing),
    );
  daemon
    .command('backup')
    .description('copy the store, as it is now, to a new file; the daemon goes on meanwhile, or need not run')
    .argument('<file>', 'the file to make')
    .addHelpText('after', '\nExample: corral daemon backup /backup/corral.db')
    .action(async (file: string) => {
      process.exitCode = await exitCodeFrom(async () => {
        await backUpStore(path.resolve(file));
        say(`the store was copied to ${file}`);
        return 0;
      });
    });
  daemon
    .command('status')
    .description('show the daemon: where it is, how it holds processes, what it has')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample: corral daemon status --json')
    .action(
      withClient(async (client: Client, flags: { json?: true }) => {
        const status = await client.status();
        if (flags.json) printJson(status);
        else printStatus(status);
        return 0;
      }, existing),
    );
}

async function start(): Promise<number> {
  const paths = ownPaths();
  const pid = await startDaemon(paths, process.env, say);
  if (pid === null)
    throw new CorralError(
      'DAEMON_RUNNING',
      `A daemon already serves ${paths.stateDir}. Look at it: corral daemon status`,
    );
  say(`the daemon is ready (pid ${pid}, socket ${paths.socket})`);
  return 0;
}

function ownPaths(): CorralPaths {
  return resolvePaths(process.env, process.getuid?.() ?? 0);
}

function takesRestart(keys: readonly string[]): string {
  return `${keys.join(' and ')} changed, which the daemon looks at only when it starts: it goes on as before until a restart`;
}

function printStatus(status: MethodResult<'daemon.status'>): void {
  const { containment } = status;
  const jobs = Object.entries(status.jobs)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${count} ${name}`);
  const lines: [string, string][] = [
    ['daemon', `corral ${status.version}, pid ${status.pid}, since ${status.startedAt}`],
    ['guardian', status.guardianPid === null ? 'none' : `pid ${status.guardianPid}`],
    ['socket', status.socket],
    ['state', status.stateDir],
    ['containment', `${containment.tier}: ${containment.reason}`],
    ['', containment.guarantee],
    ...containment.holes.map((hole): [string, string] => ['hole', hole]),
    ['config', `${status.config.path ?? 'defaults'}, read ${status.config.loadedAt}`],
    ...(status.config.error === null ? [] : [['config error', status.config.error] satisfies [string, string]]),
    ...(status.config.atNextStart.length === 0
      ? []
      : [['', takesRestart(status.config.atNextStart)] satisfies [string, string]]),
    ['jobs', jobs.length === 0 ? 'none' : jobs.join(', ')],
  ];
  for (const [label, value] of lines) printLine(`${label.padEnd(12)} ${value}`);
}
