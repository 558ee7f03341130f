import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';

export function daemonStatus(_params: ParsedParams<'daemon.status'>, { backend }: Call): MethodResult<'daemon.status'> {
  return backend.status();
}

export function daemonHealth(_params: ParsedParams<'daemon.health'>, { backend }: Call): MethodResult<'daemon.health'> {
  return backend.health();
}

export function daemonReload(_params: ParsedParams<'daemon.reload'>, { backend }: Call): MethodResult<'daemon.reload'> {
  return { config: backend.reload() };
}

export function daemonStop(_params: ParsedParams<'daemon.stop'>, { backend }: Call): MethodResult<'daemon.stop'> {
  backend.stop();
  return { pid: process.pid };
}
