/**
 * Reads the configuration as a daemon that starts now would, and prints what it comes to. A program of its own, so that it works
 * where no daemon runs.
 *
 * Arguments: `show`, or `check` and a file. A failure is a line of JSON on stderr.
 */
import { CorralError, type ShownConfig } from '../protocol/index.ts';
import { checkConfigFile, readConfig, showConfig } from './config/index.ts';

function read([what, file]: readonly string[]): ShownConfig {
  const uid = process.getuid?.() ?? 0;
  if (what === 'check' && file !== undefined) return showConfig(checkConfigFile(file, uid));
  return showConfig(readConfig(process.env, uid));
}

try {
  process.stdout.write(`${JSON.stringify(read(process.argv.slice(2)))}\n`);
} catch (error) {
  if (!(error instanceof CorralError)) throw error;
  process.stderr.write(`${JSON.stringify({ code: error.code, message: error.message })}\n`);
  process.exitCode = 1;
}
