import type { Command } from 'commander';
import {
  CorralError,
  type Diagnosis,
  type Finding,
  findingLevels,
  healthReasons,
  limitFacts,
  version,
} from '../../../protocol/index.ts';
import { connect } from '../../index.ts';
import { findServiceManager, lingeringNotice } from '../../service-manager.ts';
import { diagnose } from '../../side-programs.ts';
import { exitCodes } from '../exit-code.ts';
import { colour, oneLine, printJson, printLine } from '../print.ts';
import { exitCodeFrom } from '../session.ts';

const levelColours = { note: 'dim', warning: 'yellow', problem: 'red' } as const;

const answerMs = 5_000;

interface Flags {
  readonly deep?: true;
  readonly json?: true;
}

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('look at the host, the paths, the store and the daemon, and say what to do; exit with 0, 1 or 2')
    .option('--deep', 'check every page, index and reference of the store, too; takes time with a large one')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample: corral doctor --deep')
    .action(async (flags: Flags) => {
      process.exitCode = await exitCodeFrom(() => doctor(flags));
    });
}

async function doctor(flags: Flags): Promise<number> {
  const daemon = await askDaemon();
  const own = await diagnose([...(flags.deep ? ['--deep'] : []), ...tierArguments(daemon.facts.containment)]);
  const diagnosis: Diagnosis = {
    facts: { ...own.facts, ...daemon.facts },
    findings: eachOnce([...own.findings, ...daemon.findings, ...lingering()]).sort((a, b) => rank(b) - rank(a)),
  };
  if (flags.json) printJson(diagnosis);
  else print(diagnosis);
  const worst = Math.max(0, ...diagnosis.findings.map(rank));
  return worst === 2 ? exitCodes.health.failed : worst === 1 ? exitCodes.health.degraded : exitCodes.health.ok;
}

/** What several of us stumble over, such as an unset HOME, is one finding. */
function eachOnce(findings: readonly Finding[]): Finding[] {
  return [...new Map(findings.toReversed().map((finding) => [finding.message, finding])).values()].reverse();
}

/** The daemon's reason says so where somebody asked for its tier. */
function tierArguments(containment: Diagnosis['facts'][string] | undefined): string[] {
  if (containment === undefined) return [];
  const { tier, reason = '' } = containment;
  return ['--tier-known', ...(tier === 'scan' && !reason.endsWith('asks for it') ? [`--scan-because=${reason}`] : [])];
}

function rank({ level }: Finding): number {
  return findingLevels.indexOf(level);
}

/** What only the running daemon knows: the tier that it has, and how it is. */
async function askDaemon(): Promise<Diagnosis> {
  try {
    await using client = await connect({ autoStart: false, reconnectMs: 0, timeoutMs: answerMs });
    const status = await client.status();
    const { containment } = status;
    const { reasons } = await client.health();
    return {
      facts: {
        daemon: {
          version: status.version,
          pid: String(status.pid),
          guardian: String(status.guardianPid ?? 'none'),
          since: status.startedAt,
          launcher: status.launcher,
        },
        containment: {
          tier: containment.tier,
          reason: containment.reason,
          guarantee: containment.guarantee,
          ...limitFacts(containment.limits),
        },
      },
      findings: [
        ...containment.holes.map(
          (hole): Finding => ({ level: 'note', topic: 'containment', message: hole, todo: null }),
        ),
        ...reasons.map(
          ({ code, level, message, todo }): Finding => ({
            level: level === 'failed' ? 'problem' : 'warning',
            topic: 'health',
            message: `${code}: ${message}`,
            todo,
          }),
        ),
        ...(status.version === version ? [] : [otherVersion(status.version)]),
      ],
    };
  } catch (error) {
    if (!(error instanceof CorralError)) throw error;
    return { facts: { daemon: { state: 'none answers' } }, findings: [noDaemon(error)] };
  }
}

/** A daemon under the user's manager ends with it. */
function lingering(): Finding[] {
  const isUnderManager = findServiceManager(process.env, process.getuid?.() ?? 0)?.scope === 'user';
  const notice = isUnderManager ? lingeringNotice() : null;
  return notice === null ? [] : [{ level: 'note', topic: 'host', message: notice, todo: null }];
}

function noDaemon(error: CorralError): Finding {
  if (error.code === 'DAEMON_UNREACHABLE')
    return { level: 'note', topic: 'daemon', message: error.message, todo: null };
  const todo =
    error.code === 'CALL_TIMEOUT'
      ? healthReasons.DAEMON_SILENT.todo
      : 'Do what it says, then look again: corral doctor';
  return { level: 'problem', topic: 'daemon', message: error.message, todo };
}

function otherVersion(theirs: string): Finding {
  return {
    level: 'warning',
    topic: 'versions',
    message: `The daemon is corral ${theirs}, and this is ${version}.`,
    todo: 'Restart the daemon when no job runs: corral daemon stop; corral daemon start',
  };
}

function print({ facts, findings }: Diagnosis): void {
  for (const [topic, values] of Object.entries(facts)) {
    printLine(topic);
    for (const [name, value] of Object.entries(values)) printLine(`  ${name.padEnd(18)} ${oneLine(value)}`);
  }
  printLine();
  if (!findings.some(({ level }) => level !== 'note')) printLine(colour('nothing to do', 'green'));
  for (const { level, topic, message, todo } of findings) {
    printLine(`${colour(level, levelColours[level])} (${topic}) ${oneLine(message)}`);
    if (todo !== null) printLine(`  ${todo}`);
  }
}
