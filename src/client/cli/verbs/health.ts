import type { Command } from 'commander';
import {
  CorralError,
  formatDuration,
  formatSize,
  type Health,
  type HealthChecks,
  healthReason,
} from '../../../protocol/index.ts';
import { connect } from '../../index.ts';
import { exitCodes } from '../exit-code.ts';
import { colour, oneLine, printJson, printLine } from '../print.ts';
import { exitCodeFrom } from '../session.ts';

const levelColours = { ok: 'green', degraded: 'yellow', failed: 'red' } as const;

/** A daemon that does not answer at once is not well. */
const answerMs = 5_000;

export function addHealth(program: Command): void {
  program
    .command('health')
    .description('say how the daemon is: ok, degraded or failed, with the reasons; exit with 0, 1 or 2')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample: corral health || corral doctor')
    .action(async (flags: { json?: true }) => {
      process.exitCode = await exitCodeFrom(() => health(flags));
    });
}

async function health(flags: { json?: true }): Promise<number> {
  const report = await ask();
  if (flags.json) printJson(report);
  else print(report);
  return exitCodes.health[report.status];
}

/** A daemon that cannot be asked is an answer too. */
async function ask(): Promise<Health | Pick<Health, 'status' | 'reasons'>> {
  try {
    await using client = await connect({ autoStart: false, reconnectMs: 0, timeoutMs: answerMs });
    return await client.health();
  } catch (error) {
    if (!(error instanceof CorralError)) throw error;
    const code = error.code === 'CALL_TIMEOUT' ? 'DAEMON_SILENT' : 'DAEMON_UNREACHABLE';
    return { status: 'failed', reasons: [healthReason(code, error.message)] };
  }
}

function print(report: Health | Pick<Health, 'status' | 'reasons'>): void {
  printLine(colour(report.status, levelColours[report.status]));
  for (const { code, level, message, todo } of report.reasons) {
    printLine(`${colour(level, levelColours[level])} ${code}: ${oneLine(message)}`);
    printLine(`  ${todo}`);
  }
  if (!('checks' in report)) return;
  for (const [name, figures] of table(report.checks)) printLine(`${name.padEnd(8)} ${figures}`);
}

/** What a person looks at first; --json has everything. */
function table(checks: HealthChecks): [name: string, figures: string][] {
  const { queued, active, slots, oldestQueued, longestRunning, storeLatencyMs, outputLimitBytes, diskMinFreeBytes } =
    checks;
  const job = (what: string, since: HealthChecks['oldestQueued']) =>
    since === null ? [] : [`${what} job ${since.jobId}, for ${formatDuration(since.sinceMs)}`];
  const oldest = [...job('queued', oldestQueued), ...job('running', longestRunning)];
  const free = checks.diskFreeBytes === null ? 'not known' : formatSize(checks.diskFreeBytes);
  const minFree = diskMinFreeBytes === null ? '' : ` (at least ${formatSize(diskMinFreeBytes)})`;
  const outputLimit = outputLimitBytes === null ? '' : ` of ${formatSize(outputLimitBytes)}`;
  const lastCommit = storeLatencyMs.last === null ? '' : `, the last one ${formatDuration(storeLatencyMs.last)}`;
  return [
    ['jobs', `${queued} queued, ${active} active, ${slots} slots`],
    ['pace', `${checks.startsPerMinute} started and ${checks.endsPerMinute} ended within the last minute`],
    ['oldest', oldest.length === 0 ? 'none' : oldest.join('; ')],
    ['store', `longest commit within the last minute ${formatDuration(storeLatencyMs.max)}${lastCommit}`],
    ['disk', `${free} free${minFree}; output of jobs ${formatSize(checks.outputBytes)}${outputLimit}`],
    [
      'daemon',
      `descriptors ${checks.openFds} of ${checks.maxFds ?? 'any number'}, longest lag ${formatDuration(checks.loopLagMs)}, guardian ${checks.guardianPid ?? 'none'}`,
    ],
  ];
}
