import {
  CorralError,
  describeIssues,
  isListed,
  isMethodName,
  type MethodName,
  methods,
  type RpcId,
  type RpcRequest,
  type RpcResponse,
  requestSchema,
  rpcError,
  rpcResult,
} from '../../protocol/index.ts';
import type { Call } from './backend.ts';
import { handlers } from './methods/index.ts';

export const callLimits = {
  /** Calls of one connection that wait for their answers. */
  maxCalls: 1_000,
  /** So many more are taken if they are not to be held: whoever waits for a thousand jobs may still cancel them. */
  extraShortCalls: 100,
  /** Bytes of the requests that wait together; a `wait` for 5,000 jobs costs more than one for one. */
  maxRequestBytes: 4 * 1024 * 1024,
} as const;

/** What a connection has said so far, and what it waits for. */
export interface Session {
  hasSaidHello: boolean;
  calls: number;
  requestBytes: number;
}

/** Answers one request. Never throws: every failure is a coded answer, and what nobody foresaw goes to `onUnforeseen` as well. */
export async function dispatch(
  data: unknown,
  bytes: number,
  session: Session,
  call: Call,
  onUnforeseen: (error: unknown, method: string) => void,
): Promise<RpcResponse> {
  const request = requestSchema.safeParse(data);
  if (!request.success) {
    return rpcError(
      idOf(data),
      'INVALID_REQUEST',
      `This is no JSON-RPC 2.0 request (${describeIssues(request.error, ['request'])}). Send {"jsonrpc":"2.0","id":1,"method":…,"params":{…}}.`,
    );
  }
  const { id, method, params } = request.data;
  session.calls += 1;
  session.requestBytes += bytes;
  try {
    if (!isMethodName(method)) {
      throw new CorralError(
        'METHOD_NOT_FOUND',
        `There is no method "${method.slice(0, 64)}". Known methods: ${Object.keys(methods).join(', ')}.`,
      );
    }
    if (method !== 'hello' && !session.hasSaidHello) {
      throw new CorralError(
        'HELLO_REQUIRED',
        'Say hello first, to agree on a protocol version: {"method":"hello","params":{"protocols":[1]}}.',
      );
    }
    checkCrowd(session, method, request.data);
    const result = run(method, params ?? {}, call);
    // Before anything is awaited: requests that were sent right behind the hello are already being looked at.
    if (method === 'hello') session.hasSaidHello = true;
    return rpcResult(id, await result);
  } catch (error) {
    if (error instanceof CorralError) {
      // Clients go by the list: a code beyond it is a defect here.
      if (isMethodName(method) && !isListed(error.code, method)) onUnforeseen(error, method);
      return rpcError(id, error.code, error.message);
    }
    onUnforeseen(error, method);
    return rpcError(
      id,
      'INTERNAL',
      `The daemon failed at "${method}". Its log says more: corral daemon status shows where it is.`,
    );
  } finally {
    session.calls -= 1;
    session.requestBytes -= bytes;
  }
}

/** @throws CorralError `TOO_MANY_CALLS` before anything was done, so the call may be repeated whatever it is */
function checkCrowd({ calls, requestBytes }: Session, method: MethodName, { params }: RpcRequest): void {
  const isHeld = 'holdMs' in methods[method].params.shape && params?.holdMs !== 0;
  const others = calls - 1;
  const isTooMany = others >= callLimits.maxCalls + (isHeld ? 0 : callLimits.extraShortCalls);
  if (!isTooMany && (others === 0 || requestBytes <= callLimits.maxRequestBytes)) return;
  throw new CorralError(
    'TOO_MANY_CALLS',
    `This connection waits for the answers to ${others} calls, and no more are taken. Repeat it after some of them, or name several jobs in one call.`,
  );
}

function run(method: MethodName, params: unknown, call: Call): unknown {
  const parsed = methods[method].params.safeParse(params);
  if (!parsed.success) throw new CorralError('INVALID_PARAMS', `${describeIssues(parsed.error)}.`);
  const handler = handlers[method] as (params: unknown, call: Call) => unknown;
  return handler(parsed.data, call);
}

function idOf(data: unknown): RpcId | null {
  if (typeof data !== 'object' || data === null || !Object.hasOwn(data, 'id')) return null;
  const { id } = data as { id: unknown };
  return typeof id === 'number' || typeof id === 'string' ? id : null;
}
