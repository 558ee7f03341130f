import winston from 'winston';
import type { Log } from './shells.ts';

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  /** Where the daemon has no terminal and nobody collects its stderr: a file, kept below a bound by rotation. */
  readonly file: string | null;
  /** Lines for people on a terminal; JSON, one object a line, elsewhere. */
  readonly isTerminal: boolean;
}

/** Size of one log file, and how many there are: 20 MiB together at most. */
const maxFileBytes = 5 * 1024 * 1024;
const maxFiles = 4;

const { combine, timestamp, json, printf } = winston.format;

const forPeople = printf(({ level, message, timestamp: time, ...fields }) => {
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return [String(time), level.toUpperCase().padEnd(5), message, ...rest].join(' ');
});

/** The daemon's log and how to end it: `close` resolves when every line has been written. */
export function createLog({ level, file, isTerminal }: LogOptions): Log & { close(): Promise<void> } {
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
    format: combine(timestamp(), isTerminal && file === null ? forPeople : json()),
    transports: [transport],
  });
  return {
    debug: (message, fields) => void logger.debug(message, fields),
    info: (message, fields) => void logger.info(message, fields),
    warn: (message, fields) => void logger.warn(message, fields),
    error: (message, fields) => void logger.error(message, fields),
    close: () =>
      new Promise((resolve) => {
        transport.on('finish', () => resolve());
        logger.end();
        // A stream transport has nothing to flush and says nothing.
        if (file === null) resolve();
      }),
  };
}
