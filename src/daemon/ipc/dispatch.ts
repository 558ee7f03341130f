import {
  CorralError,
  describeIssues,
  isMethodName,
  type MethodName,
  methods,
  type RpcId,
  type RpcResponse,
  requestSchema,
  rpcError,
  rpcResult,
} from '../../protocol/index.ts';
import type { Call } from './backend.ts';
import { handlers } from './methods/index.ts';

/** What a connection has said so far. */
export interface Session {
  hasSaidHello: boolean;
}

/** Answers one request. Never throws: every failure is a coded answer, and what nobody foresaw goes to `onUnforeseen` as well. */
export async function dispatch(
  data: unknown,
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
    const result = run(method, params ?? {}, call);
    // Before anything is awaited: requests that were sent right behind the hello are already being looked at.
    if (method === 'hello') session.hasSaidHello = true;
    return rpcResult(id, await result);
  } catch (error) {
    if (error instanceof CorralError) return rpcError(id, error.code, error.message);
    onUnforeseen(error, method);
    return rpcError(
      id,
      'INTERNAL',
      `The daemon failed at "${method}". Its log says more: corral daemon status shows where it is.`,
    );
  }
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
