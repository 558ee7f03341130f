import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  CorralError,
  type ErrorCode,
  errorTable,
  isErrno,
  isErrorCode,
  rpcError,
  toCorralError,
} from '../../src/protocol/index.ts';

/** design.md, section 8. */
const exitCodes = [0, 1, 2, 3, 75, 78, 124, 125];
/** JSON-RPC 2.0, section 5.1: what is reserved, and what of that is left to servers. */
const jsonRpcCodes = [-32700, -32600, -32601, -32602, -32603];
const entries = Object.entries(errorTable) as [ErrorCode, { rpc: number; exit: number; about: string }][];

describe('the table', () => {
  test('no number is used twice', () => {
    const numbers = entries.map(([, { rpc }]) => rpc);
    assert.equal(new Set(numbers).size, numbers.length);
  });

  for (const [code, { rpc, exit, about }] of entries) {
    test(`${code} has a number that JSON-RPC allows, an exit code of the CLI, and a sentence`, () => {
      assert.match(code, /^[A-Z]+(_[A-Z]+)*$/);
      assert.ok(jsonRpcCodes.includes(rpc) || (rpc <= -32000 && rpc >= -32099), String(rpc));
      assert.ok(exitCodes.includes(exit) && exit !== 0, String(exit));
      assert.match(about, /^[A-Z].*\.$/);
    });
  }

  const promised: [ErrorCode, number][] = [
    ['INVALID_PARAMS', 2],
    ['DAEMON_UNREACHABLE', 3],
    ['QUEUE_FULL', 75],
    ['WAIT_TIMEOUT', 124],
    ['INTERNAL', 125],
  ];
  for (const [code, exit] of promised)
    test(`${code} exits with ${exit}`, () => assert.equal(errorTable[code].exit, exit));
});

describe('on the wire', () => {
  for (const [code] of entries) {
    test(`${code} arrives as it was sent`, () => {
      const { id, error } = rpcError(7, code, 'Do this.');
      assert.equal(id, 7);
      assert.ok(error);
      const arrived = toCorralError(error);
      assert.ok(arrived instanceof CorralError);
      assert.deepEqual([arrived.code, arrived.message, arrived.name], [code, 'Do this.', 'CorralError']);
    });
  }

  for (const code of ['NEWER_THAN_US', '__proto__', 'constructor', 'toString']) {
    test(`a code that is not known, ${code}, arrives as INTERNAL with its message`, () => {
      const arrived = toCorralError({ code: -1, message: 'Hm.', data: { code } });
      assert.deepEqual([arrived.code, arrived.message], ['INTERNAL', 'Hm.']);
      assert.equal(isErrorCode(code), false);
    });
  }

  test('an error without a code of ours arrives as INTERNAL', () => {
    assert.equal(toCorralError({ code: -32601, message: 'Hm.' }).code, 'INTERNAL');
  });
});

test('a failed system call is told by its code, and nothing else is', () => {
  const enoent = Object.assign(new Error('gone'), { code: 'ENOENT' });
  assert.equal(isErrno(enoent, 'ESRCH', 'ENOENT'), true);
  assert.equal(isErrno(enoent, 'ESRCH'), false);
  assert.equal(isErrno(enoent), false);
  for (const other of [new Error('gone'), { code: 'ENOENT' }, null, 'ENOENT', Object.assign(new Error(), { code: 2 })])
    assert.equal(isErrno(other, 'ENOENT'), false);
});
