import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  createFrameParser,
  encodeFrame,
  type FrameParserOptions,
  frameLimits,
  type IncomingFrame,
  type PartialFrame,
} from '../../src/protocol/index.ts';

const accepts = ['rpc', 'event'] as const;

/** A connection's reading side: hands chunks to the parser as node-ipc does, and keeps what comes out. */
class Reader {
  readonly frames: IncomingFrame[] = [];
  readonly #parser;
  #state: PartialFrame | '' = '';

  constructor(options: Partial<FrameParserOptions> = {}) {
    this.#parser = createFrameParser({ accepts, ...options });
  }

  read(...chunks: string[]): IncomingFrame[] {
    const before = this.frames.length;
    for (const chunk of chunks)
      this.#state = this.#parser.read(this.#state, chunk, (frame) => void this.frames.push(frame));
    return this.frames.slice(before);
  }

  get pending(): PartialFrame {
    assert.ok(this.#state !== '');
    return this.#state;
  }
}

function codes(frames: readonly IncomingFrame[]): string[] {
  return frames.map(({ type, data }) =>
    type === 'malformed' ? `${(data as { code: string }).code}${(data as { fatal: boolean }).fatal ? '!' : ''}` : type,
  );
}

/** A frame of so many bytes, without its delimiter. */
function frameOfBytes(bytes: number): string {
  const empty = encodeFrame('rpc', '').length - 1;
  return JSON.stringify({ type: 'rpc', data: 'x'.repeat(bytes - empty) });
}

describe('cutting', () => {
  const sent = [
    { type: 'rpc', data: { method: 'submit', params: { text: 'ü\f𝒳\n' } } },
    { type: 'event', data: null },
    { type: 'rpc', data: [1, 'two', { three: 3 }] },
  ];
  const wire = sent.map(({ type, data }) => encodeFrame(type, data)).join('');

  test('frames come out the same wherever the stream is cut in two', () => {
    for (let at = 0; at <= wire.length; at += 1)
      assert.deepEqual(new Reader().read(wire.slice(0, at), wire.slice(at)), sent);
  });

  test('frames come out the same one character at a time', () => {
    assert.deepEqual(new Reader().read(...wire.split('')), sent);
  });

  test('a chunk may hold many frames, and the beginning of the next', () => {
    const reader = new Reader();
    assert.deepEqual(reader.read(wire.repeat(100) + wire.slice(0, 5)), Array(100).fill(sent).flat());
    assert.deepEqual(reader.read(wire.slice(5)), sent);
  });

  test('a frame comes out with its delimiter, not before', () => {
    const reader = new Reader();
    const frame = encodeFrame('rpc', 1);
    assert.deepEqual(reader.read(frame.slice(0, -1)), []);
    assert.deepEqual(reader.read('\f'), [{ type: 'rpc', data: 1 }]);
  });

  test('any list of frames cut anywhere decodes to the same list', () => {
    const frame = fc.record({ type: fc.constantFrom(...accepts), data: fc.jsonValue() });
    const stream = fc.array(frame, { maxLength: 20 }).chain((frames) => {
      const text = frames.map(({ type, data }) => encodeFrame(type, data)).join('');
      return fc.tuple(
        fc.constant(frames),
        fc.constant(text),
        fc.array(fc.nat({ max: text.length }), { maxLength: 30 }),
      );
    });
    fc.assert(
      fc.property(stream, ([frames, text, cuts]) => {
        const ends = [...cuts.sort((a, b) => a - b), text.length];
        const chunks = ends.map((end, index) => text.slice(ends[index - 1] ?? 0, end));
        assert.deepEqual(new Reader().read(...chunks), JSON.parse(JSON.stringify(frames)));
      }),
    );
  });

  test('any text at all is answered, never thrown at', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' })), (chunks) => {
        const reader = new Reader();
        reader.read(...chunks);
        const delimiters = chunks.join('').split('\f').length - 1;
        assert.equal(reader.frames.length, delimiters);
      }),
    );
  });
});

