import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { z } from 'zod';
import { type MethodName, methods, requestSchema, responseSchema } from '../../src/protocol/index.ts';
import {
  currentProtocolDocs,
  type DocumentedMethod,
  protocol,
  protocolDocsFile,
  renderProtocolDocs,
} from '../../tools/protocol-docs.ts';

const names = Object.keys(methods) as MethodName[];

function render(changed: Record<string, DocumentedMethod>): string {
  return renderProtocolDocs({ ...protocol, methods: { ...protocol.methods, ...changed } }, '{{methods}}\n{{types}}');
}

test('docs/protocol.md is current', () => {
  const isCurrent = fs.readFileSync(protocolDocsFile, 'utf8') === currentProtocolDocs();
  assert.ok(isCurrent, 'docs/protocol.md is not what the code says: run npm run docs');
});

describe('what changes in the code changes the document', () => {
  const get = protocol.methods.get as DocumentedMethod;
  const before = render({});
  const changes: { name: string; get: DocumentedMethod; shows: string }[] = [
    {
      name: 'a new parameter',
      get: { ...get, params: z.strictObject({ jobId: z.int(), since: z.int().min(3).optional().describe('Why.') }) },
      shows: '| `since` | integer | no | from 3 | Why. |',
    },
    { name: 'another result', get: { ...get, result: z.object({ x: z.null() }) }, shows: '| `x` | null |  |' },
    { name: 'another error', get: { ...get, errors: ['STORE_FAILED'] }, shows: 'Errors: `STORE_FAILED`.' },
    {
      name: 'another answer to whether it may be repeated',
      get: { ...get, repeat: 'once' },
      shows: '[May not be repeated](#when-the-connection-is-lost) after a lost connection. Errors: `JOB_NOT_FOUND`',
    },
  ];
  for (const { name, get, shows } of changes) {
    test(name, () => {
      const section = /### get\n.*?\n### list\n/s;
      const after = section.exec(render({ get }))?.[0] ?? '';
      assert.ok(after.includes(shows), after);
      assert.ok(!section.exec(before)?.[0].includes(shows));
    });
  }

  test('an altered example', () => {
    const examples = { ...protocol.examples, get: { request: 'asked', answer: 'answered' } };
    assert.match(renderProtocolDocs({ ...protocol, examples }, '{{methods}}'), /"asked"\n"answered"/);
  });
});

test('a method of any shape is rendered, with no example yet too', () => {
  const point = z.object({ x: z.number() }).meta({ id: 'TestPoint', description: 'A point.' });
  const params = z.strictObject({
    from: point,
    to: z.array(point.nullable()).max(2),
    deep: z.object({ on: z.boolean() }),
  });
  const either = z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('a'), n: z.int() }),
    z.object({ kind: z.literal('b'), text: z.base64() }),
  ]);
  const result = z.object({
    either,
    sizes: z.record(z.string(), z.int()),
    anything: z.unknown(),
    maybe: z.int().optional(),
  });
  const text = render({ draw: { about: 'Draws.', repeat: 'safe', errors: [], params, result } });
  for (const line of [
    '### draw\n\nDraws.\n',
    '| `from` | [TestPoint](#testpoint) | yes |  |  |',
    '| `to` | array of [TestPoint](#testpoint) or null | yes | up to 2 items |  |',
    '| `deep.on` | boolean | yes |  |  |',
    '| `either.kind` |',
    '| `either.n` | integer |  |',
    '| `either.text` | string in base64 |  |',
    '| `sizes` | object of integer |  |',
    '| `anything` | any |',
    '| `maybe` | integer, or absent |  |',
    '### TestPoint\n\nA point.\n\n| name | type | required |',
  ])
    assert.ok(text.includes(line), `${line}\n\nis not in\n\n${text}`);
});

test('a template that asks for what there is not is refused', () => {
  assert.throws(() => renderProtocolDocs(protocol, '{{nothing}}'), /\{\{nothing\}\}/);
  assert.throws(() => renderProtocolDocs(protocol, '{{example nothing}}'), /npm run docs:record/);
});

test('links within the document lead somewhere', () => {
  const text = currentProtocolDocs();
  const headings = new Set(
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
      title
        .toLowerCase()
        .replaceAll(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    ),
  );
  const links = [...text.matchAll(/\]\(#([^)]+)\)/g)].map(([, target = '']) => target);
  assert.ok(links.length > 20);
  assert.deepEqual(
    links.filter((target) => !headings.has(target)),
    [],
  );
});

describe('the examples were recorded from this protocol', () => {
  for (const name of names) {
    test(name, () => {
      const { request, answer } = protocol.examples[name] ?? {};
      assert.ok(
        request,
        `there is no example of ${name}: npm run docs:record (and a step there, if it needs parameters)`,
      );
      const { method, params } = requestSchema.parse(request);
      assert.equal(method, name);
      methods[name].params.parse(params);
      const { result } = responseSchema.parse(answer);
      // Nothing may be left of fields that the schema no longer has, and parse leaves those out.
      assert.deepEqual(methods[name].result.parse(result), result, 'the example is old: npm run docs:record');
    });
  }
});
