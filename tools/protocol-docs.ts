/**
 * Writes docs/protocol.md: the template with what the code says itself filled in. A unit test says when it is not current.
 *
 *     npm run docs
 */
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { maxScopes } from '../src/daemon/core/index.ts';
import { callLimits } from '../src/daemon/ipc/dispatch.ts';
import { maxConnections } from '../src/daemon/ipc/server.ts';
import {
  errorTable,
  frameLimits,
  generalErrors,
  maxHoldMs,
  maxJobIds,
  maxLogChunkBytes,
  maxPageSize,
  methods,
  protocolVersions,
} from '../src/protocol/index.ts';
import examples from './protocol-docs/examples.json' with { type: 'json' };

const templateFile = fileURLToPath(new URL('protocol-docs/template.md', import.meta.url));
export const protocolDocsFile = fileURLToPath(new URL('../docs/protocol.md', import.meta.url));

export interface DocumentedMethod {
  readonly about: string;
  readonly repeat: 'safe' | 'once';
  readonly errors: readonly string[];
  readonly errorsPerJob?: readonly string[];
  readonly params: z.ZodType;
  readonly result: z.ZodType;
}

/** What a frame's `data` was, in each direction. A notification of the daemon's has no request. */
export interface Example {
  readonly request?: unknown;
  readonly answer?: unknown;
}

export interface Protocol {
  readonly methods: Readonly<Record<string, DocumentedMethod>>;
  readonly errors: Readonly<Record<string, { rpc: number; exit: number; about: string }>>;
  /** By method, and by the names that the template has for others. */
  readonly examples: Readonly<Record<string, Example>>;
}

export const protocol: Protocol = { methods, errors: errorTable, examples };

/** The part of JSON Schema that our schemas come out as. */
interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: JsonSchema | boolean;
  readonly propertyNames?: JsonSchema;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly contentEncoding?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, JsonSchema>>;
}

type Direction = 'input' | 'output';

/** Types with a name of their own, in the order in which they are met. They get a table each, and links to it. */
type Types = Map<string, { schema: JsonSchema; direction: Direction }>;

export function renderProtocolDocs({ methods, errors, examples }: Protocol, template: string): string {
  const names = Object.keys(methods);
  const types: Types = new Map();
  const sections = names.map((name) => methodSection(name, methods[name] as DocumentedMethod, examples[name], types));
  const once = names.filter((name) => methods[name]?.repeat === 'once');
  const parts: Record<string, () => string> = {
    'protocol version': () => String(protocolVersions[0]),
    limits: limitsTable,
    maxHoldMs: () => grouped(maxHoldMs),
    'maxHoldMs number': () => String(maxHoldMs),
    errors: () =>
      table(
        ['code', 'number', 'meaning', 'exit'],
        Object.entries(errors).map(([code, { rpc, about, exit }]) => [`\`${code}\``, `${rpc}`, about, `${exit}`]),
      ),
    'general errors': () => codes(generalErrors),
    'method list': () => names.map((name) => `[\`${name}\`](#${anchor(name)})`).join(' · '),
    methods: () => sections.join('\n\n'),
    types: () => typeSections(types),
    'methods to call once': () => `{${once.map((name) => `"${name}"`).join(', ')}}`,
  };
  const text = template.replaceAll(/\{\{(?:example )?([^{}]+)\}\}/g, (placeholder, name: string) => {
    if (placeholder.startsWith('{{example ')) return exampleBlock(examples[name], name);
    const part = parts[name];
    if (part === undefined) throw new Error(`the template asks for ${placeholder}, which there is not`);
    return part();
  });
  return `<!-- Made by "npm run docs" from tools/protocol-docs/template.md and src/protocol. Do not edit here. -->\n\n${text}`;
}

function methodSection(name: string, method: DocumentedMethod, example: Example | undefined, types: Types): string {
  const { about, repeat, errors, errorsPerJob } = method;
  const mayRepeat = repeat === 'safe' ? 'May be repeated' : 'May not be repeated';
  const failures = [
    errors.length === 0 ? 'Errors: the general ones.' : `Errors: ${codes(errors)}.`,
    ...(errorsPerJob === undefined ? [] : [`For single jobs, in the report: ${codes(errorsPerJob)}.`]),
  ];
  return [
    `### ${name}`,
    about,
    `[${mayRepeat}](#when-the-connection-is-lost) after a lost connection. ${failures.join(' ')}`,
    side('Parameters', method.params, 'input', types),
    side('Result', method.result, 'output', types),
    ...(example === undefined ? [] : [exampleBlock(example, name)]),
  ].join('\n\n');
}

