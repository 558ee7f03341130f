import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type CorralPaths, isErrorCode, resolvePaths } from '../../src/protocol/index.ts';

const someone = 1_000;

const resolved: { name: string; env: Record<string, string>; uid?: number; paths: Partial<CorralPaths> }[] = [
  {
    name: 'root has the places of the system, whatever its session says',
    uid: 0,
    env: { HOME: '/root', XDG_STATE_HOME: '/x', XDG_RUNTIME_DIR: '/y' },
    paths: {
      stateDir: '/var/lib/corral',
      runtimeDir: '/run/corral',
      socket: '/run/corral/corral.sock',
      socketIsExplicit: false,
    },
  },
  {
    name: 'a user has those of the session',
    env: { HOME: '/home/u', XDG_STATE_HOME: '/home/u/state', XDG_RUNTIME_DIR: '/run/user/1000' },
    paths: {
      stateDir: '/home/u/state/corral',
      runtimeDir: '/run/user/1000/corral',
      socket: '/run/user/1000/corral/corral.sock',
      socketIsExplicit: false,
    },
  },
  {
    name: 'a user without a session has a folder below HOME and a private one in /tmp',
    env: { HOME: '/home/u' },
    paths: {
      stateDir: '/home/u/.local/state/corral',
      runtimeDir: '/tmp/corral-1000',
      socket: '/tmp/corral-1000/corral.sock',
    },
  },
  {
    name: 'the folders can be named',
    env: { CORRAL_STATE_DIR: '/s', CORRAL_RUNTIME_DIR: '/r' },
    paths: { stateDir: '/s', runtimeDir: '/r', socket: '/r/corral.sock', socketIsExplicit: false },
  },
  {
    name: 'root can name them, too',
    uid: 0,
    env: { CORRAL_STATE_DIR: '/s', CORRAL_RUNTIME_DIR: '/r' },
    paths: { stateDir: '/s', runtimeDir: '/r' },
  },
  {
    name: 'the socket can be named, and is explicit then',
    env: { HOME: '/home/u', CORRAL_RUNTIME_DIR: '/r', CORRAL_SOCKET: '/elsewhere/c.sock' },
    paths: { runtimeDir: '/r', socket: '/elsewhere/c.sock', socketIsExplicit: true },
  },
  {
    name: 'an empty variable is an absent one',
    env: { HOME: '/home/u', CORRAL_STATE_DIR: '', CORRAL_SOCKET: '', XDG_RUNTIME_DIR: '' },
    paths: {
      stateDir: '/home/u/.local/state/corral',
      socket: '/tmp/corral-1000/corral.sock',
      socketIsExplicit: false,
    },
  },
  {
    name: 'a slash at the end is left out',
    env: { HOME: '/home/u/', CORRAL_RUNTIME_DIR: '/r/' },
    paths: { stateDir: '/home/u/.local/state/corral', socket: '/r/corral.sock' },
  },
  {
    name: 'HOME is not needed where the state has its place',
    env: { CORRAL_STATE_DIR: '/s' },
    paths: { stateDir: '/s', runtimeDir: '/tmp/corral-1000' },
  },
];

describe('places', () => {
  for (const { name, env, uid, paths } of resolved) {
    test(name, () => {
      const found = resolvePaths(env, uid ?? someone);
      assert.deepEqual({ ...found, ...paths }, found);
    });
  }
});

const refused: { name: string; env: Record<string, string>; says: string[] }[] = [
  { name: 'no place for the state', env: {}, says: ['HOME', 'CORRAL_STATE_DIR'] },
  ...['CORRAL_STATE_DIR', 'CORRAL_RUNTIME_DIR', 'CORRAL_SOCKET', 'XDG_RUNTIME_DIR', 'XDG_STATE_HOME', 'HOME'].map(
    (name) => ({ name: `a relative ${name}`, env: { HOME: '/h', [name]: 'here' }, says: [name, '"here"'] }),
  ),
  {
    name: 'a socket path that the kernel would not take',
    env: { HOME: '/h', CORRAL_SOCKET: `/${'s'.repeat(107)}` },
    says: ['108 bytes', '107', 'CORRAL_RUNTIME_DIR'],
  },
  {
    name: 'one that is too long in bytes alone',
    env: { HOME: '/h', CORRAL_SOCKET: `/${'ü'.repeat(54)}` },
    says: ['109 bytes'],
  },
];

describe('what is refused', () => {
  for (const { name, env, says } of refused) {
    test(`${name}, with words that help`, () => {
      assert.throws(
        () => resolvePaths(env, someone),
        (error) => {
          assert.ok(error instanceof Error && 'code' in error && isErrorCode(error.code));
          assert.equal(error.code, 'INVALID_PARAMS');
          for (const word of says) assert.ok(error.message.includes(word), error.message);
          return true;
        },
      );
    });
  }

  test('a socket path of the largest length is taken', () => {
    const socket = `/${'s'.repeat(106)}`;
    assert.equal(resolvePaths({ HOME: '/h', CORRAL_SOCKET: socket }, someone).socket, socket);
  });
});
