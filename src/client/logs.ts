import { CorralError, maxHoldMs, maxLogChunkBytes } from '../protocol/index.ts';
import type { Connection } from './connection.ts';

export interface LogsOptions {
  /** Go on until the job has ended, over all attempts that come; with `attempt` until that one has. Default: what there is now. */
  readonly follow?: boolean;
  /** Only the last so many lines of what there is, and with `follow` what comes after. */
  readonly tailLines?: number;
  /** Only this one. Default: the newest. */
  readonly attempt?: number;
  /** With `follow`, the attempt to begin with, all later ones behind it: the oldest that is kept, where this one is not. Default: the newest. */
  readonly firstAttempt?: number;
  /** Of a job with split output. Default: stdout. */
  readonly stream?: 'stdout' | 'stderr';
  /** Called where output is missing, because the oldest was dropped to keep the job's limit, with how many bytes. */
  readonly onDropped?: (bytes: number) => void;
  /** Called where one that follows passes over attempts that are not kept any more, with the first and the last of them. */
  readonly onAttemptsGone?: (first: number, last: number) => void;
}

const newline = 0x0a;

/** Reads a job's output over the socket, in pieces that each fit a frame. */
export async function* readLogs(connection: Connection, jobId: number, options: LogsOptions): AsyncGenerator<Buffer> {
  const { follow = false, tailLines, stream = 'stdout' } = options;
  const holdMs = follow ? maxHoldMs : 0;
  const passesOverGone = follow && options.attempt === undefined;
  let attempt = options.attempt ?? options.firstAttempt;
  let offset = 0;
  if (tailLines !== undefined) {
    // From here on it is this attempt that is read, even if another begins meanwhile.
    ({ attempt } = await connection.call('logs', { ...selectionOf(jobId, stream, attempt), offset: -1, maxBytes: 1 }));
    offset = await tailOffset(connection, { jobId, stream, attempt }, tailLines);
  }
  for (;;) {
    const selection = selectionOf(jobId, stream, attempt);
    const piece = await connection
      .call('logs', { ...selection, offset, holdMs }, { holdMs })
      .catch((error: unknown) => {
        if (passesOverGone && error instanceof CorralError && error.code === 'ATTEMPT_GONE') return null;
        throw error;
      });
    if (piece === null) {
      const wanted = attempt ?? 1;
      const { job } = await connection.call('get', { jobId });
      attempt = job.attempts[0]?.attempt ?? wanted;
      offset = 0;
      if (attempt > wanted) options.onAttemptsGone?.(wanted, attempt - 1);
      continue;
    }
    attempt = piece.attempt;
    if (piece.offset > offset) options.onDropped?.(piece.offset - offset);
    offset = piece.nextOffset;
    if (piece.data !== '') {
      yield Buffer.from(piece.data, 'base64');
    } else if (!follow) {
      return;
    } else if (piece.ended) {
      const isLast = options.attempt !== undefined || !(attempt < piece.attempts);
      if (isLast) return;
      attempt += 1;
      offset = 0;
    }
  }
}

function selectionOf(jobId: number, stream: 'stdout' | 'stderr', attempt: number | undefined) {
  return { jobId, stream, ...(attempt === undefined ? {} : { attempt }) };
}

/** Where the last `lines` lines begin, found from the end backwards. */
async function tailOffset(
  connection: Connection,
  selection: { jobId: number; stream: 'stdout' | 'stderr'; attempt: number },
  lines: number,
): Promise<number> {
  const end = await connection.call('logs', { ...selection, offset: -1, maxBytes: 1 });
  if (lines === 0 || end.data === '') return end.nextOffset;
  // A final newline ends the last line; it does not begin another.
  let missing = lines + (Buffer.from(end.data, 'base64')[0] === newline ? 1 : 0);
  for (let to = end.nextOffset; to > 0; ) {
    const from = Math.max(0, to - maxLogChunkBytes);
    const { data, offset } = await connection.call('logs', { ...selection, offset: from, maxBytes: to - from });
    const bytes = Buffer.from(data, 'base64');
    for (let at = bytes.lastIndexOf(newline); at !== -1; at = at === 0 ? -1 : bytes.lastIndexOf(newline, at - 1)) {
      missing -= 1;
      if (missing === 0) return offset + at + 1;
    }
    if (offset > from) return offset; // What came before has been dropped.
    to = from;
  }
  return 0;
}
