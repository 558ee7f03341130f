/** Writes the man pages from the same objects that make --help. `npm run docs` */
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { exitStatusOf } from '../src/client/cli/exit-code.ts';
import { createProgram } from '../src/client/cli/program.ts';
import { version } from '../src/protocol/index.ts';
import { definition, example, literal, macro, page, paragraph, prose, section, subsection } from './roff.ts';

const clientEnvironment: readonly [name: string, text: string][] = [
  ['CORRAL_SOCKET', "The daemon's socket. No daemon is started by itself where this is set."],
  ['CORRAL_STATE_DIR', "The daemon's state directory."],
  ['CORRAL_RUNTIME_DIR', 'The folder of the socket.'],
  [
    'XDG_STATE_HOME, XDG_RUNTIME_DIR',
    'Where these are set, state and socket of users other than root are in a folder corral below.',
  ],
  ['CORRAL_NODE', 'The Node.js program to run with, version 24 or later.'],
  ['CORRAL_DEBUG', 'If 1, a defect in corral shows where it happened.'],
  ['NO_COLOR', 'If set and not empty, no colours.'],
];

const daemonEnvironment: readonly [name: string, text: string][] = [
  ['CORRAL_CONTAINMENT', 'How processes are held: cgroup, scan, or auto (default) for the better one that can be had.'],
  ['CORRAL_LAUNCHER', 'How processes are launched: posix_spawn (default) or execa.'],
  ['CORRAL_LOG_LEVEL', 'error, warn, info (default) or debug.'],
  [
    'CORRAL_DISK_MIN_FREE',
    'Room on the disk below which nothing is accepted or started, such as 64MiB; off: never mind.',
  ],
  [
    'CORRAL_SECTION_KEY',
    'Any other key of the configuration: CORRAL_JOBS_MAX_RUNTIME is max-runtime of [jobs], for jobs that do not name their own. corral config show lists the keys.',
  ],
  ['CORRAL_CONFIG', 'The configuration file, which then must be there. A variable wins over what is in it.'],
  ['CORRAL_NODE', 'The Node.js program to run with, version 24 or later.'],
];

const jobEnvironment = paragraph(
  'A job gets the environment of its caller, and CORRAL_JOB_ID, CORRAL_ATTEMPT, CORRAL_SOCKET and CORRAL_REPORT on top of it.',
);

const files: readonly [name: string, text: string][] = [
  [
    '/var/lib/corral, ~/.local/state/corral',
    "State directory of root's daemon, and of another user's: the store corral.db, the output of jobs, daemon.log.",
  ],
  [
    '/etc/corral/config.toml, ~/.config/corral/config.toml',
    "Configuration of root's daemon, and of another user's; it need not be there.",
  ],
  ['/run/corral/corral.sock, $XDG_RUNTIME_DIR/corral/corral.sock', "Socket of root's daemon, and of another user's."],
];

/** Every page by the name of its file. */
export function manPages(): Map<string, string> {
  const program = createProgram();
  const verbs = shownCommands(program);
  return new Map([
    ['corral.1', overview(program, verbs)],
    ...verbs.map((verb): [string, string] => [`corral-${verb.name()}.1`, verbPage(verb, verbs)]),
    ['corrald.8', daemonPage()],
  ]);
}

const source = `corral ${version}`;

function overview(program: Command, verbs: readonly Command[]): string {
  return page(
    'corral',
    1,
    source,
    section('NAME', prose(`corral - ${firstLower(program.description())}`)),
    section('SYNOPSIS', synopses(program)),
    section(
      'DESCRIPTION',
      paragraph(program.description()),
      paragraph(
        'One daemon, corrald(8), owns every process that it starts: it queues jobs, runs them, ends them for good, and remembers every result. corral is its command line. The daemon is started by itself where none runs.',
      ),
    ),
    section('COMMANDS', ...verbs.map((verb) => definition(`corral ${verb.name()}`, verb.description()))),
    section('OPTIONS', ...options(program)),
    exitStatus('corral'),
    paragraph('corral run, corral attach and corral wait pass on how the job ended; see their pages.'),
    environment(clientEnvironment, jobEnvironment),
    section('FILES', ...files.map((entry) => definition(...entry))),
    examples(program),
    seeAlso(['corrald(8)', ...verbs.map((verb) => `corral-${verb.name()}(1)`)]),
  );
}

function verbPage(verb: Command, verbs: readonly Command[]): string {
  const subverbs = shownCommands(verb);
  const worksItself = subverbs.length === 0 || verb.options.length > 0;
  const others = verbs.filter((other) => other !== verb).map((other) => `corral-${other.name()}(1)`);
  return page(
    `corral-${verb.name()}`,
    1,
    source,
    section('NAME', prose(`corral-${verb.name()} - ${verb.description()}`)),
    section('SYNOPSIS', synopses(...(worksItself ? [verb] : []), ...subverbs)),
    section(
      'DESCRIPTION',
      paragraph(sentence(verb.description())),
      ...[verb, ...subverbs].flatMap((command) => notes(command).map(paragraph)),
    ),
    ...(worksItself ? [section('OPTIONS', ...theArguments(verb), ...options(verb))] : []),
    ...(subverbs.length === 0 ? [] : [section('COMMANDS', ...subverbs.map(subverbSection))]),
    exitStatus(verb.name()),
    environment(clientEnvironment.slice(0, 3)),
    section('FILES', ...files.map((entry) => definition(...entry))),
    examples(verb, ...subverbs),
    seeAlso(['corral(1)', 'corrald(8)', ...others]),
  );
}

function subverbSection(command: Command): string {
  return subsection(
    `corral ${command.parent?.name()} ${command.name()}`,
    paragraph(sentence(command.description())),
    ...theArguments(command),
    ...options(command),
  );
}

