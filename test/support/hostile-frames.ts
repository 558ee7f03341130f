/**
 * Frames that no decent client sends, drawn from a seed. What they do to parameters is drawn from the table of methods, so a new
 * method is attacked from its first day on.
 */
import { z } from 'zod';
import { isMethodName, type MethodName, methods } from '../../src/protocol/index.ts';

/** Something to write on a connection that has said hello, and what must come back. */
export interface HostileInput {
  readonly name: string;
  readonly bytes: Buffer;
  /** Frames that answer it. */
  readonly answers: number;
  /** The code that each answer must have; `null`: any but INTERNAL, or a result. */
  readonly code: string | null;
}

/** mulberry32: small, seeded, good enough to shuffle rubbish. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, not including, `below`. */
  integer(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  }

  oneOf<T>(choices: readonly T[]): T {
    const chosen = choices[this.integer(choices.length)];
    if (chosen === undefined) throw new Error('nothing to choose from');
    return chosen;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.integer(256)));
  }
}

const formFeed = 0x0c;

/** JSON, not values: what JSON.stringify cannot write is the point of some. */
const oddJson = [
  'null',
  'true',
  '0',
  '-1',
  '-0',
  '1.5',
  '1e999',
  '-1e999',
  '1e-400',
  '9007199254740993',
  '123456789012345678901234567890',
  '""',
  '"x"',
  '"\\u0000"',
  '"a\\u0000b"',
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"__proto__"',
  '"constructor"',
  '"../../etc/passwd"',
  `"${'x'.repeat(5_000)}"`,
  '[]',
  '[null]',
  '[[]]',
  '["toString"]',
  '{}',
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"toString":1,"valueOf":2,"hasOwnProperty":3}',
  '{"length":1000000000}',
  '{"then":1}',
];

const prototypeNames = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'valueOf',
  '__defineGetter__',
  'then',
];

/** Methods that must never be sent in a form that could be carried out. */
const isForbidden = (method: string) => method.startsWith('daemon.');

/** Methods whose carrying out harms nobody, whatever job it names. */
const harmless = ['get', 'list', 'wait', 'logs', 'group.list', 'hello'] as const;

type JsonSchema = {
  type?: string;
  enum?: unknown[];
  anyOf?: JsonSchema[];
  items?: JsonSchema;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  minimum?: number;
  maximum?: number;
};

const schemas = new Map(
  Object.entries(methods).map(([name, { params }]) => [
    name as MethodName,
    z.toJSONSchema(params, { io: 'input', unrepresentable: 'any' }) as JsonSchema,
  ]),
);

/** Parameters of the right shape, about jobs and groups that do not exist. */
function plausible(schema: JsonSchema): unknown {
  if (schema.enum !== undefined) return schema.enum[0];
  if (schema.anyOf !== undefined) return plausible(schema.anyOf[0] ?? {});
  switch (schema.type) {
    case 'object':
      return Object.fromEntries(
        Object.entries(schema.properties ?? {})
          .filter(([name]) => schema.required?.includes(name))
          .map(([name, property]) => [name, plausible(property)]),
      );
    case 'array':
      return [plausible(schema.items ?? {})];
    case 'integer':
    case 'number':
      return (schema.maximum ?? 0) > 1e12 ? 1e12 : (schema.minimum ?? 1);
    case 'boolean':
      return false;
    default:
      return '/bin/true';
  }
}

/** Every place in the parameters of every method where something else can be put. */
const places: readonly { method: MethodName; path: readonly string[] }[] = [...schemas].flatMap(([method, schema]) =>
  [...pathsOf(schema, [])].map((path) => ({ method, path })),
);

function* pathsOf(schema: JsonSchema, path: readonly string[]): Generator<readonly string[]> {
  if (path.length > 0) yield path;
  for (const [name, property] of Object.entries(schema.properties ?? {})) yield* pathsOf(property, [...path, name]);
  if (schema.items !== undefined) yield* pathsOf(schema.items, [...path, '0']);
}

function request(id: string, method: string, params: string): string {
  return `{"type":"rpc","data":{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${params}}}`;
}

