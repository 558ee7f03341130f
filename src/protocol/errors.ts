/**
 * Every error that corral answers with. `rpc` is the JSON-RPC code on the wire, `exit` the exit code of the CLI
 * (design: 0, 1 partial, 2 usage, 3 not running, 75 queue full, 125 our own failure).
 */
export const errorTable = {
  PARSE_ERROR: {
    rpc: -32700,
    exit: 125,
    about: 'The frame is not valid JSON, not an object with a type and data, or was not completed in time.',
  },
  INVALID_REQUEST: { rpc: -32600, exit: 125, about: 'The frame holds no JSON-RPC 2.0 request.' },
  METHOD_NOT_FOUND: { rpc: -32601, exit: 125, about: 'This daemon has no such method.' },
  INVALID_PARAMS: { rpc: -32602, exit: 2, about: 'A parameter is missing, unknown, or out of range.' },
  INTERNAL: {
    rpc: -32603,
    exit: 125,
    about: 'The daemon failed in a way it did not foresee; its log has the details.',
  },
  FRAME_TOO_LARGE: {
    rpc: -32000,
    exit: 125,
    about: 'A frame is larger than the limit: the request, which ends the connection, or the answer.',
  },
  HELLO_REQUIRED: { rpc: -32001, exit: 125, about: 'The first request of a connection must be hello.' },
  PROTOCOL_MISMATCH: { rpc: -32002, exit: 125, about: 'Client and daemon share no protocol version.' },
  NOT_PERMITTED: { rpc: -32003, exit: 125, about: 'The peer is neither the owner of the daemon nor root.' },
  TOO_MANY_CONNECTIONS: { rpc: -32004, exit: 125, about: 'The daemon serves as many clients as it allows.' },
  TOO_MANY_CALLS: {
    rpc: -32005,
    exit: 125,
    about: 'The connection waits for as many answers as it may; the call was not carried out.',
  },
  JOB_NOT_FOUND: { rpc: -32010, exit: 1, about: 'No job has this id: it never existed, or its record is gone.' },
  JOB_RUNNING: { rpc: -32011, exit: 1, about: 'The job has not ended, so it can be neither removed nor run again.' },
  JOB_NOT_RUNNING: {
    rpc: -32012,
    exit: 1,
    about:
      'The job, or the attempt that was named, has no live process, or is ending: it can neither be signalled, paused, kept alive nor report.',
  },
  ATTEMPT_GONE: {
    rpc: -32039,
    exit: 1,
    about: 'The attempt is not kept any more, nor is its output: a job keeps its newest ones.',
  },
  JOB_UNKILLABLE: { rpc: -32036, exit: 1, about: 'Processes of the job are still there after SIGKILL.' },
  GROUP_NOT_FOUND: { rpc: -32013, exit: 1, about: 'No group has this name.' },
  GROUP_NOT_EMPTY: { rpc: -32023, exit: 1, about: 'The group has jobs that have not ended, so it cannot be removed.' },
  GROUP_EXISTS: { rpc: -32028, exit: 1, about: 'A group has this name already, with other settings.' },
  TOO_MANY_GROUPS: { rpc: -32029, exit: 1, about: 'The daemon has as many groups as it allows.' },
  PROFILE_NOT_FOUND: { rpc: -32024, exit: 2, about: 'No profile has this name.' },
  SCOPE_CLOSED: { rpc: -32025, exit: 1, about: 'The scope is closed, or never was, so it takes no jobs.' },
  SCOPE_NOT_FOUND: { rpc: -32037, exit: 1, about: 'No scope has this id: it never was, or its report is gone.' },
  SCOPE_NOT_EMPTY: {
    rpc: -32057,
    exit: 125,
    about: 'The scope was closed, and not all of its jobs could be ended (reported by the client).',
  },
  TOO_MANY_SCOPES: { rpc: -32038, exit: 75, about: 'As many scopes are open as the daemon allows.' },
  LIMIT_UNENFORCEABLE: { rpc: -32026, exit: 1, about: 'This host cannot enforce a limit that the job asks for.' },
  JOB_NOT_QUEUED: { rpc: -32027, exit: 1, about: 'The job has started or ended, so it cannot be changed any more.' },
  QUEUE_FULL: { rpc: -32014, exit: 75, about: 'The group holds as many queued jobs as it allows.' },
  DISK_LOW: {
    rpc: -32020,
    exit: 75,
    about: 'Too little room on the disk; nothing is accepted or started until there is.',
  },
  IDEMPOTENCY_MISMATCH: { rpc: -32015, exit: 2, about: 'The idempotency key belongs to a job with another command.' },
  WAIT_TIMEOUT: {
    rpc: -32016,
    exit: 124,
    about: 'The job had not ended when the time of the wait was over (reported by the client).',
  },
  SHUTTING_DOWN: { rpc: -32017, exit: 3, about: 'The daemon is stopping and admits nothing new.' },
  STORE_FAILED: {
    rpc: -32018,
    exit: 125,
    about: 'The store could not be written or read; the message says whether anything was done.',
  },
  STORE_DAMAGED: { rpc: -32022, exit: 125, about: 'The file of the store is damaged; it was left as it is.' },
  OUTPUT_UNREADABLE: { rpc: -32019, exit: 125, about: 'The output file of the job could not be read.' },
  CONFIG_INVALID: { rpc: -32021, exit: 78, about: 'The configuration file or a CORRAL_ variable cannot be used.' },
  DAEMON_UNREACHABLE: { rpc: -32050, exit: 3, about: 'No daemon answers on the socket (reported by the client).' },
  DAEMON_START_FAILED: { rpc: -32051, exit: 3, about: 'The daemon could not be started (reported by the client).' },
  DAEMON_RUNNING: {
    rpc: -32055,
    exit: 1,
    about: 'Another daemon already serves this state directory (reported by the one that starts).',
  },
  CONNECTION_LOST: {
    rpc: -32052,
    exit: 125,
    about: 'The daemon went away during a call that cannot be repeated (reported by the client).',
  },
  CALL_TIMEOUT: { rpc: -32053, exit: 125, about: 'The daemon gave no answer in time (reported by the client).' },
  OUTPUT_UNWRITABLE: {
    rpc: -32056,
    exit: 125,
    about: 'What should be shown cannot be written (reported by the client).',
  },
  CLIENT_CLOSED: {
    rpc: -32054,
    exit: 125,
    about: 'The client was closed while the call was under way (reported by the client).',
  },
} as const satisfies Record<string, { rpc: number; exit: number; about: string }>;

export type ErrorCode = keyof typeof errorTable;

/** An error with a code from `errorTable` and a message that says what to do next. */
export class CorralError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CorralError';
    this.code = code;
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(errorTable, value);
}

/** Whether `error` is a failed system call with one of these codes (`ENOENT`, `ESRCH`, …). */
export function isErrno(error: unknown, ...codes: readonly string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code);
}

/** For the `default` of a switch over a union: a new member becomes a type error. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}

/** What a log says of an error that nobody foresaw. */
export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