/** The table of what goes in, or of what comes out; a link where that is a type with a name. */
function side(title: string, schema: z.ZodType, direction: Direction, types: Types): string {
  const { it } = schemaOf(z.object({ it: schema }), direction, types).properties ?? {};
  if (it?.$ref !== undefined) return `${title}: ${typeName(it)}.`;
  if (it === undefined || Object.keys(it.properties ?? {}).length === 0) return `${title}: none.`;
  return `${title}:\n\n${fieldTable(it, direction)}`;
}

function schemaOf(schema: z.ZodType, io: Direction, types: Types): JsonSchema {
  const json = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as JsonSchema;
  for (const [id, definition] of Object.entries(json.$defs ?? {})) {
    if (!types.has(id)) types.set(id, { schema: definition, direction: io });
  }
  return json;
}

function typeSections(types: Types): string {
  const sections = [...types].map(([id, { schema, direction }]) => {
    const whole = [...types].find(([, other]) => isSameButOptional(schema, other.schema))?.[0];
    const about = schema.description === undefined ? [] : [schema.description];
    const body =
      whole === undefined
        ? [...about, fieldTable(schema, direction)]
        : [`A [${whole}](#${anchor(whole)}) of which any field may be left out.`];
    return [`### ${id}`, ...body].join('\n\n');
  });
  return sections.join('\n\n');
}

/** Whether one type is the other with nothing required. */
function isSameButOptional(one: JsonSchema, other: JsonSchema): boolean {
  const isOptional = (one.required ?? []).length === 0 && (other.required ?? []).length > 0;
  return isOptional && JSON.stringify(one.properties) === JSON.stringify(other.properties);
}

/** What goes in has its ranges told, and what may be left out; what comes out is always there. */
function fieldTable(schema: JsonSchema, direction: Direction): string {
  const rows = fieldRows(schema, '');
  if (direction === 'output')
    return table(
      ['name', 'type', 'meaning'],
      rows.map(({ name, type, isRequired, meaning }) => [name, isRequired ? type : `${type}, or absent`, meaning]),
    );
  return table(
    ['name', 'type', 'required', 'range', 'meaning'],
    rows.map(({ name, type, isRequired, range, meaning }) => [name, type, isRequired ? 'yes' : 'no', range, meaning]),
  );
}

interface FieldRow {
  readonly name: string;
  readonly type: string;
  readonly isRequired: boolean;
  readonly range: string;
  readonly meaning: string;
}

function fieldRows(schema: JsonSchema, prefix: string): FieldRow[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => [
    {
      name: `\`${prefix}${name}\``,
      type: typeName(field),
      isRequired: schema.required?.includes(name) ?? false,
      range: rangeOf(field),
      meaning: field.description ?? '',
    },
    ...nestedIn(field, `${prefix}${name}`),
  ]);
}

/** Fields of an object without a name of its own, beside those of the object that it is in. */
function nestedIn(field: JsonSchema, path: string): FieldRow[] {
  if (field.properties !== undefined) return fieldRows(field, `${path}.`);
  if (field.items !== undefined) return nestedIn(field.items, `${path}[]`);
  const variants = field.anyOf ?? field.oneOf ?? [];
  const rows = variants.flatMap((variant) => nestedIn(variant, path));
  // Variants of a union share some of their fields.
  return rows.filter((row, index) => rows.findIndex(({ name }) => name === row.name) === index);
}

