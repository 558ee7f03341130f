/**
 * Arguments, variables and paths are bytes to the kernel, and need not be UTF-8; JSON knows only text. A byte that is not part of
 * valid UTF-8 travels as the lone surrogate U+DC00 + byte (U+DC80 to U+DCFF), as in Python's `surrogateescape` (PEP 383);
 * everything else is the text that it is. JSON writes such a surrogate as `\udcff`. The mapping is one to one.
 */

const escapeBase = 0xdc00;

/** With the flag `u` a surrogate that is half of a pair does not match. */
const escapedByte = /[\udc80-\udcff]/gu;
const runOfEscapedBytes = /([\udc80-\udcff]+)/u;

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text that stands for these bytes. */
export function textFromBytes(bytes: Uint8Array): string {
  let text = '';
  let start = 0;
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    if (length === 0) {
      text += strictUtf8.decode(bytes.subarray(start, at)) + String.fromCharCode(escapeBase + (bytes[at] ?? 0));
      start = at + 1;
    }
    at += length || 1;
  }
  return text + strictUtf8.decode(bytes.subarray(start));
}

/** The bytes that a text stands for. It must be one that `bytesTextProblem` has nothing against. */
export function bytesFromText(text: string): Buffer {
  const parts = text.split(runOfEscapedBytes);
  return Buffer.concat(
    parts.map(
      (part, index) => (index % 2 === 0 ? Buffer.from(part) : Buffer.from(part, 'latin1')), // latin1 keeps the low byte: U+DCFF is 0xff
    ),
  );
}

/** A path as Node's `fs` takes it: its strings cannot name every file. */
export function pathFromText(text: string): string | Buffer {
  return text.isWellFormed() ? text : bytesFromText(text);
}

/** Why a text stands for no bytes, or not the only way; `null` where it does. */
export function bytesTextProblem(text: string): string | null {
  if (text.isWellFormed()) return null;
  if (!text.replace(escapedByte, ' ').isWellFormed()) return 'holds half of a surrogate pair, which is not Unicode';
  if (textFromBytes(bytesFromText(text)) === text) return null;
  return 'holds U+DC80 to U+DCFF in place of bytes that are valid UTF-8; write the characters themselves';
}

/** For people: bytes that are no text are shown as `\xff`, other halves of surrogate pairs as U+FFFD. */
export function showBytes(text: string): string {
  if (text.isWellFormed()) return text;
  return text
    .replace(escapedByte, (escaped) => `\\x${(escaped.charCodeAt(0) - escapeBase).toString(16)}`)
    .toWellFormed();
}

/** Length of the valid UTF-8 sequence that begins here; 0 where none does. The Unicode Standard, table 3-7 */
function sequenceLength(bytes: Uint8Array, at: number): 0 | 1 | 2 | 3 | 4 {
  const first = bytes[at] ?? 0;
  if (first < 0x80) return 1;
  const follows = (offset: number, low = 0x80, high = 0xbf) => {
    const byte = bytes[at + offset];
    return byte !== undefined && byte >= low && byte <= high;
  };
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const low = first === 0xe0 ? 0xa0 : 0x80; // No overlong forms,
    const high = first === 0xed ? 0x9f : 0xbf; // no surrogates.
    return follows(1, low, high) && follows(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const low = first === 0xf0 ? 0x90 : 0x80;
    const high = first === 0xf4 ? 0x8f : 0xbf;
    return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}
