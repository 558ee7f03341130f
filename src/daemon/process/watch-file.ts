import fs from 'node:fs';
import { isErrno } from '../../protocol/index.ts';

/** How often it is looked at where the kernel has no inotify watch left to give. */
const withoutWatchMs = 50;

/** Calls back when the file has changed, and now and then where the kernel cannot say. Returns how to stop. */
export function watchFile(path: string, onChange: () => void): () => void {
  try {
    const watcher = fs.watch(path, onChange);
    return () => watcher.close();
  } catch (error) {
    if (!isErrno(error, 'ENOSPC', 'EMFILE', 'ENFILE', 'ENOENT')) throw error;
    const timer = setInterval(onChange, withoutWatchMs);
    return () => clearInterval(timer);
  }
}
