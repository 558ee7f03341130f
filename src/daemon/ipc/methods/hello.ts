import {
  CorralError,
  type MethodResult,
  type ParsedParams,
  protocolVersions,
  version,
} from '../../../protocol/index.ts';

/** Picks the newest version that both sides speak. */
export function hello({ protocols }: ParsedParams<'hello'>): MethodResult<'hello'> {
  const protocol = protocolVersions.find((candidate) => protocols.includes(candidate));
  if (protocol === undefined) {
    throw new CorralError(
      'PROTOCOL_MISMATCH',
      `This daemon (corral ${version}) speaks protocol ${protocolVersions.join(', ')}; the client offered ${protocols.join(', ')}. Use a client of the same version, or restart the daemon.`,
    );
  }
  return { protocol, version, pid: process.pid };
}
