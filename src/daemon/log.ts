import fs from 'node:fs';
import winston from 'winston';
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
  /** Resolves when every line has been written. */
  close(): Promise<void>;
}

/** The daemon's log. What cannot be written, such as on a full disk, is lost; it must not end the daemon. */
export function createLog({ level, file, style }: LogOptions): OwnLog {
  const transport =
    file === null
      ? new winston.transports.Stream({ stream: process.stderr })
      : new winston.transports.File({
          filename: file,
          maxsize: maxFileBytes,
          maxFiles,
          tailable: true,
          options: { flags: 'a', mode: 0o600 },
        });
  const logger = winston.createLogger({
    level,
    format: formats[file === null ? style : 'json'],
    transports: [transport],
  });
  return {
    debug: (message, fields) => void logger.debug(message, fields),
    info: (message, fields) => void logger.info(message, fields),
    warn: (message, fields) => void logger.warn(message, fields),
    error: (message, fields) => void logger.error(message, fields),
    setLevel: (next) => {
      logger.level = next;
    },
    close: () =>
      new Promise((resolve) => {
        transport.on('finish', () => resolve());
        logger.end();
        // A stream transport has nothing to flush and says nothing.
        if (file === null) resolve();
      }),
  };
}

/** How to write on stderr. `journalStream` is `$JOURNAL_STREAM`: device and inode of the pipe to journald. systemd.exec(5) */
export function chooseStyle(stderr: NodeJS.WriteStream & { fd: 2 }, journalStream: string | undefined): LogStyle {
  if (stderr.isTTY === true) return 'terminal';
  const { dev, ino } = fs.fstatSync(stderr.fd);
  return journalStream === `${dev}:${ino}` ? 'journal' : 'json';
}
