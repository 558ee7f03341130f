/**
 * What this process was started with, as texts that stand for bytes (protocol/bytes.ts). Node has put U+FFFD in the place of
 * bytes that are not UTF-8; where one shows, the kernel is asked for the bytes. proc(5)
 */
import fs from 'node:fs';
import { CorralError, isErrno, textFromBytes } from '../protocol/index.ts';

const replacement = '\ufffd';

/** What a job has of whoever submits it, unless it names it itself. Asked for each job anew. */
export interface Caller {
  readonly env: () => Record<string, string>;
  /** The scope that the caller runs in. */
  readonly scope: () => string | undefined;
}

/** `process.argv`, which is handed in, exact. Node's own flags stand before it on the kernel's command line: it is counted from the end. */
export function callerArguments(argv: readonly string[]): string[] {
  const [node = '', script = '', ...words] = argv;
  if (!words.some((word) => word.includes(replacement))) return [...argv];
  const exact = readStrings('/proc/self/cmdline').slice(-words.length);
  return [node, script, ...words.map((word, index) => exactly(word, exact[index]))];
}

/** `process.env`, which is handed in, exact. What was changed since the start counts as it is now. */
export function callerEnvironment(current: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const env: Record<string, string> = {};
  let isLossy = false;
  // Node knows of a variable whose name is not UTF-8, but not its value, so Object.keys passes it over.
  for (const name of Reflect.ownKeys(current).map(String)) {
    const value = current[name];
    isLossy ||= name.includes(replacement) || value === undefined || value.includes(replacement);
    if (value !== undefined) env[name] = value;
  }
  if (!isLossy) return env;
  for (const bytes of readStrings('/proc/self/environ')) {
    const entry = textFromBytes(bytes);
    const at = entry.indexOf('=', 1);
    if (at === -1 || entry.isWellFormed()) continue;
    const name = entry.slice(0, at);
    const value = entry.slice(at + 1);
    // Node cannot set, change or delete a variable with such a name.
    if (!name.isWellFormed()) env[name] = value;
    else if (env[name] !== undefined) env[name] = exactly(env[name], bytes.subarray(Buffer.byteLength(name) + 1));
  }
  return env;
}

/** `process.cwd()`, exact. */
export function callerFolder(): string {
  try {
    const folder = process.cwd();
    return folder.includes(replacement) ? textFromBytes(fs.readlinkSync('/proc/self/cwd', 'buffer')) : folder;
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'EACCES')) throw error;
    const why = error.code === 'ENOENT' ? 'does not exist any more' : 'cannot be looked up (permission denied)';
    throw new CorralError(
      'INVALID_PARAMS',
      `The current folder ${why}, so a job cannot be started in it. Change to another (cd), or name one with -C (cwd).`,
    );
  }
}

/** The bytes that Node read this from, where they are known; the text as it is where it has been changed since. */
function exactly(text: string, bytes: Buffer | undefined): string {
  return bytes !== undefined && bytes.toString() === text ? textFromBytes(bytes) : text;
}

/** Strings that each end with a NUL. None where the kernel does not let us look, as in a process that may not be dumped. */
function readStrings(path: string): Buffer[] {
  let bytes: Buffer;
  try {
    bytes = fs.readFileSync(path);
  } catch (error) {
    if (isErrno(error, 'EACCES', 'EPERM', 'ENOENT')) return [];
    throw error;
  }
  const strings: Buffer[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(0, start);
    strings.push(bytes.subarray(start, end === -1 ? bytes.length : end));
    start = end === -1 ? bytes.length : end + 1;
  }
  return strings;
}
