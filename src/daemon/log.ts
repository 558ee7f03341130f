import fs from 'node:fs';
import { Writable } from 'node:stream';
import winston from 'winston';
import { LogFile } from './log-file.ts';
import type { Log } from './shells.ts';

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  /** Where the daemon has no terminal and nobody collects its stderr: a file, kept below a bound by rotation. */
  readonly file: string | null;
  /** Lines for people on a terminal; lines with a priority for journald; JSON, one object a line, elsewhere. */
  readonly style: LogStyle;
}

export type LogStyle = 'terminal' | 'journal' | 'json';

/** Size of one log file, and how many there are: 20 MiB together at most. */
const maxFileBytes = 5 * 1024 * 1024;
const maxFiles = 4;

const { combine, timestamp, json, printf } = winston.format;

function words(message: unknown, fields: Readonly<Record<string, unknown>>): string {
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return [message, ...rest].join(' ');
}

/** Syslog priorities, which journald reads off the start of a line. sd-daemon(3) */
const priorities: Readonly<Record<string, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

const formats: Readonly<Record<LogStyle, winston.Logform.Format>> = {
  terminal: combine(
    timestamp(),
    printf(({ level, message, timestamp: time, ...fields }) =>
      [time, level.toUpperCase().padEnd(5), words(message, fields)].join(' '),
    ),
  ),
  // One line a record, or the lines after the first would have no priority. journald has the time.
  journal: printf(
    ({ level, message, ...fields }) => `<${priorities[level] ?? 6}>${words(message, fields).replaceAll('\n', ' ↵ ')}`,
  ),
  json: combine(timestamp(), json()),
};

export interface OwnLog extends Log {
  setLevel(level: LogOptions['level']): void;
  /** Every line that was said has been written by then. */
  close(): void;
}

/** The daemon's log. What cannot be written, as on a full disk or where the reader of stderr has gone, is lost. */
export function createLog({ level, file, style }: LogOptions): OwnLog {
  const logFile = file === null ? null : new LogFile({ path: file, maxBytes: maxFileBytes, maxFiles });
  // A reader of stderr that goes away, such as head, must not take the daemon along.
  if (logFile === null) process.stderr.on('error', () => {});
  const stream = logFile === null ? process.stderr : lineByLine((line) => logFile.append(line));
  const logger = winston.createLogger({
    level,
    format: formats[file === null ? style : 'json'],
    transports: [new winston.transports.Stream({ stream })],
  });
  return {
    debug: (message, fields) => void logger.debug(message, fields),
    info: (message, fields) => void logger.info(message, fields),
    warn: (message, fields) => void logger.warn(message, fields),
    error: (message, fields) => void logger.error(message, fields),
    setLevel: (next) => {
      logger.level = next;
    },
    close: () => logFile?.close(),
  };
}

function lineByLine(append: (line: string) => void): Writable {
  return new Writable({
    decodeStrings: false,
    write(line, _encoding, done) {
      append(String(line));
      done();
    },
  });
}

/** How to write on stderr. `journalStream` is `$JOURNAL_STREAM`: device and inode of the pipe to journald. systemd.exec(5) */
export function chooseStyle(stderr: NodeJS.WriteStream & { fd: 2 }, journalStream: string | undefined): LogStyle {
  if (stderr.isTTY === true) return 'terminal';
  const { dev, ino } = fs.fstatSync(stderr.fd);
  return journalStream === `${dev}:${ino}` ? 'journal' : 'json';
}
