import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { canMark, decodeMark, encodeMark, type Mark, readMark, withMark } from '../../src/daemon/linux/index.ts';
import { Marker } from '../../src/daemon/process/marks.ts';

const launches = 2 ** 24;
const anyMark: fc.Arbitrary<Mark> = fc
  .tuple(fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 0, max: launches - 1 }))
  .map(([instance, launch]) => ({ instance, launch }));
const magic = (value: bigint) => value >> 56n;

describe('the number', () => {
  test('every mark is read back as it was', () => {
    fc.assert(fc.property(anyMark, (mark) => assert.deepEqual(decodeMark(encodeMark(mark)), mark)));
  });

  const corners: Mark[] = [
    { instance: 0, launch: 0 },
    { instance: 0xffff_ffff, launch: launches - 1 },
    { instance: 0x8000_0000, launch: 1 },
    { instance: 0x7fff_ffff, launch: 0x80_0000 },
  ];
  for (const mark of corners)
    test(`${JSON.stringify(mark)} is read back`, () => assert.deepEqual(decodeMark(encodeMark(mark)), mark));

  test('two marks are never the same number', () => {
    fc.assert(
      fc.property(anyMark, anyMark, (a, b) => {
        const same = a.instance === b.instance && a.launch === b.launch;
        assert.equal(encodeMark(a) === encodeMark(b), same);
      }),
    );
  });

  test('it fits 64 bits and limits nothing: over 200,000 years of CPU time in microseconds', () => {
    fc.assert(
      fc.property(anyMark, (mark) => {
        const value = encodeMark(mark);
        assert.equal(BigInt.asUintN(64, value), value);
        assert.ok(value / 1_000_000n / 86_400n / 365n > 200_000n);
      }),
    );
  });

  test('what is no mark is not taken for one', () => {
    for (const value of [0n, 200_000n, 2n ** 63n, 2n ** 64n - 1n]) assert.equal(decodeMark(value), null);
    const value = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(value, (number) =>
        assert.equal(decodeMark(number) !== null, magic(number) === magic(encodeMark({ instance: 0, launch: 0 }))),
      ),
    );
  });

  test('the launch wraps after 16 million', () => {
    assert.deepEqual(decodeMark(encodeMark({ instance: 5, launch: launches + 3 })), { instance: 5, launch: 3 });
  });
});

describe('on processes', { skip: canMark() ? false : 'the hard limit of RLIMIT_RTTIME is low here' }, () => {
  const mark: Mark = { instance: 0xdead_beef, launch: 42 };
  const askChild = () => {
    const { stdout } = spawnSync(
      '/bin/sh',
      ['-c', 'exec env -i /bin/sh -c "ulimit -R 2>/dev/null; grep -i realtime.timeout /proc/self/limits"'],
      {
        encoding: 'utf8',
      },
    );
    return /\b(\d{5,})\b/.exec(stdout)?.[1];
  };

  test('a child that is spawned inside carries the mark, through exec and a wiped environment; its parent does not', () => {
    const before = readMark(process.pid);
    const seen = withMark(mark, () => {
      assert.deepEqual(readMark(process.pid), mark);
      return askChild();
    });
    assert.equal(seen, String(encodeMark(mark)));
    assert.deepEqual(readMark(process.pid), before);
    assert.notEqual(askChild(), String(encodeMark(mark)), 'control: outside there is no mark');
  });

  test('the mark is taken off where the spawn throws', () => {
    assert.throws(
      () =>
        withMark(mark, () => {
          throw new Error('no spawn');
        }),
      /no spawn/,
    );
    assert.equal(readMark(process.pid), null);
  });

  test('a process that does not exist has none', () => assert.equal(readMark(2 ** 22 + 1), null));
});

test('a mark that was handed out is read back as itself, after 16 million launches too', () => {
  const marker = new Marker(5);
  for (let launch = 1; launch < launches; launch += 1) marker.next();
  const mark = marker.next();
  assert.deepEqual(decodeMark(encodeMark(mark)), mark);
});