function daemonPage(): string {
  return page(
    'corrald',
    8,
    source,
    section('NAME', prose('corrald - the daemon of corral, a local job supervisor')),
    section(
      'SYNOPSIS',
      macro('B', 'corrald'),
      '.br',
      macro('B', 'corral daemon run'),
      '.br',
      macro('B', 'corral daemon start'),
    ),
    section(
      'DESCRIPTION',
      paragraph(
        'The daemon owns every process that it starts. It queues jobs, runs them, ends them for good, and remembers every result. Nothing that it started outlives its purpose, and nothing that it acknowledged is lost, even if the daemon is killed with SIGKILL in the middle of a task.',
      ),
      paragraph(
        'There is one daemon for each state directory. corral(1) starts one in the background where none answers on the default socket; corrald and corral daemon run stay in the foreground, for a service manager. A guardian process ends all jobs the moment the daemon dies.',
      ),
      paragraph(
        'Jobs that ran when the daemon died or stopped fail with the cause supervisor-lost, or run again if they were submitted with --on-supervisor-lost retry. Queued jobs stay queued.',
      ),
    ),
    section(
      'OPTIONS',
      paragraph(
        'There are none but --help and --version. The configuration file and the environment say what is not as usual; groups are made and set by corral group.',
      ),
    ),
    section(
      'SIGNALS',
      definition('SIGTERM, SIGINT', 'End all jobs gracefully, each with its grace but at most 5 s, and exit.'),
      definition('SIGHUP', 'Read the configuration again. One that cannot be used changes nothing.'),
      definition('SIGKILL', 'Ends the daemon. The guardian ends all jobs at once.'),
    ),
    section(
      'EXIT STATUS',
      definition('0', 'The daemon was stopped in order.'),
      definition(
        '1',
        'The daemon met what nobody foresaw, or was stopped and could not write down all results. Its log says which.',
      ),
      definition('2', 'It was given an argument.'),
      definition('3', 'The daemon could not start, and said why: another one runs, a folder is not its own.'),
      definition('78', 'The configuration cannot be used, or the store is damaged: a person is needed.'),
      definition('125', 'There is no Node.js that is new enough.'),
    ),
    environment([...clientEnvironment.slice(0, 4), ...daemonEnvironment], jobEnvironment),
    section('FILES', ...files.map((entry) => definition(...entry))),
    section(
      'EXAMPLES',
      paragraph('A second daemon beside the usual one:'),
      example('CORRAL_STATE_DIR=$HOME/second CORRAL_RUNTIME_DIR=$HOME/second corral daemon run'),
    ),
    seeAlso(['corral(1)', 'corral-daemon(1)', 'corral-group(1)', 'cgroups(7)']),
  );
}

function shownCommands(command: Command): Command[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .filter((child) => child.name() !== 'help');
}

function synopses(...commands: readonly Command[]): string {
  return commands.map(synopsis).join('\n.br\n');
}

function synopsis(command: Command): string {
  const usage = command.createHelp().commandUsage(command);
  const end = usage.search(/ [[<]/);
  return end === -1 ? macro('B', usage) : `${macro('B', usage.slice(0, end))}\n${literal(usage.slice(end + 1))}`;
}

function theArguments(command: Command): string[] {
  const help = command.createHelp();
  return help
    .visibleArguments(command)
    .map((argument) => definition(help.argumentTerm(argument), sentence(help.argumentDescription(argument))));
}

function options(command: Command): string[] {
  const help = command.createHelp();
  return help
    .visibleOptions(command)
    .map((option) => definition(help.optionTerm(option), sentence(help.optionDescription(option))));
}

function exitStatus(verb: string): string {
  return section('EXIT STATUS', ...exitStatusOf(verb).map((entry) => definition(...entry)));
}

function environment(variables: readonly [string, string][], ...more: readonly string[]): string {
  return section('ENVIRONMENT', ...variables.map((entry) => definition(...entry)), ...more);
}

function examples(...commands: readonly Command[]): string {
  return section(
    'EXAMPLES',
    ...commands
      .flatMap(linesAfterHelp)
      .filter((line) => line.startsWith(exampleMark))
      .map((line) => example(line.slice(exampleMark.length))),
  );
}

const exampleMark = 'Example: ';

/** What --help says below its lists, beside the examples. */
function notes(command: Command): string[] {
  return linesAfterHelp(command).filter((line) => !line.startsWith(exampleMark));
}

/** commander keeps these texts to itself, so they are what it prints beyond what it generates. */
function linesAfterHelp(command: Command): string[] {
  let printed = '';
  const earlier = command.configureOutput();
  command.configureOutput({
    ...earlier,
    writeOut: (text) => {
      printed += text;
    },
  });
  command.outputHelp();
  command.configureOutput(earlier);
  return printed
    .slice(command.helpInformation().length)
    .split('\n')
    .filter((line) => line.trim() !== '');
}

function seeAlso(pages: readonly string[]): string {
  const references = pages.map((reference, index) => {
    const [name = '', number = ''] = reference.split(/[()]/);
    return macro('BR', name, `(${number})${index === pages.length - 1 ? '' : ','}`);
  });
  return section('SEE ALSO', ...references);
}

/** Descriptions in --help begin small and end without a stop. */
function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}

function firstLower(text: string): string {
  return `${text.charAt(0).toLowerCase()}${text.slice(1)}`.replace(/\.$/, '');
}

const folder = fileURLToPath(new URL('../man', import.meta.url));

function main(): void {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder);
  for (const [name, text] of manPages()) fs.writeFileSync(`${folder}/${name}`, text);
}

if (process.argv[1] !== undefined && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) main();
