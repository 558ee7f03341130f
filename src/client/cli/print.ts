import {
  CorralError,
  errorTable,
  formatDuration,
  formatSize,
  isErrno,
  type JobView,
  keptAttempts,
  showBytes,
} from '../../protocol/index.ts';

/** Data goes to stdout. */
export function printLine(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** Whoever read what we print is no longer there: a program such as head, or the terminal itself. */
export class ReaderGoneError extends Error {
  readonly reader: 'pipe' | 'terminal';

  constructor(reader: 'pipe' | 'terminal', cause: Error) {
    super(`the ${reader} went away`, { cause });
    this.reader = reader;
  }
}

/**
 * Waits for a slow reader instead of holding its bytes in memory.
 *
 * @throws ReaderGoneError; CorralError `OUTPUT_UNWRITABLE` for everything else, such as a full disk
 */
export function write(target: NodeJS.WriteStream, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(writeError(target, error));
    target.once('error', fail);
    target.write(bytes, (error) => {
      if (error) return fail(error); // The event comes after this, and takes the listener off.
      target.off('error', fail);
      resolve();
    });
  });
}

function writeError(target: NodeJS.WriteStream, error: Error): Error {
  if (isErrno(error, 'EPIPE')) return new ReaderGoneError('pipe', error);
  // A terminal that was hung up answers EIO to each write; from a file it is a broken disk. tty(4)
  if (isErrno(error, 'EIO') && target.isTTY) return new ReaderGoneError('terminal', error);
  return new CorralError('OUTPUT_UNWRITABLE', `The output cannot be written (${error.message}).`);
}

export function printJson(value: unknown): void {
  printLine(JSON.stringify(value, null, 2));
}

/** Everything that is not data goes to stderr. */
export function say(line: string): void {
  process.stderr.write(`corral: ${oneLine(line)}\n`);
}

/** Output that is shown is not all that was written. */
export function sayDropped(bytes: number): void {
  say(`${formatSize(bytes)} of output are not there any more: the oldest were dropped to keep the limit`);
}

/** Likewise, of whole attempts. */
export function sayGone(first: number, last: number): void {
  const which = first === last ? `attempt ${first} is` : `attempts ${first} to ${last} are`;
  say(
    `${which} not kept any more, nor is what was printed there: a job keeps its newest ${keptAttempts}, as far as their output fits its limit`,
  );
}

/** Says an error in a line or two, and gives the exit code that goes with it. */
export function sayError(error: CorralError): number {
  say(error.message);
  return errorTable[error.code].exit;
}

const colours = { green: 32, red: 31, yellow: 33, cyan: 36, dim: 2 } as const;

/** Colour only on a terminal that wants it. https://no-color.org */
export function colour(text: string, name: keyof typeof colours): string {
  const wanted = process.stdout.isTTY === true && (process.env.NO_COLOR ?? '') === '';
  return wanted ? `\u001b[${colours[name]}m${text}\u001b[0m` : text;
}

const statusColours = {
  queued: 'dim',
  starting: 'cyan',
  running: 'cyan',
  stopping: 'yellow',
  completed: 'green',
  failed: 'red',
  cancelled: 'yellow',
} as const;

/** Columns padded to their widest cell; the last one is cut to the terminal's width. */
export function printTable(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const lineWidth = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY;
  const format = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === header.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .slice(0, lineWidth);
  printLine(colour(format(header), 'dim'));
  for (const row of rows) {
    const line = format(row);
    const status = row.find((cell): cell is keyof typeof statusColours => cell in statusColours);
    printLine(status === undefined ? line : line.replace(status, colour(status, statusColours[status])));
  }
}

/** What came of a job, in a word or two: `exit 0`, `SIGKILL`, `max-runtime`. */
export function outcome(job: JobView): string {
  if (job.unkillable) return 'unkillable';
  if (job.paused) return 'paused';
  if (job.cause === null) return job.status === 'queued' && job.retries > 0 ? nextRetry(job) : '-';
  return endOf(job);
}

/** How an attempt, or a job, has ended. */
export function endOf({ cause, exitCode, signal }: Pick<JobView, 'cause' | 'exitCode' | 'signal'>): string {
  switch (cause) {
    case 'exit':
      return `exit ${exitCode ?? '?'}`;
    case 'signal':
      return signal ?? 'signal';
    default:
      return cause ?? '-';
  }
}

/** How far a job is, by its own account: `40 % half done`; `-` where it has said nothing. */
export function progressText({
  progress,
}: {
  progress: Pick<NonNullable<JobView['progress']>, 'percent' | 'message'> | null;
}): string {
  if (progress === null) return '-';
  const { percent, message } = progress;
  return [percent === null ? [] : `${Number(percent.toFixed(1))} %`, message === null ? [] : oneLine(message)]
    .flat()
    .join(' ');
}

/** `retry 2/5 in 12s`, or `retry 2` where there is no limit and its time has come. */
function nextRetry({ retries, policies, notBefore }: JobView): string {
  const limit = policies['retry.limit']?.value;
  const leftMs = notBefore === null ? 0 : Date.parse(notBefore) - Date.now();
  const when = leftMs > 0 ? ` in ${formatDuration(leftMs)}` : '';
  return `retry ${retries}${typeof limit === 'number' ? `/${limit}` : ''}${when}`;
}

/** How long a job ran, or has been running, or has been waiting. */
export function elapsed(job: JobView): string {
  const startedAt = job.status === 'queued' ? null : job.startedAt; // That of an earlier attempt is not what it waits since.
  const from = Date.parse(startedAt ?? job.submittedAt);
  const to = job.finishedAt === null ? Date.now() : Date.parse(job.finishedAt);
  if (job.startedAt === null && job.finishedAt !== null) return '-';
  return formatDuration(Math.max(0, to - from));
}

/** A command as a person would type it. */
export function commandLine(command: readonly string[]): string {
  const [program, flag, line] = command;
  if (program === '/bin/sh' && flag === '-c' && command.length === 3 && line !== undefined) return oneLine(line);
  return oneLine(command.map(quoted).join(' '));
}

function quoted(word: string): string {
  // The quotes in which bash, zsh and ksh read \xff as that byte.
  if (!word.isWellFormed()) return `$'${showBytes(word.replaceAll(/['\\]/g, '\\$&'))}'`;
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A job's text must not be able to move the cursor. */
export function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is about
  return showBytes(text).replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}
