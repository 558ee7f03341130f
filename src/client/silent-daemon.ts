/** What to say of a daemon that takes connections and answers nothing: to start one would not help. */
import fs from 'node:fs';
import { CorralError, type CorralPaths, isErrno } from '../protocol/index.ts';

/** @param pid as the daemon said it in its hello; `null` where it did not get that far */
export function silentDaemon(error: CorralError, paths: CorralPaths, pid: number | null): CorralError {
  const known = pid ?? lockHolder(paths);
  const journal = process.getuid?.() === 0 ? 'journalctl -u corral' : 'journalctl --user -u corral';
  const log = paths.socketIsExplicit ? 'daemon.log in its state directory' : `${paths.stateDir}/daemon.log`;
  const end = known === null ? 'kill -9 with the pid in daemon.lock of its state directory' : `kill -9 ${known}`;
  return new CorralError(
    'CALL_TIMEOUT',
    `${error.message} The daemon${known === null ? '' : ` (pid ${known})`} takes connections on ${paths.socket}, so it hangs, is stopped, or is very busy. Its log: ${log}, or under systemd ${journal}. Under systemd the watchdog ends one that hangs; else end it, and its jobs with it: ${end}`,
  );
}

/** Of a socket that was named, nobody knows the state directory. */
function lockHolder({ stateDir, socketIsExplicit }: CorralPaths): number | null {
  if (socketIsExplicit) return null;
  try {
    const pid = Number(fs.readFileSync(`${stateDir}/daemon.lock`, 'utf8'));
    return pid > 0 && fs.existsSync(`/proc/${pid}`) ? pid : null;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EACCES', 'ENOTDIR')) return null;
    throw error;
  }
}
