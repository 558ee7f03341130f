import { maxHoldMs, maxLogChunkBytes } from '../protocol/index.ts';
import type { Connection } from './connection.ts';

export interface LogsOptions {
  /** Go on until the attempt has ended. Default: what there is now. */
  readonly follow?: boolean;
  /** Only the last so many lines of what there is, and with `follow` what comes after. */
  readonly tailLines?: number;
  /** Default: the newest. */
  readonly attempt?: number;
  /** Of a job with split output. Default: stdout. */
  readonly stream?: 'stdout' | 'stderr';
  /** Called where output is missing, because the oldest was dropped to keep the job's limit, with how many bytes. */
  readonly onDropped?: (bytes: number) => void;
}

const newline = 0x0a;

/** Reads a job's output over the socket, in pieces that each fit a frame. */
export async function* readLogs(connection: Connection, jobId: number, options: LogsOptions): AsyncGenerator<Buffer> {
  const { follow = false, tailLines, stream = 'stdout' } = options;
  const selection = { jobId, stream, ...(options.attempt === undefined ? {} : { attempt: options.attempt }) };
  let offset = tailLines === undefined ? 0 : await tailOffset(connection, selection, tailLines);
  let attempt = options.attempt;
  for (;;) {
    const holdMs = follow ? maxHoldMs : 0;
    const pinned = attempt === undefined ? selection : { ...selection, attempt };
    const piece = await connection.call('logs', { ...pinned, offset, holdMs }, { holdMs });
    // Once there is output, the attempt that made it is the one that is followed.
    if (piece.nextOffset > offset) attempt = piece.attempt;
    if (piece.offset > offset) options.onDropped?.(piece.offset - offset);
    offset = piece.nextOffset;
    if (piece.data !== '') yield Buffer.from(piece.data, 'base64');
    else if (piece.ended || !follow) return;
  }
}

/** Where the last `lines` lines begin, found from the end backwards. */
async function tailOffset(
  connection: Connection,
  selection: { jobId: number; stream: 'stdout' | 'stderr'; attempt?: number },
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
