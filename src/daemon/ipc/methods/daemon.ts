import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function daemonStatus(_params: ParsedParams<'daemon.status'>, { backend }: Call): MethodResult<'daemon.status'> {
  return backend.status();
}

export function daemonStop(_params: ParsedParams<'daemon.stop'>, { backend }: Call): MethodResult<'daemon.stop'> {
  backend.stop();
  return { pid: process.pid };
}
