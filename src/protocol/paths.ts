import { CorralError } from './errors.ts';

export interface CorralPaths {
  /** Holds the store, the output of jobs, the locks and the daemon's log. Mode 0700. */
  readonly stateDir: string;
  /** Holds the socket. Mode 0700. */
  readonly runtimeDir: string;
  readonly socket: string;
  /** Whether the caller named the socket; a daemon is then never started by itself. */
  readonly socketIsExplicit: boolean;
  /** Settings. The file need not exist, unless the caller named it. */
  readonly configFile: string;
  readonly configIsExplicit: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** sockaddr_un.sun_path has 108 bytes, one of them for the final NUL. unix(7) */
const maxSocketPathBytes = 107;

/**
 * Where a daemon keeps its things, from the environment alone. root has the system places (`/var/lib/corral`, `/run/corral`),
 * everyone else the XDG ones. `CORRAL_STATE_DIR`, `CORRAL_RUNTIME_DIR`, `CORRAL_SOCKET` and
 * `CORRAL_CONFIG` override.
 *
 * @throws CorralError `INVALID_PARAMS` where no place can be derived or the socket's path is too long for the kernel
 */
export function resolvePaths(env: Environment, uid: number): CorralPaths {
  const stateDir = absolute(env, 'CORRAL_STATE_DIR') ?? defaultStateDir(env, uid);
  const runtimeDir = absolute(env, 'CORRAL_RUNTIME_DIR') ?? defaultRuntimeDir(env, uid);
  const explicit = absolute(env, 'CORRAL_SOCKET');
  const socket = explicit ?? `${runtimeDir}/corral.sock`;
  const bytes = Buffer.byteLength(socket);
  if (bytes > maxSocketPathBytes) {
    throw new CorralError(
      'INVALID_PARAMS',
      `The socket path ${socket} has ${bytes} bytes, and the kernel takes at most ${maxSocketPathBytes}. Set CORRAL_RUNTIME_DIR to a shorter folder.`,
    );
  }
  const config = absolute(env, 'CORRAL_CONFIG');
  return {
    stateDir,
    runtimeDir,
    socket,
    socketIsExplicit: explicit !== undefined,
    configFile: config ?? defaultConfigFile(env, uid),
    configIsExplicit: config !== undefined,
  };
}

/** Without a home there is no user's file; the system's is then the only one. */
function defaultConfigFile(env: Environment, uid: number): string {
  const home = absolute(env, 'HOME');
  const xdg = absolute(env, 'XDG_CONFIG_HOME') ?? (home === undefined ? undefined : `${home}/.config`);
  return uid === 0 || xdg === undefined ? '/etc/corral/config.toml' : `${xdg}/corral/config.toml`;
}

function defaultStateDir(env: Environment, uid: number): string {
  if (uid === 0) return '/var/lib/corral';
  const xdg = absolute(env, 'XDG_STATE_HOME');
  if (xdg !== undefined) return `${xdg}/corral`;
  const home = absolute(env, 'HOME');
  if (home !== undefined) return `${home}/.local/state/corral`;
  throw new CorralError(
    'INVALID_PARAMS',
    'HOME is not set, so there is no place for the state. Set HOME, XDG_STATE_HOME or CORRAL_STATE_DIR.',
  );
}

function defaultRuntimeDir(env: Environment, uid: number): string {
  if (uid === 0) return '/run/corral';
  const xdg = absolute(env, 'XDG_RUNTIME_DIR');
  // /tmp is shared: the daemon and the client both refuse a folder there that is not the user's own and private.
  return xdg === undefined ? `/tmp/corral-${uid}` : `${xdg}/corral`;
}

function absolute(env: Environment, name: string): string | undefined {
  const value = env[name];
  if (value === undefined || value === '') return undefined;
  if (!value.startsWith('/')) {
    throw new CorralError(
      'INVALID_PARAMS',
      `${name} is "${value}", which is not an absolute path. Write it in full, from / on.`,
    );
  }
  return value.length > 1 && value.endsWith('/') ? value.slice(0, -1) : value;
}

/**
 * One of our programs, by its path from the importing file without the extension: TypeScript in a checkout, JavaScript in an
 * installed package.
 *
 * @param importer the caller's `import.meta.url`
 */
export function programUrl(program: string, importer: string): URL {
  return new URL(program + importer.slice(importer.lastIndexOf('.')), importer);
}