describe('what is no frame', () => {
  const malformed: { name: string; text: string }[] = [
    { name: 'nothing', text: '' },
    { name: 'text that is not JSON', text: 'hello' },
    { name: 'half of an object', text: '{"type":"rpc","data":{' },
    { name: 'two objects', text: '{"type":"rpc"}{"type":"rpc"}' },
    { name: 'null', text: 'null' },
    { name: 'a number', text: '1' },
    { name: 'a string', text: '"rpc"' },
    { name: 'a list', text: '[{"type":"rpc"}]' },
    { name: 'an object without a type', text: '{"data":1}' },
    { name: 'a type that is no string', text: '{"type":1}' },
    { name: 'a type in a list', text: '{"type":["rpc"]}' },
    { name: 'a type that is not accepted', text: '{"type":"exec","data":1}' },
    { name: "the parser's own type", text: '{"type":"malformed","data":{"fatal":true}}' },
    { name: 'the type __proto__', text: '{"type":"__proto__"}' },
    { name: 'the type constructor', text: '{"type":"constructor"}' },
    { name: 'the type toString', text: '{"type":"toString"}' },
    { name: 'the type hasOwnProperty', text: '{"type":"hasOwnProperty"}' },
    { name: 'a type that is inherited', text: '{"__proto__":{"type":"rpc"}}' },
    { name: 'a stack of 100,000 brackets', text: '['.repeat(100_000) },
  ];
  for (const { name, text } of malformed) {
    test(`${name} is refused, and the next frame is read`, () => {
      const reader = new Reader();
      assert.deepEqual(codes(reader.read(`${text}\f${encodeFrame('rpc', 1)}`)), ['PARSE_ERROR', 'rpc']);
    });
  }

  test('a type is accepted only where the parser was told so', () => {
    const reader = new Reader({ accepts: ['rpc'] });
    assert.deepEqual(codes(reader.read(encodeFrame('event', 1) + encodeFrame('rpc', 1))), ['PARSE_ERROR', 'rpc']);
  });

  test('a frame without data has none', () => {
    assert.deepEqual(new Reader().read('{"type":"rpc"}\f'), [{ type: 'rpc', data: undefined }]);
  });

  test('a __proto__ in the data changes no prototype', () => {
    const [frame] = new Reader().read('{"type":"rpc","data":{"__proto__":{"polluted":1}}}\f');
    for (const object of [frame?.data, {}]) assert.equal('polluted' in Object(object), false);
  });
});

describe('size', () => {
  const maxFrameBytes = 1_000;

  test('a frame of the largest size is taken, in one piece and in two', () => {
    const frame = `${frameOfBytes(maxFrameBytes)}\f`;
    assert.deepEqual(codes(new Reader({ maxFrameBytes }).read(frame)), ['rpc']);
    assert.deepEqual(codes(new Reader({ maxFrameBytes }).read(frame.slice(0, 600), frame.slice(600))), ['rpc']);
  });

  test('a complete frame of one byte more is fatal, and what follows is not looked at', () => {
    const frame = `${frameOfBytes(maxFrameBytes + 1)}\f`;
    assert.deepEqual(codes(new Reader({ maxFrameBytes }).read(frame + encodeFrame('rpc', 1))), ['FRAME_TOO_LARGE!']);
    assert.deepEqual(codes(new Reader({ maxFrameBytes }).read(frame.slice(0, 600), frame.slice(600))), [
      'FRAME_TOO_LARGE!',
    ]);
  });

  test('a frame that has grown too large is fatal before it is complete, and is let go of', () => {
    const reader = new Reader({ maxFrameBytes });
    assert.deepEqual(codes(reader.read('x'.repeat(maxFrameBytes))), []);
    assert.equal(reader.pending.bytes, maxFrameBytes);
    assert.deepEqual(codes(reader.read('x')), ['FRAME_TOO_LARGE!']);
    assert.equal(reader.pending.bytes, 0);
  });

  test('what counts is bytes of UTF-8, not characters', () => {
    const text = JSON.stringify({ type: 'rpc', data: 'ü'.repeat(490) });
    assert.ok(text.length < maxFrameBytes && Buffer.byteLength(text) > maxFrameBytes);
    assert.deepEqual(codes(new Reader({ maxFrameBytes }).read(`${text}\f`)), ['FRAME_TOO_LARGE!']);
    assert.deepEqual(codes(new Reader({ maxFrameBytes }).read(text)), ['FRAME_TOO_LARGE!']);
  });

  test('many frames in one chunk may be larger than one frame together', () => {
    const frame = `${frameOfBytes(maxFrameBytes)}\f`;
    assert.deepEqual(codes(new Reader({ maxFrameBytes }).read(frame.repeat(3))), ['rpc', 'rpc', 'rpc']);
  });

  test('the limit is 1 MiB where none is named', () => {
    assert.deepEqual(codes(new Reader().read(`${frameOfBytes(1024 * 1024)}\f`)), ['rpc']);
    assert.deepEqual(codes(new Reader().read(`${frameOfBytes(1024 * 1024 + 1)}\f`)), ['FRAME_TOO_LARGE!']);
    assert.equal(frameLimits.maxFrameBytes, 1024 * 1024);
  });

  test('one-byte writes of a frame of 900 KB take seconds at most, and few strings', () => {
    const reader = new Reader();
    const frame = frameOfBytes(900_000);
    const startedMs = performance.now();
    for (const byte of frame) reader.read(byte);
    const tookMs = performance.now() - startedMs;
    assert.equal(reader.pending.bytes, 900_000);
    assert.ok(reader.pending.chunks.length <= 1_024, `${reader.pending.chunks.length} strings`);
    assert.deepEqual(codes(reader.read('\f')), ['rpc']);
    assert.ok(tookMs < 5_000, `${Math.round(tookMs)} ms`);
  });
});

