import { z } from 'zod';
import { CorralError, type ErrorCode, errorTable, isErrorCode } from './errors.ts';

/** Versions of the protocol that this build speaks, newest first. `hello` picks the newest that both sides know. */
export const protocolVersions = [1] as const;

/** Notification to every client when the daemon stops in order: there is no use in starting another. */
export const stoppingEvent = 'daemon.stopping';

export const requestSchema = z.strictObject({
  jsonrpc: z.literal('2.0'),
  id: z.union([z.number().int().safe(), z.string().max(256)]),
  method: z.string().max(128),
  params: z.record(z.string(), z.unknown()).optional(),
});

export type RpcRequest = z.infer<typeof requestSchema>;
export type RpcId = RpcRequest['id'];

export const responseSchema = z.object({
  jsonrpc: z.literal('2.0'),
  id: z.union([z.number(), z.string(), z.null()]),
  result: z.unknown().optional(),
  error: z
    .object({
      code: z.number(),
      message: z.string(),
      data: z.object({ code: z.string() }).optional(),
    })
    .optional(),
});

export type RpcResponse = z.infer<typeof responseSchema>;

export function rpcResult(id: RpcId, result: unknown): RpcResponse {
  return { jsonrpc: '2.0', id, result };
}

export function rpcError(id: RpcId | null, code: ErrorCode, message: string): RpcResponse {
  return { jsonrpc: '2.0', id, error: { code: errorTable[code].rpc, message, data: { code } } };
}

/** The error of a response as the class that callers catch. */
export function toCorralError(error: NonNullable<RpcResponse['error']>): CorralError {
  const code = error.data?.code;
  return new CorralError(isErrorCode(code) ? code : 'INTERNAL', error.message);
}
