/**
 * Frames on the socket: node-ipc's `{"type":…,"data":…}` followed by a form feed.
 *
 * This takes the place of node-ipc's `guarded` parser (handed to it as `ipc.config.parser`), for two measured reasons:
 * `guarded` never restarts its message timer while complete frames keep coming, so it cuts off a busy client whose chunks
 * end mid-frame; and it scans a partial frame anew for each chunk, so one-byte writes onto a large half frame cost the
 * daemon a millisecond each. Here a chunk is scanned once, and each frame has a deadline of its own.
 */

export const frameLimits = {
  /** Largest frame, in bytes of UTF-8 without the delimiter. */
  maxFrameBytes: 1024 * 1024,
  /** Largest amount of data that may wait for a slow reader; beyond it the connection is closed. */
  maxPendingBytes: 8 * 1024 * 1024,
  /** A frame that is begun must be complete within this time. */
  frameTimeoutMs: 30_000,
} as const;

const delimiter = '\f';

export type FrameType = 'rpc' | 'event';

/** What a parser hands on: a good frame, or the reason why it is none. `fatal` ends the connection. */
export type IncomingFrame =
  | { readonly type: FrameType; readonly data: unknown }
  | {
      readonly type: 'malformed';
      readonly data: { code: 'PARSE_ERROR' | 'FRAME_TOO_LARGE'; message: string; fatal: boolean };
    };

/** What has arrived of a connection and was not handed on yet. One per connection. */
export interface PartialFrame {
  /** The pieces of the frame that has begun. */
  chunks: string[];
  bytes: number;
  cancelTimeout: (() => void) | null;
  /** Arrived and not looked at, from `unreadAt` on. Empty but where frames are taken one by one (`onFrames`). */
  unread: string;
  unreadAt: number;
  /** Size of the frame that `next` returned last. */
  frameBytes: number;
}

export function emptyPartialFrame(): PartialFrame {
  return { chunks: [], bytes: 0, cancelTimeout: null, unread: '', unreadAt: 0, frameBytes: 0 };
}

/** node-ipc keeps the value that `read` returns, and hands it back with the next chunk. `''` is the state before the first. */
type ReadState = PartialFrame | '';

export interface FrameParserOptions {
  readonly accepts: readonly FrameType[];
  /** Starts the deadline of a frame that has begun; returns how to cancel it. Without it frames may take for ever. */
  readonly onFrameBegun?: (partial: PartialFrame) => () => void;
  /**
   * Called where whole frames have arrived: the owner takes them one by one with `next`, when it wants to, and stops reading the
   * socket meanwhile. Without it each is handed on as soon as it is complete.
   */
  readonly onFrames?: (partial: PartialFrame) => void;
  readonly maxFrameBytes?: number;
  /** What to send in place of data that would be larger than a frame. Without it such data is sent, and the peer refuses it. */
  readonly insteadOfTooLarge?: (data: unknown) => unknown;
}

/** Builds the parser object that node-ipc takes in `ipc.config.parser`. */
export function createFrameParser(options: FrameParserOptions) {
  const maxFrameBytes = options.maxFrameBytes ?? frameLimits.maxFrameBytes;

  function decode(text: string): IncomingFrame {
    let message: unknown;
    try {
      message = JSON.parse(text);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      return malformed(
        'PARSE_ERROR',
        `The frame is not valid JSON (${error.message}). Send {"type":"rpc","data":{…}} and a form feed.`,
      );
    }
    if (typeof message !== 'object' || message === null || Array.isArray(message)) {
      return malformed(
        'PARSE_ERROR',
        'The frame is not a JSON object. Send {"type":"rpc","data":{…}} and a form feed.',
      );
    }
    const type: unknown = Object.hasOwn(message, 'type') ? (message as { type: unknown }).type : undefined;
    const accepted = options.accepts.find((candidate) => candidate === type);
    if (accepted === undefined) {
      return malformed('PARSE_ERROR', `The frame has no type that is accepted here (${options.accepts.join(', ')}).`);
    }
    return { type: accepted, data: (message as { data?: unknown }).data };
  }

  function tooLarge(): IncomingFrame {
    return malformed(
      'FRAME_TOO_LARGE',
      `A frame may have at most ${maxFrameBytes} bytes. Send less at once, or in several requests.`,
      true,
    );
  }

  /** The next frame of what has arrived, or `null` where the rest is no whole frame. After a fatal one there is none. */
  function next(partial: PartialFrame): IncomingFrame | null {
    const { unread, unreadAt } = partial;
    const end = unread.indexOf(delimiter, unreadAt);
    if (end !== -1) {
      const tail = unread.slice(unreadAt, end);
      const text = partial.chunks.length === 0 ? tail : partial.chunks.join('') + tail;
      partial.frameBytes = partial.bytes + Buffer.byteLength(tail);
      reset(partial);
      partial.unreadAt = end + 1;
      if (partial.unreadAt === unread.length) forgetUnread(partial);
      if (partial.frameBytes <= maxFrameBytes) return decode(text);
      forgetUnread(partial);
      return tooLarge();
    }
    if (unread === '') return null;
    const rest = unreadAt === 0 ? unread : unread.slice(unreadAt);
    forgetUnread(partial);
    partial.bytes += Buffer.byteLength(rest);
    if (partial.bytes > maxFrameBytes) {
      reset(partial);
      return tooLarge();
    }
    partial.chunks.push(rest);
    // One-byte writes must not make a list of a million strings.
    if (partial.chunks.length >= 1024) partial.chunks = [partial.chunks.join('')];
    partial.cancelTimeout ??= options.onFrameBegun?.(partial) ?? null;
    return null;
  }

  return {
    raw: false,
    encoding: 'utf8',
    maxPendingBytes: frameLimits.maxPendingBytes,

    encode(type: string, data: unknown): string {
      const frame = encodeFrame(type, data);
      const isTooLarge = Buffer.byteLength(frame) - delimiter.length > maxFrameBytes;
      return isTooLarge && options.insteadOfTooLarge ? encodeFrame(type, options.insteadOfTooLarge(data)) : frame;
    },

    next,

    /** Lets go of all that has arrived. */
    discard(partial: PartialFrame): void {
      forgetUnread(partial);
      reset(partial);
    },

    /** Consumes one chunk; hands on each frame that it completes, or says that there are some. Never throws on any input. */
    read(state: ReadState, chunk: string, receive: (frame: IncomingFrame) => void): PartialFrame {
      const partial = state === '' ? emptyPartialFrame() : state;
      const hasBacklog = partial.unread !== '';
      partial.unread = hasBacklog ? partial.unread.slice(partial.unreadAt) + chunk : chunk;
      partial.unreadAt = 0;
      if (options.onFrames !== undefined && (hasBacklog || chunk.includes(delimiter))) {
        options.onFrames(partial);
        return partial;
      }
      for (let frame = next(partial); frame !== null; frame = next(partial)) receive(frame);
      return partial;
    },
  };
}

function reset(partial: PartialFrame): void {
  partial.chunks = [];
  partial.bytes = 0;
  partial.cancelTimeout?.();
  partial.cancelTimeout = null;
}

function forgetUnread(partial: PartialFrame): void {
  partial.unread = '';
  partial.unreadAt = 0;
}

function malformed(code: 'PARSE_ERROR' | 'FRAME_TOO_LARGE', message: string, fatal = false): IncomingFrame {
  return { type: 'malformed', data: { code, message, fatal } };
}

/** One frame as it goes on the wire. */
export function encodeFrame(type: string, data: unknown): string {
  return JSON.stringify({ type, data }) + delimiter;
}