/** The parameters as JSON, with some JSON in one place. */
function withOdd(params: unknown, path: readonly string[], odd: string): string {
  const hole = '<odd>';
  const copy = structuredClone(params) as Record<string, unknown>;
  let at = copy;
  for (const name of path.slice(0, -1)) {
    if (typeof at[name] !== 'object' || at[name] === null) at[name] = {};
    at = at[name] as Record<string, unknown>;
  }
  at[path.at(-1) ?? ''] = hole;
  return JSON.stringify(copy).replace(JSON.stringify(hole), () => odd);
}

function frame(name: string, text: string, code: string | null, answers = 1): HostileInput {
  return { name, bytes: Buffer.from(`${text}\f`), answers, code };
}

/** What the schema itself says to the parameters is what the daemon must say. */
function verdict(method: MethodName, params: string): 'INVALID_PARAMS' | null {
  return methods[method].params.safeParse(JSON.parse(params)).success ? null : 'INVALID_PARAMS';
}

type Kind = (chance: Chance) => HostileInput;

const kinds: Record<string, Kind> = {
  'a wrong value': (chance) => {
    const { method, path } = chance.oneOf(places);
    const odd = chance.oneOf(oddJson);
    const params = withOdd(plausible(schemas.get(method) ?? {}), path, odd);
    const code = verdict(method, params);
    if (code === null && isForbidden(method)) return frame('a form feed alone', '', 'PARSE_ERROR');
    return frame(`${method}.${path.join('.')} = ${odd.slice(0, 40)}`, request('1', method, params), code);
  },
  'an unknown parameter': (chance) => {
    const method = chance.oneOf([...schemas.keys()]);
    const name = chance.oneOf(['x', '', ...prototypeNames.slice(1)]);
    const params = withOdd(plausible(schemas.get(method) ?? {}), [name], chance.oneOf(oddJson));
    return frame(`${method} with ${name}`, request('1', method, params), 'INVALID_PARAMS');
  },
  'no object of parameters': (chance) => {
    const method = chance.oneOf([...schemas.keys()]);
    const odd = chance.oneOf(oddJson.filter((json) => !json.startsWith('{')));
    return frame(`${method}(${odd.slice(0, 40)})`, request('1', method, odd), 'INVALID_REQUEST');
  },
  'a prototype name': (chance) => {
    const name = chance.oneOf(prototypeNames);
    return chance.oneOf([
      frame(`method ${name}`, request('1', name, '{}'), 'METHOD_NOT_FOUND'),
      frame(`type ${name}`, `{"type":"${name}","data":{}}`, 'PARSE_ERROR'),
      frame(`id ${name}`, request(`"${name}"`, 'group.list', '{}'), null),
      frame(`group ${name}`, request('1', 'list', `{"group":"${name}"}`), null),
      frame(`group to set ${name}`, request('1', 'group.set', `{"name":"${name}","parallel":0}`), null),
      frame(
        `env ${name}`,
        request('1', 'submit', `{"job":{"command":["true"],"cwd":"/","env":{"${name}":"1"},"group":"nosuch"}}`),
        null,
      ),
      frame(`inherited type ${name}`, `{"__proto__":{"type":"rpc"},"data":{}}`, 'PARSE_ERROR'),
    ]);
  },
  'an odd id': (chance) => {
    const id = chance.oneOf([...oddJson, `"${'x'.repeat(257)}"`]);
    return frame(`id ${id.slice(0, 40)}`, request(id, 'group.list', '{}'), null);
  },
  'no request': (chance) => {
    const data = chance.oneOf([
      ...oddJson,
      '{"jsonrpc":"2.0","id":1,"result":{}}',
      '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}',
      '{"jsonrpc":"2.0","method":"group.list"}',
      '{"jsonrpc":"1.0","id":1,"method":"group.list"}',
      '{"jsonrpc":"2.0","id":1,"method":7}',
      '[{"jsonrpc":"2.0","id":1,"method":"group.list"}]',
      '{"jsonrpc":"2.0","id":1,"method":"group.list","extra":1}',
    ]);
    return frame(`data ${data.slice(0, 60)}`, `{"type":"rpc","data":${data}}`, 'INVALID_REQUEST');
  },
  'no frame': (chance) => {
    const text = chance.oneOf([
      '',
      ' ',
      'hello',
      'GET / HTTP/1.1\r\n\r\n',
      'null',
      '[]',
      '"rpc"',
      '{"data":{}}',
      '{"type":1}',
      '{"type":["rpc"]}',
      '{"type":"event","data":{}}',
      '{"type":"malformed","data":{"fatal":true}}',
    ]);
    return frame(`frame ${JSON.stringify(text)}`, text, 'PARSE_ERROR');
  },
  'no JSON': (chance) => {
    const whole = request('1', chance.oneOf(harmless), '{"jobId":1000000000000}');
    const at = chance.integer(whole.length);
    const length = 1 + chance.integer(5);
    const middle = chance.oneOf(['', '"', '}', ',', '\\', '\u2028', String.fromCharCode(1 + chance.integer(11))]);
    return frame(`damaged at ${at}`, whole.slice(0, at) + middle + whole.slice(at + length), null);
  },
  'deep nesting': (chance) => {
    const depth = chance.oneOf([100, 1_000, 10_000, 50_000]);
    const [open, close] = chance.oneOf([['[', ']'] as const, ['{"a":', '}'] as const]);
    const nest = `${open.repeat(depth)}1${close.repeat(depth)}`;
    return frame(`${depth} levels`, request('1', 'get', `{"jobId":${nest}}`), null);
  },
  'hello again': () => frame('hello again', request('1', 'hello', '{"protocols":[1]}'), null),
  'the same id twice': (chance) => {
    const twice = request('7', chance.oneOf(harmless), '{}');
    return frame('the same id twice', `${twice}\f${twice}`, null, 2);
  },
  'binary rubbish': (chance) => {
    const bytes = Buffer.concat([chance.bytes(1 + chance.integer(2_000)), Buffer.from('\f')]);
    return {
      name: `${bytes.length} random bytes`,
      bytes,
      answers: bytes.filter((byte) => byte === formFeed).length,
      code: 'PARSE_ERROR',
    };
  },
  'text that is not UTF-8': (chance) => {
    const [before = '', after = ''] = request('1', 'list', '{"group":"HERE"}').split('HERE');
    const middle = chance.oneOf([[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xf5, 0x80], [0xc0, 0x80]]);
    const bytes = Buffer.concat([Buffer.from(before), Buffer.from(middle), Buffer.from(`${after}\f`)]);
    return { name: `bytes ${middle.join(' ')}`, bytes, answers: 1, code: null };
  },
  'a large frame': (chance) => {
    const text = 'x'.repeat(chance.oneOf([100_000, 500_000, 1_000_000]));
    return frame(`${text.length} bytes`, request('1', 'get', `{"jobId":"${text}"}`), 'INVALID_PARAMS');
  },
};

