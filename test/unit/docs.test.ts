/** The documents say what the code does. docs/protocol.md and man/ are made from the code and tested beside that. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { z } from 'zod';
import { environmentKeys, fileSchema } from '../../src/daemon/config/schema.ts';
import { formatDuration, formatSize, healthReasons } from '../../src/protocol/index.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (file: string) => fs.readFileSync(path.join(root, file), 'utf8');

/** Rows of the first table under a heading, cell by cell. */
function tableUnder(text: string, heading: string): string[][] {
  const section = text.slice(text.indexOf(`\n${heading}\n`));
  const lines = section.slice(section.indexOf('\n|') + 1).split('\n');
  const rows = lines.slice(
    2,
    lines.findIndex((line) => !line.startsWith('|')),
  );
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

describe('docs/configuration.md', () => {
  const rows = tableUnder(read('docs/configuration.md'), '## Keys');
  const keys = Object.entries(fileSchema.shape).flatMap(([section, schema]) =>
    Object.keys((schema as unknown as z.ZodPrefault<z.ZodObject>).unwrap().shape).map((key) => [section, key] as const),
  );

  test('has every key of the schema, and no other', () => {
    assert.deepEqual(
      rows.map(([key]) => key),
      keys.map(([section, key]) => `\`${section}.${key}\``),
    );
  });

  test('names the variable of each', () => {
    const variables = Object.fromEntries(
      Object.entries(environmentKeys).map(([name, [section, key]]) => [`\`${section}.${key}\``, `\`${name}\``]),
    );
    for (const [key = '', , variable] of rows) assert.equal(variable, variables[key], key);
  });

  test('names the default of each', () => {
    const defaults = fileSchema.parse({}) as Record<string, Record<string, unknown>>;
    for (const [index, [, text = '']] of rows.entries()) {
      const [section, key] = keys[index] ?? ['', ''];
      const value = defaults[section]?.[key];
      const forms = [
        value,
        value === null ? 'off' : '',
        value === undefined ? "the profile's" : '',
        ...(typeof value === 'number'
          ? [formatDuration(value), formatSize(value).replace(' ', '').replace('.0', ''), String(value)]
          : []),
      ];
      const said = text.replaceAll(/[`"]/g, '');
      assert.ok(
        forms.some((form) => form === said || form === `${said.slice(0, -1)}.0${said.slice(-1)}`),
        `${section}.${key}: ${said}, and not ${forms}`,
      );
    }
  });
});

describe('docs/operations.md', () => {
  const text = read('docs/operations.md');

  test('has a runbook for each reason of health, and no other', () => {
    const headings = [...text.matchAll(/^### ([A-Z_]+) \((\w+)\)$/gm)].map(([, code, level]) => [code, level]);
    assert.deepEqual(
      headings,
      Object.entries(healthReasons).map(([code, { level }]) => [code, level]),
    );
  });

  test('explains every line of the log', () => {
    const said = tableUnder(text, '## Log lines').flatMap(([cell = '']) =>
      [...cell.matchAll(/`([^`]+)`/g)].map(([, message = '']) => pattern(message)),
    );
    const messages = daemonSources().flatMap((source) => logged(source));
    assert.ok(messages.length > 12, messages.join('; '));
    for (const message of messages)
      assert.ok(
        said.some((known) => known.test(message)),
        `"${message}" is not explained`,
      );
  });

  test('control: a line that is not there would be missed', () => {
    assert.deepEqual(logged("log.warn('something new', { x });"), ['something new']);
    assert.ok(!pattern('job … → …').test('something new'));
  });
});

function pattern(message: string): RegExp {
  const escaped = message.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('…', '.+');
  return new RegExp(`^${escaped}$`);
}

function daemonSources(): string[] {
  const folder = path.join(root, 'src/daemon');
  return fs
    .readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => fs.readFileSync(path.join(folder, name), 'utf8'));
}

/** Messages that are written as they stand in the code; what a template computes is `x`. */
function logged(source: string): string[] {
  const calls = source.matchAll(/\b(?:log\.(?:info|warn|error|debug)|complain)\(\s*(['"`])(.*?)\1/g);
  return [...calls].map(([, , message = '']) => message.replaceAll(/\$\{[^}]*\}/g, 'x'));
}

test('the transcript in docs/operations.md shows the steps of systemd/README.md, and each that it records', () => {
  const transcript = /```console\n(.*?)```/s.exec(read('docs/operations.md'))?.[1] ?? '';
  const typed = transcript.split('\n').filter((line) => line.startsWith('# '));
  const steps = /```sh\n(.*?)```/s.exec(read('systemd/README.md'))?.[1]?.trim().split('\n') ?? [];
  assert.deepEqual(
    typed.slice(0, steps.length),
    steps.map((step) => `# ${step}`),
  );
  assert.equal(
    typed.length,
    (read('tools/transcript.ts').match(/^ {2}("|'|\{ typed)/gm) ?? []).length,
    'npm run docs:transcript',
  );
});
