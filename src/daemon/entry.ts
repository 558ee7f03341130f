/** What `corrald` is, and every daemon that the client starts: turns Node's compile cache on, then loads the daemon. */
import { useCompileCache } from '../compile-cache.ts';
import { version } from '../protocol/version.ts';

const help = `Usage: corrald [--version | --help]

Runs the daemon of corral in the foreground, as a service manager does. It is set up by the environment (CORRAL_STATE_DIR,
CORRAL_RUNTIME_DIR, CORRAL_SOCKET, ...), logs to stderr, and ends with all its jobs at SIGTERM or SIGINT.
Exit codes: 0 stopped; 1 met what nobody foresaw, or stopped and could not write down all results; 2 usage; 3 could not start;
78 the configuration cannot be used or the store is damaged, so a person is needed; 125 no Node that is new enough.
`;

const usageError = 2;

const args = process.argv.slice(2);
switch (args.join(' ')) {
  case '':
    await runDaemon();
    break;
  case '--version':
  case '-V':
    process.stdout.write(`${version}\n`);
    break;
  case '--help':
  case '-h':
    process.stdout.write(help);
    break;
  default:
    process.stderr.write(`corrald: takes no arguments, and was given "${args.join(' ')}". (see --help)\n`);
    process.exitCode = usageError;
}

async function runDaemon(): Promise<void> {
  const cache = useCompileCache(process.env, process.getuid?.() ?? 0);
  // The sweeper starts from the same cache, when every millisecond counts.
  if (cache !== null) process.env.NODE_COMPILE_CACHE ??= cache;
  // An installed package is compiled; its stack traces are to name the lines of the source.
  process.setSourceMapsEnabled(true);
  await import('./main.ts');
}