describe('deadline', () => {
  function timedReader() {
    const log: string[] = [];
    const reader = new Reader({
      maxFrameBytes: 100,
      onFrameBegun: () => {
        log.push('begun');
        return () => void log.push('done');
      },
    });
    return { reader, log };
  }
  const frame = encodeFrame('rpc', 1);
  const half = frame.slice(0, 5);
  const rest = frame.slice(5);

  const cases: { name: string; chunks: string[]; log: string[] }[] = [
    { name: 'whole frames start none', chunks: [frame, frame + frame], log: [] },
    { name: 'a frame that has begun starts one', chunks: [half], log: ['begun'] },
    { name: 'one frame starts one, however many pieces it comes in', chunks: [...frame], log: ['begun', 'done'] },
    { name: 'each frame has its own', chunks: [half, rest + half, rest], log: ['begun', 'done', 'begun', 'done'] },
    {
      name: 'a busy connection whose chunks end mid-frame is not cut off',
      chunks: [frame + half, rest + frame],
      log: ['begun', 'done'],
    },
    { name: 'a malformed frame ends it, too', chunks: ['{', '\f'], log: ['begun', 'done'] },
    { name: 'so does one that has grown too large', chunks: ['{', 'x'.repeat(100)], log: ['begun', 'done'] },
    {
      name: 'so does one that was too large when complete',
      chunks: ['{', `${'x'.repeat(100)}\f`],
      log: ['begun', 'done'],
    },
    { name: 'an empty chunk starts none', chunks: [''], log: [] },
  ];
  for (const { name, chunks, log: expected } of cases) {
    test(name, () => {
      const { reader, log } = timedReader();
      reader.read(...chunks);
      assert.deepEqual(log, expected);
    });
  }
});

test('a frame that is encoded is one frame, whatever it holds', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (data) => {
      const text = encodeFrame('rpc', data);
      assert.equal(text.indexOf('\f'), text.length - 1);
      assert.deepEqual(JSON.parse(text.slice(0, -1)), JSON.parse(JSON.stringify({ type: 'rpc', data })));
    }),
  );
});

test('data that would be larger than a frame is replaced by what the owner of the parser says, and only then', () => {
  const parser = createFrameParser({ accepts: ['rpc'], maxFrameBytes: 40, insteadOfTooLarge: () => 'too large' });
  const fitting = 'x'.repeat(40 - JSON.stringify({ type: 'rpc', data: '' }).length);
  assert.equal(parser.encode('rpc', fitting), encodeFrame('rpc', fitting));
  assert.equal(parser.encode('rpc', `${fitting}x`), encodeFrame('rpc', 'too large'));
});
