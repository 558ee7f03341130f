/** The documents say what the code does. docs/protocol.md and man/ are made from the code and tested beside that. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { hookSection } from '../../src/daemon/config/hooks.ts';
import { configKeys } from '../../src/daemon/config/keys.ts';
import { lineOf } from '../../src/daemon/config/lines.ts';
import { type Config, useText } from '../../src/daemon/config/read.ts';
import { settlePolicies } from '../../src/daemon/core/index.ts';
import { healthReasons, resolvePaths } from '../../src/protocol/index.ts';

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
  // Of profiles, what they have beyond the keys of [jobs].
  const keys = configKeys.filter(({ path }) => path[0] !== 'hooks' && (path[1] !== 'NAME' || path.at(-1) === 'base'));

  test('has every key of a hook, and no other', () => {
    assert.deepEqual(
      tableUnder(read('docs/configuration.md'), '## Hooks').map(([key]) => key),
      Object.keys(hookSection.shape).map((key) => `\`${key}\``),
    );
  });

  test('has every key of the schema, and no other', () => {
    assert.deepEqual(
      rows.map(([key]) => key),
      keys.map(({ path }) => `\`${path.join('.')}\``),
    );
  });

  test('names the variable of each', () => {
    for (const [index, [key = '', , variable]] of rows.entries()) {
      const known = keys[index]?.variable ?? null;
      assert.equal(variable, known === null ? '' : `\`${known}\``, key);
    }
  });

  test('names the default of each', () => {
    const unset = new Map(
      useText(nowhere, {})
        .shown()
        .map(({ key, value }) => [key, String(value)]),
    );
    for (const [key = '', text = ''] of rows) {
      const name = key.replaceAll('`', '');
      // Whether there is an idle policy at all does not show beside its parts; the base of a profile is what it is by itself.
      const known = name === 'jobs.idle' ? 'on' : name === 'profiles.NAME.base' ? 'default' : unset.get(name);
      assert.equal(text.replaceAll(/[`"[\] ]/g, ''), known, name);
    }
  });
});

describe('systemd/examples/config.toml', () => {
  const uncommented = read('systemd/examples/config.toml').replaceAll(/^#(?=\[|[a-z.-]+ = )/gm, '');

  test('has nothing in force as it is shipped', () => {
    assert.deepEqual(useText({ ...nowhere, text: read('systemd/examples/config.toml') }, {}).shown(), [
      ...useText(nowhere, {}).shown(),
    ]);
  });

  test('uncommented, it says what holds without it', () => {
    const { jobDefaults, ...rest } = withoutPlace(useText({ ...nowhere, text: uncommented }, {}));
    const { jobDefaults: builtIn, ...restBuiltIn } = withoutPlace(useText(nowhere, {}));
    assert.deepEqual(rest, restBuiltIn);
    assert.deepEqual(jobDefaults.caps, builtIn.caps);
    assert.deepEqual([...jobDefaults.profiles.keys()], [...builtIn.profiles.keys()]);
    for (const name of builtIn.profiles.keys())
      assert.deepEqual(
        settlePolicies({}, name, jobDefaults).policies,
        settlePolicies({}, name, builtIn).policies,
        name,
      );
    for (const { settings } of [...builtIn.profiles.values()].slice(1))
      assert.ok(
        [...jobDefaults.profiles.values()].some(({ configured }) => isDeepStrictEqual(configured, settings)),
        JSON.stringify(settings),
      );
  });

  test('has every key', () => {
    const shown = configKeys.filter(
      ({ path }) => path[1] !== 'NAME' && !['jobs.idle', 'hooks'].includes(path.join('.')),
    );
    for (const { path } of shown) assert.notEqual(exactLineOf(uncommented, path), null, path.join('.'));
  });
});

const nowhere = { paths: resolvePaths({ HOME: '/nowhere' }, 1), text: null };

function withoutPlace({ file: _, shown: __, ...config }: Config) {
  return config;
}

/** The line on which the key itself is set. */
function exactLineOf(text: string, path: readonly string[]): number | null {
  const line = lineOf(text, path);
  return line !== null && text.split('\n')[line - 1]?.includes(`${path.at(-1)} = `) ? line : null;
}

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