function typeName(schema: JsonSchema): string {
  if (schema.$ref !== undefined) {
    const id = schema.$ref.replace('#/$defs/', '');
    return `[${id}](#${anchor(id)})`;
  }
  const variants = schema.anyOf ?? schema.oneOf;
  if (variants !== undefined) return [...new Set(variants.map(typeName))].join(' or ');
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  if (schema.enum !== undefined)
    return `one of ${schema.enum.map((value) => `\`${JSON.stringify(value)}\``).join(', ')}`;
  if (schema.type === 'array') return `array of ${typeName(schema.items ?? {})}`;
  if (schema.contentEncoding !== undefined) return `string in ${schema.contentEncoding}`;
  if (typeof schema.additionalProperties === 'object') {
    const of = `object of ${typeName(schema.additionalProperties)}`;
    const keys = schema.propertyNames?.enum;
    return keys === undefined ? of : `${of} by ${keys.map((key) => `\`${key}\``).join(', ')}`;
  }
  return schema.type === undefined ? 'any' : [schema.type].flat().join(' or ');
}

function rangeOf(schema: JsonSchema): string {
  const lowest = schema.minimum ?? (schema.exclusiveMinimum === undefined ? undefined : schema.exclusiveMinimum + 1);
  const each = schema.items === undefined ? '' : rangeOf(schema.items);
  const ranges = [
    interval(lowest, schema.maximum, ''),
    interval(schema.minLength, schema.maxLength, ' long'),
    interval(schema.minItems, schema.maxItems, ' items'),
    each === '' ? '' : `each ${each}`,
    ...(schema.anyOf ?? []).map(rangeOf),
  ];
  return ranges.filter((range) => range !== '').join(', ');
}

/** Bounds that every integer has, those of what JSON numbers can say exactly, are not told again. */
function interval(from: number | undefined, to: number | undefined, unit: string): string {
  const hasFrom = from !== undefined && from !== Number.MIN_SAFE_INTEGER;
  const hasTo = to !== undefined && to !== Number.MAX_SAFE_INTEGER;
  if (hasFrom && hasTo) return from === to ? `${grouped(from)}${unit}` : `${grouped(from)} to ${grouped(to)}${unit}`;
  if (hasFrom) return `from ${grouped(from)}${unit}`;
  return hasTo ? `up to ${grouped(to)}${unit}` : '';
}

function limitsTable(): string {
  return table(
    ['what', 'limit', 'beyond it'],
    [
      ['a frame, without its form feed', `${grouped(frameLimits.maxFrameBytes)} bytes`, '`FRAME_TOO_LARGE`, closed'],
      ['an answer', `${grouped(frameLimits.maxFrameBytes)} bytes`, '`FRAME_TOO_LARGE` in its place; ask for less'],
      ['time to complete a frame that was begun', `${grouped(frameLimits.frameTimeoutMs)} ms`, '`PARSE_ERROR`, closed'],
      ['bytes that wait for a client that does not read', grouped(frameLimits.maxPendingBytes), 'closed'],
      ['calls of one connection that wait for an answer', grouped(callLimits.maxCalls), '`TOO_MANY_CALLS`'],
      ['bytes of the requests of such calls', grouped(callLimits.maxRequestBytes), '`TOO_MANY_CALLS`'],
      ['connections', grouped(maxConnections), '`TOO_MANY_CONNECTIONS`, closed'],
      ['scopes that are open or being closed', grouped(maxScopes), '`TOO_MANY_SCOPES`'],
      ['`holdMs`', `${grouped(maxHoldMs)} ms`, '`INVALID_PARAMS`'],
      ['a piece of output, before base64', `${grouped(maxLogChunkBytes)} bytes`, '`INVALID_PARAMS`'],
      ['jobs in a page of `list`', grouped(maxPageSize), '`INVALID_PARAMS`'],
      ['jobs that one call may name', grouped(maxJobIds), '`INVALID_PARAMS`'],
    ],
  );
}

function exampleBlock(example: Example | undefined, name: string): string {
  if (example === undefined) throw new Error(`there is no example "${name}": npm run docs:record`);
  const shown = [example.request, example.answer].filter((data) => data !== undefined);
  return `\`\`\`json\n${shown.map((data) => laidOut(data, '')).join('\n')}\n\`\`\``;
}

/** JSON on one line where it fits, else one member to a line. */
function laidOut(value: unknown, indent: string): string {
  const flat = JSON.stringify(value);
  if (indent.length + flat.length <= 110 || typeof value !== 'object' || value === null) return flat;
  const deeper = `${indent}  `;
  if (Array.isArray(value)) {
    const items = value.map((item) => `${deeper}${laidOut(item, deeper)}`);
    return `[\n${items.join(',\n')}\n${indent}]`;
  }
  const members = Object.entries(value).map(([key, item]) => `${deeper}"${key}": ${laidOut(item, deeper)}`);
  return `{\n${members.join(',\n')}\n${indent}}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

function codes(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ');
}

/** As GitHub makes it of a heading. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w -]/g, '')
    .replaceAll(' ', '-');
}

function grouped(value: number): string {
  return value.toLocaleString('en-US');
}

/** What docs/protocol.md should be. */
export function currentProtocolDocs(): string {
  return renderProtocolDocs(protocol, fs.readFileSync(templateFile, 'utf8'));
}

if (import.meta.main) fs.writeFileSync(protocolDocsFile, currentProtocolDocs());
