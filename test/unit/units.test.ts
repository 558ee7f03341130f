import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { formatDuration, formatRate, parseDuration, parseRate } from '../../src/protocol/index.ts';

describe('durations are read', () => {
  const read: [text: string, ms: number | null][] = [
    ['500ms', 500],
    ['20s', 20_000],
    ['30m', 1_800_000],
    ['24h', 86_400_000],
    ['60d', 5_184_000_000],
    ['1.5s', 1_500],
    ['0.5ms', 1],
    ['off', null],
    ['0', null],
    ['0s', null],
    ['36500d', 3_153_600_000_000],
  ];
  for (const [text, ms] of read) test(`${text} is ${ms}`, () => assert.equal(parseDuration(text), ms));

  test('a duration that is not zero is never read as none', () => {
    for (const text of ['0.4ms', '0.0001s', '0.000001m']) assert.notEqual(parseDuration(text), null, text);
  });

  const refused = [
    '',
    ' ',
    '5',
    '-1s',
    '1 s',
    '1S',
    '1w',
    's',
    '1.s',
    '.5s',
    '1e3s',
    'Infinitys',
    '1s2m',
    '1s\n',
    '٣s',
    `${'9'.repeat(400)}s`,
    '9007199254740993ms',
  ];
  for (const text of refused) {
    test(`${JSON.stringify(text.slice(0, 20))} is refused with the accepted forms`, () => {
      assert.throws(
        () => parseDuration(text),
        (error) => error instanceof RangeError && error.message.includes('500ms'),
      );
    });
  }

  test('whole milliseconds are read back in every unit', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), fc.constantFrom('ms', 's', 'm', 'h', 'd'), (count, unit) => {
        const ms = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[unit];
        assert.equal(parseDuration(`${count}${unit}`), count * ms);
      }),
    );
  });
});

describe('durations are written', () => {
  const written: [ms: number, text: string][] = [
    [0, '0ms'],
    [0.4, '0ms'],
    [350, '350ms'],
    [999, '999ms'],
    [1_000, '1.0s'],
    [4_270, '4.2s'],
    [9_999, '9.9s'],
    [10_000, '10s'],
    [59_999, '59s'],
    [60_000, '1m'],
    [725_000, '12m 5s'],
    [3_600_000, '1h'],
    [3_659_000, '1h'],
    [10_920_000, '3h 2m'],
    [86_400_000, '1d'],
    [187_200_000, '2d 4h'],
    [86_400_000 * 36_500, '36500d'],
  ];
  for (const [ms, text] of written) test(`${ms} ms are ${text}`, () => assert.equal(formatDuration(ms), text));

  test('a longer time is never written as a shorter one', () => {
    const lengthMs = (text: string) => text.split(' ').reduce((sum, part) => sum + (parseDuration(part) ?? 0), 0);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 ** 12 }), (ms) => {
        const said = lengthMs(formatDuration(ms));
        assert.ok(said <= ms, `${ms} ms are written as ${formatDuration(ms)}`);
        // Two units are said, so what is left out is less than one of the smaller.
        const left = ms < 10_000 ? 100 : ms < 3_600_000 ? 1_000 : ms < 86_400_000 ? 60_000 : 3_600_000;
        assert.ok(ms - said < left, `${ms} ms are written as ${formatDuration(ms)}`);
      }),
    );
  });
});

describe('rates', () => {
  const read: [text: string, perSecond: number | null, shown: string][] = [
    ['10/s', 10, '10/s'],
    ['5/m', 5 / 60, '5/m'],
    ['90/m', 1.5, '1.5/s'],
    ['100/h', 100 / 3_600, '1.667/m'],
    ['2/h', 2 / 3_600, '2/h'],
    ['1/d', 1 / 86_400, '1/d'],
    ['0.5/d', 0.5 / 86_400, '0.5/d'],
  ];
  for (const [text, perSecond, shown] of read) {
    test(`${text} is shown as ${shown}`, () => {
      assert.ok(Math.abs((parseRate(text) ?? 0) - (perSecond ?? 0)) < 1e-12);
      assert.equal(formatRate(parseRate(text) ?? 0), shown);
    });
  }

  test('0 and off are no limit', () => assert.deepEqual(['0', 'off'].map(parseRate), [null, null]));

  test('anything else is refused with the forms that are understood', () => {
    for (const text of ['', '10', '10/', '/s', '-1/s', '0/s', '10/w', '1e3/s', '10 /s', '10/s\n'])
      assert.throws(() => parseRate(text), /is not a rate\. Write it like 10\/s, 5\/m or 100\/h/, text);
  });
});