/** How often, for those that are not the usual. */
const rarely: Record<string, number> = { 'a large frame': 100, 'deep nesting': 10 };

/** An endless row of them. */
export function* hostileInputs(chance: Chance): Generator<HostileInput> {
  const names = Object.keys(kinds);
  for (;;) {
    const kind = chance.oneOf(names);
    const often = rarely[kind] ?? 1;
    const input = chance.integer(often) === 0 ? kinds[kind]?.(chance) : undefined;
    if (input !== undefined) yield { ...input, name: `${kind}: ${input.name}` };
  }
}

/** Every wrong value in every place: what chance might leave out. */
export function* everyPlace(): Generator<HostileInput> {
  for (const { method, path } of places) {
    for (const odd of ['null', '{}', '[]', '1.5', '"\\u0000"', 'true']) {
      const params = withOdd(plausible(schemas.get(method) ?? {}), path, odd);
      const code = verdict(method, params);
      if (isForbidden(method) && code === null) continue;
      yield frame(`${method}.${path.join('.')} = ${odd}`, request('1', method, params), code);
    }
  }
}

/** What is wrong with an answer; `null` where nothing is. */
export function faultOf(answer: unknown, input: HostileInput): string | null {
  const { error, ...rest } = (answer ?? {}) as { error?: { data?: { code?: unknown } } };
  const code = error?.data?.code;
  if (error === undefined) return 'result' in rest && input.code === null ? null : `a result instead of ${input.code}`;
  if (typeof code !== 'string' || code === 'INTERNAL') return `the code ${String(code)}`;
  return input.code === null || code === input.code ? null : `${code} instead of ${input.code}`;
}

export function methodsUnderAttack(): readonly MethodName[] {
  return [...new Set(places.map(({ method }) => method))].filter(isMethodName);
}
