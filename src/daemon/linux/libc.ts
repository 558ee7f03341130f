/**
 * The system calls that Node has no binding for, through koffi. One declaration per function; what they mean for corral is
 * said in the files beside this one. Only 64-bit little-endian Linux with glibc or musl is supported: the sizes below are theirs.
 */
import os from 'node:os';
import koffi from 'koffi';

const libc = koffi.load(null as unknown as string);

/** A C function that reports failure by −1 and errno. */
function call(signature: string): (...args: unknown[]) => number {
  return libc.func(signature) as unknown as (...args: unknown[]) => number;
}

export const prctl = call('int prctl(int option, ulong arg2, ulong arg3, ulong arg4, ulong arg5)');
export const prlimit = call('int prlimit(int pid, int resource, void* new_limit, void* old_limit)');
export const setpriority = call('int setpriority(int which, uint32_t who, int priority)');
export const fallocate = call('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
export const waitid = call('int waitid(int idtype, uint32_t id, void* info, int options)');
export const wait4 = call('int wait4(int pid, void* status, int options, void* usage)');
export const flock = call('int flock(int fd, int operation)');
export const getsockopt = call('int getsockopt(int fd, int level, int name, void* value, void* length)');
export const getpeername = call('int getpeername(int fd, void* address, void* length)');
export const socket = call('int socket(int domain, int type, int protocol)');
export const sendto = call(
  'long sendto(int fd, const void* message, size_t length, int flags, const void* address, uint32_t address_length)',
);
export const clockGettime = call('int clock_gettime(int clock, void* time)');
export const mkfifo = call('int mkfifo(const char* path, uint32_t mode)');
export const getxattr = call('long getxattr(const char* path, const char* name, void* value, size_t size)');

const syscall3 = call('long syscall(long number, long a, long b, long c)');
const syscall4 = call('long syscall(long number, long a, long b, void* c, long d)');
/** Numbers are the same on every architecture since Linux 5.1. pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2) */
const sysPidfdSendSignal = 424;
const sysPidfdOpen = 434;
const sysPidfdGetfd = 438;

export function pidfdOpen(pid: number): number {
  return syscall3(sysPidfdOpen, pid, 0, 0);
}

/** Since Linux 5.6. */
export function pidfdGetfd(pidfd: number, fd: number): number {
  return syscall3(sysPidfdGetfd, pidfd, fd, 0);
}

export function pidfdSendSignal(pidfd: number, signal: number): number {
  return syscall4(sysPidfdSendSignal, pidfd, signal, null, 0);
}

// posix_spawn(3). Its functions return the error number, they do not set errno.
export const posixSpawn = libc.func(
  'int posix_spawn(_Out_ int* pid, const char* path, void* actions, void* attributes, const char** argv, const char** envp)',
) as unknown as (
  pid: [number],
  path: string | Buffer,
  actions: Buffer,
  attributes: Buffer,
  argv: (string | Buffer | null)[],
  envp: (string | Buffer | null)[],
) => number;
export const spawnActionsInit = call('int posix_spawn_file_actions_init(void* actions)');
export const spawnActionsDestroy = call('int posix_spawn_file_actions_destroy(void* actions)');
export const spawnActionsDup2 = call('int posix_spawn_file_actions_adddup2(void* actions, int fd, int newfd)');
export const spawnActionsChdir = call('int posix_spawn_file_actions_addchdir_np(void* actions, const char* path)');
export const spawnAttrInit = call('int posix_spawnattr_init(void* attributes)');
export const spawnAttrFlags = call('int posix_spawnattr_setflags(void* attributes, short flags)');
export const spawnAttrSigDefault = call('int posix_spawnattr_setsigdefault(void* attributes, void* set)');
export const spawnAttrSigMask = call('int posix_spawnattr_setsigmask(void* attributes, void* set)');

/** Name of an error number: `ENOENT`. */
export function errnoName(errno: number): string {
  const found = Object.entries(os.constants.errno).find(([, value]) => value === errno);
  return found ? found[0] : `errno ${errno}`;
}

/** errno of the last call made through koffi on this thread. */
export function lastErrno(): number {
  return koffi.errno();
}

/** A failed system call as the error that Node's own calls would throw. */
export function systemError(name: string, errno: number = lastErrno()): NodeJS.ErrnoException {
  const code = errnoName(errno);
  return Object.assign(new Error(`${name} failed with ${code}`), { code, errno, syscall: name });
}

/** Throws where a call that reports by −1 failed. */
export function checked(name: string, result: number): number {
  if (result === -1) throw systemError(name);
  return result;
}
