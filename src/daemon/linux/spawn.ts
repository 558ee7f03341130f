import { bytesFromText } from '../../protocol/index.ts';
import {
  posixSpawn,
  spawnActionsChdir,
  spawnActionsDestroy,
  spawnActionsDup2,
  spawnActionsInit,
  spawnAttrFlags,
  spawnAttrInit,
  spawnAttrSigDefault,
  spawnAttrSigMask,
  systemError,
} from './libc.ts';

const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;

/** Larger than glibc's and musl's posix_spawn_file_actions_t (80 bytes) and posix_spawnattr_t (336 bytes). */
const actionsBytes = 128;
const attributesBytes = 512;
const sigsetBytes = 128;

let attributes: Buffer | undefined;

/** New session, no signal blocked, every signal at its default: Node ignores SIGPIPE, and a job must not inherit that. */
function sessionAttributes(): Buffer {
  if (attributes === undefined) {
    attributes = Buffer.alloc(attributesBytes);
    const everySignal = Buffer.alloc(sigsetBytes, 0xff);
    const noSignal = Buffer.alloc(sigsetBytes);
    expectZero('posix_spawnattr_init', spawnAttrInit(attributes));
    expectZero(
      'posix_spawnattr_setflags',
      spawnAttrFlags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK),
    );
    expectZero('posix_spawnattr_setsigdefault', spawnAttrSigDefault(attributes, everySignal));
    expectZero('posix_spawnattr_setsigmask', spawnAttrSigMask(attributes, noSignal));
  }
  return attributes;
}

/** Texts stand for bytes, see protocol/bytes.ts. */
export interface SpawnRequest {
  readonly path: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Open descriptors that become 0, 1 and 2 of the child. */
  readonly stdio: readonly [number, number, number];
}

/**
 * Starts a program as the leader of a new session. The cost does not grow with this process's heap, as fork's does.
 *
 * @returns its pid
 * @throws an error with `code` (`ENOENT`, `EACCES`, `E2BIG`, …) where the program could not be executed
 */
export function spawnSession(request: SpawnRequest): number {
  const actions = Buffer.alloc(actionsBytes);
  expectZero('posix_spawn_file_actions_init', spawnActionsInit(actions));
  try {
    request.stdio.forEach((fd, target) => {
      expectZero('posix_spawn_file_actions_adddup2', spawnActionsDup2(actions, fd, target));
    });
    expectZero('posix_spawn_file_actions_addchdir_np', spawnActionsChdir(actions, cString(request.cwd)));
    const pid: [number] = [0];
    const argv = request.argv.map(cString);
    const envp = Object.entries(request.env).map(([name, value]) => cString(`${name}=${value}`));
    expectZero(
      'posix_spawn',
      posixSpawn(pid, cString(request.path), actions, sessionAttributes(), [...argv, null], [...envp, null]),
    );
    return pid[0];
  } finally {
    spawnActionsDestroy(actions);
  }
}

/**
 * koffi writes a string as UTF-8, with U+FFFD for what is none. A buffer it passes as it is, by its address: the arguments of the
 * call hold on to it until the call, which is synchronous, has returned.
 */
function cString(text: string): string | Buffer {
  return text.isWellFormed() ? text : Buffer.concat([bytesFromText(text), Buffer.alloc(1)]);
}

/** The posix_spawn family returns the error number itself. */
function expectZero(syscall: string, errno: number): void {
  if (errno !== 0) throw systemError(syscall, errno);
}
