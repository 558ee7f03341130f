import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { bytesFromText, bytesTextProblem, jobSpecSchema, showBytes, textFromBytes } from '../../src/protocol/index.ts';

/** Byte strings near the border: random ones hardly ever hold a sequence that is almost valid. */
const fragments = ['é', '🐎', '\ufeff', '\u{10ffff}', '\0', 'a'].map((text) => Buffer.from(text));
const almost = [[0xc3], [0xe2, 0x82], [0xf0, 0x9f, 0x90], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf4, 0x90, 0x80, 0x80]];
const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc
    .array(fc.constantFrom<Uint8Array>(...fragments, ...almost.map((bytes) => Uint8Array.from(bytes))), {
      maxLength: 8,
    })
    .map((parts) => Uint8Array.from(Buffer.concat(parts))),
);

describe('bytes as text', () => {
  // As Python has it: bytes.decode('utf-8', 'surrogateescape').
  const table: [about: string, bytes: number[], text: string][] = [
    ['nothing', [], ''],
    ['ASCII', [0x61, 0x7f], 'a\x7f'],
    ['UTF-8', [0xc3, 0xa9, 0xf0, 0x9f, 0x90, 0x8e], 'é🐎'],
    ['Latin-1', [0x63, 0x61, 0x66, 0xe9], 'caf\udce9'],
    ['a byte order mark', [0xef, 0xbb, 0xbf], '\ufeff'],
    ['a sequence that is cut off', [0xe2, 0x82, 0x41], '\udce2\udc82A'],
    ['one that another follows', [0xe2, 0x82, 0xc3, 0xa9], '\udce2\udc82é'],
    ['an overlong form', [0xc0, 0xaf, 0xe0, 0x80, 0xaf], '\udcc0\udcaf\udce0\udc80\udcaf'],
    ['a surrogate', [0xed, 0xb3, 0xbf], '\udced\udcb3\udcbf'],
    ['beyond Unicode', [0xf4, 0x90, 0x80, 0x80], '\udcf4\udc90\udc80\udc80'],
    ['the replacement character itself', [0xef, 0xbf, 0xbd], '\ufffd'],
  ];
  for (const [about, bytes, text] of table) {
    test(about, () => {
      assert.equal(textFromBytes(Uint8Array.from(bytes)), text);
      assert.deepEqual([...bytesFromText(text)], bytes);
      assert.equal(bytesTextProblem(text), null);
    });
  }

  test('all bytes come back from their text, also through JSON, and no two have the same', () => {
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        const text = textFromBytes(bytes);
        assert.equal(bytesTextProblem(text), null);
        assert.deepEqual([...bytesFromText(JSON.parse(JSON.stringify(text)))], [...bytes]);
      }),
      { numRuns: 2_000 },
    );
  });

  test('every text that stands for bytes comes back from them', () => {
    const anyText = fc
      .array(fc.oneof(fc.integer({ min: 0xdc80, max: 0xdcff }), fc.integer({ min: 1, max: 0xffff })), { maxLength: 12 })
      .map((units) => String.fromCharCode(...units));
    let refused = 0;
    fc.assert(
      fc.property(anyText, (text) => {
        if (bytesTextProblem(text) === null) assert.equal(textFromBytes(bytesFromText(text)), text);
        else refused += 1;
      }),
      { numRuns: 2_000 },
    );
    assert.ok(refused > 0, 'control: some were none');
  });

  test('what is not UTF-8 is shown as the bytes that it is', () => {
    assert.equal(showBytes('caf\udce9 é🐎'), 'caf\\xe9 é🐎');
    assert.equal(showBytes('\ud800'), '\ufffd');
  });
});

describe('the protocol', () => {
  const spec = { command: ['true'], env: {}, cwd: '/' };
  const odd = 'caf\udce9';

  test('takes bytes that are not UTF-8 in the command, the environment and paths', () => {
    const job = { ...spec, command: [odd, odd], env: { [odd]: odd }, cwd: `/${odd}`, stdin: `/${odd}` };
    assert.deepEqual(jobSpecSchema.parse(job), job);
  });

  const refused: [about: string, change: object, says: RegExp][] = [
    ['a lone surrogate that is no byte', { command: ['a\ud800'] }, /half of a surrogate pair/],
    ['the low half of one', { command: ['a\udc7f'] }, /half of a surrogate pair/],
    ['bytes that are valid UTF-8 together', { command: ['\udcc3\udca9'] }, /valid UTF-8; write the characters/],
    ['the same in the name of a variable', { env: { '\udcc3\udca9': '' } }, /env/],
    ['bytes in a name', { name: odd }, /half of a surrogate pair/],
    ['bytes in a group', { group: odd }, /half of a surrogate pair/],
    ['bytes in a key', { idempotencyKey: odd }, /half of a surrogate pair/],
    ['a NUL byte', { command: [`${odd}\0`] }, /NUL byte/],
  ];
  for (const [about, change, says] of refused) {
    test(`refuses ${about}`, () => {
      const parsed = jobSpecSchema.safeParse({ ...spec, ...change });
      assert.match(parsed.success ? 'taken' : JSON.stringify(parsed.error.issues), says);
    });
  }
});
