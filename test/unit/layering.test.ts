import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

/**
 * Who may import whom (design.md, section 4). Folders are the units; files that lie in src/daemon itself are units of their own.
 * `types` may be reached by `import type` alone.
 */
const rules: Record<string, { may: readonly string[]; types?: readonly string[] }> = {
  protocol: { may: ['package.json'] },
  'compile-cache.ts': { may: ['protocol'] },
  'daemon/core': { may: ['protocol'] },
  'daemon/linux': { may: ['protocol', 'daemon/core'] },
  'daemon/process': { may: ['protocol', 'daemon/core', 'daemon/linux'] },
  'daemon/store': { may: ['protocol', 'daemon/core'] },
  'daemon/config': { may: ['protocol', 'daemon/core'] },
  'daemon/ipc': { may: ['protocol', 'daemon/core'] },
  'daemon/shells.ts': { may: [], types: ['protocol', 'daemon/core'] },
  'daemon/keeper.ts': { may: ['protocol'], types: ['daemon/shells.ts', 'daemon/store'] },
  'daemon/log.ts': { may: ['daemon/log-file.ts'], types: ['daemon/shells.ts'] },
  'daemon/log-file.ts': { may: ['protocol'] },
  'daemon/notifier.ts': { may: ['protocol'], types: ['daemon/shells.ts'] },
  'daemon/state-dir.ts': { may: ['protocol', 'daemon/linux'] },
  'daemon/vitals.ts': { may: ['protocol', 'daemon/core', 'daemon/linux'] },
  'daemon/loop': { may: ['protocol', 'daemon/core'], types: ['daemon/store', 'daemon/shells.ts'] },
  'daemon/supervisor.ts': {
    may: ['protocol', 'daemon/core', 'daemon/loop'],
    types: ['daemon/shells.ts', 'daemon/store', 'daemon/process', 'daemon/config', 'daemon/ipc'],
  },
  'daemon/entry.ts': { may: ['protocol', 'compile-cache.ts', 'daemon/main.ts'] },
  client: { may: ['protocol', 'compile-cache.ts'] },
};

/** The composition roots: programs of their own. */
const programs = ['src/daemon/main.ts', 'src/daemon/doctor.ts', 'src/daemon/backup.ts', 'src/daemon/read-config.ts'];

/** What runs before the compile cache is on takes of the protocol what loads no schemas. */
const sideDoors: Record<string, readonly string[]> = {
  'src/compile-cache.ts': ['src/protocol/errors.ts', 'src/protocol/paths.ts'],
  'src/daemon/entry.ts': ['src/protocol/version.ts'],
};

/** Packages that one place alone may import. */
const packagePlaces: Record<string, readonly string[]> = {
  execa: ['src/daemon/process/execa-child.ts'],
  koffi: ['src/daemon/linux/'],
  winston: ['src/daemon/log.ts'],
  'node-ipc': ['src/daemon/ipc/server.ts', 'src/client/transport.ts'],
  pidusage: ['src/daemon/process/'],
  chokidar: ['src/daemon/config/'],
};

const environmentPlaces = [
  'src/daemon/config/',
  ...programs,
  'src/daemon/entry.ts',
  'src/client/cli/',
  'src/client/index.ts',
];

/** What a pure file cannot do. */
const impure: readonly [what: string, pattern: RegExp][] = [
  ['await', /\bawait\b/],
  ['Date.now', /\bDate\s*\.\s*now\b/],
  ['new Date()', /\bnew\s+Date\s*(?!\s*\(\s*[^\s)])/],
  ['Math.random', /\bMath\s*\.\s*random\b/],
  ['performance', /\bperformance\b/],
  ['process', /\bprocess\s*\./],
  ['a timer', /\bset(Timeout|Interval|Immediate)\b/],
];

interface Import {
  readonly specifier: string;
  readonly isTypeOnly: boolean;
  /** `import()`: when it is needed, not at the start. */
  readonly isLazy: boolean;
}

/** The code without its comments, and, if asked, without what its strings say. */
function codeOf(source: string, strings: 'kept' | 'emptied'): string {
  return source.replace(
    /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g,
    (token) => {
      if (token.startsWith('/')) return ' ';
      if (strings === 'kept') return token;
      // What a template computes is code.
      return token.startsWith('`') ? [...token.matchAll(/\$\{([^}]*)\}/g)].map((match) => match[1]).join(';') : "''";
    },
  );
}

function importsOf(source: string): Import[] {
  const code = codeOf(source, 'kept');
  const statements = code.matchAll(
    /^\s*(?:import|export)\b(?<what>[^'"`;()]*?\bfrom)?\s*(['"])(?<specifier>[^'"]+)\2/gm,
  );
  const calls = code.matchAll(/\b(?:import|require)\s*\(\s*(['"`])(?<specifier>[^'"`]+)\1/g);
  const importOf = ({ groups }: RegExpExecArray, isLazy: boolean): Import => ({
    specifier: groups?.specifier ?? '',
    isTypeOnly: /^\s*type\b/.test(groups?.what ?? ''),
    isLazy,
  });
  return [...[...statements].map((one) => importOf(one, false)), ...[...calls].map((one) => importOf(one, true))];
}

/** `daemon/core` for src/daemon/core/queue.ts, `daemon/log.ts` for src/daemon/log.ts, `client` for all of src/client. */
function unitOf(file: string): string {
  const [, first = '', second = ''] = file.split('/');
  if (!file.startsWith('src/')) return file;
  return first === 'daemon' ? `daemon/${second}` : first;
}

function checkImport(file: string, { specifier, isTypeOnly }: Import): string | null {
  const from = unitOf(file);
  if (!specifier.startsWith('.')) {
    const places = Object.entries(packagePlaces).find(
      ([name]) => specifier === name || specifier.startsWith(`${name}/`),
    )?.[1];
    if (places !== undefined && !places.some((place) => file.startsWith(place)))
      return `only ${places.join(' and ')} may`;
    if (from === 'daemon/core') return 'core is pure';
    if (from === 'protocol' && specifier.startsWith('node:')) return 'protocol is pure';
    return null;
  }
  const target = path.posix.join(path.posix.dirname(file), specifier);
  const to = unitOf(target);
  if (to === from || programs.includes(file)) return to === from || isDoor(target) ? null : 'the way in is index.ts';
  const rule = rules[from];
  if (rule === undefined) return `there is no rule for ${from}; give it one`;
  if (!rule.may.includes(to)) {
    if (!rule.types?.includes(to)) return `${from} may not import ${to}`;
    if (!isTypeOnly) return `${from} may import types of ${to} only`;
  }
  return isDoor(target) || sideDoors[file]?.includes(target) ? null : 'the way in is index.ts';
}

/** The index.ts of a folder, or a file that is a unit of its own. */
function isDoor(target: string): boolean {
  return unitOf(target) === target.replace('src/', '') || target === `src/${unitOf(target)}/index.ts`;
}

/** One sentence for each breach of the rules. */
function breaches(file: string, source: string): string[] {
  const imports = importsOf(source).flatMap((one) => {
    const why = checkImport(file, one);
    return why === null ? [] : [`${file} imports ${one.specifier}: ${why}`];
  });
  const code = codeOf(source, 'emptied');
  const words = unitOf(file) === 'daemon/core' ? impure.filter(([, pattern]) => pattern.test(code)) : [];
  const readsEnvironment =
    /\bprocess\s*\.\s*env\b/.test(code) && !environmentPlaces.some((place) => file.startsWith(place));
  return [
    ...imports,
    ...words.map(([what]) => `${file} holds ${what}: core is pure`),
    ...(readsEnvironment ? [`${file} reads process.env: only ${environmentPlaces.join(', ')} may`] : []),
  ];
}

/** A way through files from one back to itself, also by way of types; `null`: there is none. */
function circleIn(sources: ReadonlyMap<string, string>): string[] | null {
  const cleared = new Set<string>();
  const search = (file: string, way: readonly string[]): string[] | null => {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file];
    const source = sources.get(file);
    if (source === undefined || cleared.has(file)) return null;
    for (const { specifier } of importsOf(source)) {
      if (!specifier.startsWith('.')) continue;
      const found = search(path.posix.join(path.posix.dirname(file), specifier), [...way, file]);
      if (found !== null) return found;
    }
    cleared.add(file);
    return null;
  };
  for (const file of sources.keys()) {
    const found = search(file, []);
    if (found !== null) return found;
  }
  return null;
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const files = fs
  .readdirSync(`${root}/src`, { recursive: true, encoding: 'utf8' })
  .map((name) => `src/${name}`)
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  .sort();
const sourceOf = (file: string) => fs.readFileSync(path.join(root, file), 'utf8');

describe('the source keeps the rules', () => {
  for (const file of files) test(file, () => assert.deepEqual(breaches(file, sourceOf(file)), []));

  test('every rule is about something that exists', () => {
    const units = new Set(files.map(unitOf));
    for (const unit of Object.keys(rules)) assert.ok(units.has(unit), unit);
  });

  for (const folder of ['src/daemon/core/', 'src/client/']) {
    test(`no circle of imports in ${folder}`, () => {
      const inside = files.filter((file) => file.startsWith(folder));
      assert.equal(circleIn(new Map(inside.map((file) => [file, sourceOf(file)]))), null);
    });
  }

  test('every import statement is seen', () => {
    for (const file of files) {
      const lines = codeOf(sourceOf(file), 'kept').match(/(\bfrom\s+|\bimport\s*\(?)['"][^'"]+['"]/g) ?? [];
      assert.equal(importsOf(sourceOf(file)).length, lines.length, file);
    }
  });
});

/** What is loaded together with a file, the file included. */
function loadedWith(start: string, loads: (one: Import) => boolean): Set<string> {
  const reached = new Set([start]);
  for (const file of reached) {
    for (const one of importsOf(sourceOf(file))) {
      if (!one.specifier.endsWith('.ts') || one.isTypeOnly || !loads(one)) continue;
      reached.add(path.posix.join(path.posix.dirname(file), one.specifier));
    }
  }
  return reached;
}

test('execa, which is large, is no part of what the daemon loads at its start', () => {
  const atStart = loadedWith('src/daemon/main.ts', ({ isLazy }) => !isLazy);
  const everything = loadedWith('src/daemon/main.ts', () => true);
  const users = ['execa-child.ts', 'execa-launcher.ts', 'hook-command.ts'].map((name) => `src/daemon/process/${name}`);
  assert.ok(atStart.has('src/daemon/process/posix-launcher.ts'));
  for (const user of users) assert.deepEqual([atStart.has(user), everything.has(user)], [false, true], user);
});

const controls: { file: string; source: string; says: string | null }[] = [
  {
    file: 'src/protocol/units.ts',
    source: "import { decide } from '../daemon/core/index.ts';",
    says: 'protocol may not import daemon/core',
  },
  { file: 'src/protocol/paths.ts', source: "import os from 'node:os';", says: 'protocol is pure' },
  {
    file: 'src/protocol/version.ts',
    source: "import manifest from '../../package.json' with { type: 'json' };",
    says: null,
  },
  { file: 'src/protocol/jobs.ts', source: "import { z } from 'zod';", says: null },
  { file: 'src/daemon/core/decide.ts', source: "import fs from 'node:fs';", says: 'core is pure' },
  { file: 'src/daemon/core/decide.ts', source: "import { z } from 'zod';", says: 'core is pure' },
  {
    file: 'src/daemon/core/decide.ts',
    source: "import type { Store } from '../store/index.ts';",
    says: 'daemon/core may not import daemon/store',
  },
  {
    file: 'src/daemon/core/decide.ts',
    source: "import { unreachable } from '../../protocol/errors.ts';",
    says: 'the way in is index.ts',
  },
  { file: 'src/daemon/core/decide.ts', source: "import { Heap } from './heap.ts';", says: null },
  { file: 'src/daemon/core/decide.ts', source: 'const x = await y;', says: 'holds await' },
  { file: 'src/daemon/core/decide.ts', source: 'const x = Date.now();', says: 'holds Date.now' },
  { file: 'src/daemon/core/decide.ts', source: 'const x = new Date();', says: 'holds new Date()' },
  { file: 'src/daemon/core/decide.ts', source: 'const x = new Date;', says: 'holds new Date()' },
  { file: 'src/daemon/core/decide.ts', source: 'const x = new Date(wallMs);', says: null },
  { file: 'src/daemon/core/decide.ts', source: 'const x = Math.random();', says: 'holds Math.random' },
  { file: 'src/daemon/core/decide.ts', source: 'const x = performance.now();', says: 'holds performance' },
  { file: 'src/daemon/core/decide.ts', source: `const x = \`at \${Date.now()} ms\`;`, says: 'holds Date.now' },
  { file: 'src/daemon/core/decide.ts', source: 'setTimeout(() => {}, 1);', says: 'holds a timer' },
  { file: 'src/daemon/core/decide.ts', source: "// Date.now\n/* await */ const x = 'Math.random';", says: null },
  {
    file: 'src/daemon/store/sqlite.ts',
    source: "import { readStat } from '../linux/index.ts';",
    says: 'daemon/store may not import daemon/linux',
  },
  {
    file: 'src/daemon/store/sqlite.ts',
    source: "import type { Job } from '../core/job.ts';",
    says: 'the way in is index.ts',
  },
  { file: 'src/daemon/process/runner.ts', source: "import { readStat } from '../linux/index.ts';", says: null },
  {
    file: 'src/daemon/process/runner.ts',
    source: "import { readStat } from '../linux/processes.ts';",
    says: 'the way in is index.ts',
  },
  {
    file: 'src/daemon/process/runner.ts',
    source: "import { Supervisor } from '../supervisor.ts';",
    says: 'daemon/process may not import daemon/supervisor.ts',
  },
  {
    file: 'src/daemon/linux/host.ts',
    source: "export { Runner } from '../process/index.ts';",
    says: 'daemon/linux may not import daemon/process',
  },
  {
    file: 'src/daemon/config/index.ts',
    source: "import { SqliteStore } from '../store/index.ts';",
    says: 'daemon/config may not import daemon/store',
  },
  {
    file: 'src/daemon/ipc/methods/get.ts',
    source: "import {\n  readStat,\n} from '../../linux/index.ts';",
    says: 'daemon/ipc may not import daemon/linux',
  },
  { file: 'src/daemon/ipc/methods/get.ts', source: "import type { Call } from '../backend.ts';", says: null },
  {
    file: 'src/daemon/supervisor.ts',
    source: "import { SqliteStore } from './store/index.ts';",
    says: 'may import types of daemon/store only',
  },
  {
    file: 'src/daemon/supervisor.ts',
    source: "import { type Store } from './store/index.ts';",
    says: 'may import types of daemon/store only',
  },
  { file: 'src/daemon/supervisor.ts', source: "import type { Store } from './store/index.ts';", says: null },
  {
    file: 'src/daemon/supervisor.ts',
    source: "import type { Store } from './store/store.ts';",
    says: 'the way in is index.ts',
  },
  {
    file: 'src/daemon/supervisor.ts',
    source: "import { readStat } from './linux/index.ts';",
    says: 'may not import daemon/linux',
  },
  { file: 'src/daemon/main.ts', source: "import { SqliteStore } from './store/index.ts';", says: null },
  {
    file: 'src/daemon/main.ts',
    source: "import { SqliteStore } from './store/sqlite.ts';",
    says: 'the way in is index.ts',
  },
  {
    file: 'src/daemon/new.ts',
    source: "import { readStat } from './linux/index.ts';",
    says: 'there is no rule for daemon/new.ts',
  },
  {
    file: 'src/client/cli/verbs/run.ts',
    source: "import { decide } from '../../../daemon/core/index.ts';",
    says: 'client may not import daemon/core',
  },
  {
    file: 'src/client/cli/verbs/run.ts',
    source: "import { units } from '../../../protocol/units.ts';",
    says: 'the way in is index.ts',
  },
  {
    file: 'src/client/cli/entry.ts',
    source: "import { units } from '../../protocol/units.ts';",
    says: 'the way in is index.ts',
  },
  { file: 'src/client/cli/verbs/run.ts', source: "import { connect } from '../../index.ts';", says: null },
  {
    file: 'src/client/connection.ts',
    source: "const { main } = await import('../daemon/main.ts');",
    says: 'client may not import daemon/main.ts',
  },
  {
    file: 'src/daemon/process/execa-launcher.ts',
    source: "import { execa } from 'execa';",
    says: 'only src/daemon/process/execa-child.ts may',
  },
  { file: 'src/daemon/process/scan.ts', source: "import koffi from 'koffi';", says: 'only src/daemon/linux/ may' },
  { file: 'src/daemon/main.ts', source: "import winston from 'winston';", says: 'only src/daemon/log.ts may' },
  {
    file: 'src/client/index.ts',
    source: "import ipc from 'node-ipc/helpers.js';",
    says: 'only src/daemon/ipc/server.ts and src/client/transport.ts may',
  },
  { file: 'src/daemon/store/sqlite.ts', source: 'const home = process.env.HOME;', says: 'reads process.env' },
  { file: 'src/client/connection.ts', source: 'const env = process\n  .env;', says: 'reads process.env' },
  { file: 'src/client/cli/print.ts', source: 'const env = process.env;', says: null },
  { file: 'src/client/index.ts', source: 'const env = process.env;', says: null },
];

describe('a breach is reported, and nothing else is', () => {
  for (const { file, source, says } of controls) {
    test(`${file}: ${source.replaceAll('\n', ' ')}`, () => {
      const found = breaches(file, source);
      assert.equal(found.length, says === null ? 0 : 1, found.join('\n'));
      if (says !== null) assert.ok(found[0]?.includes(says), found[0]);
    });
  }
});

test('the check for circles can fail', () => {
  const found = circleIn(
    new Map([
      ['core/a.ts', "import { b } from './b.ts';"],
      ['core/b.ts', "import fs from 'node:fs';\nexport * from './deep/c.ts';"],
      ['core/deep/c.ts', "import type { B } from '../b.ts';"],
    ]),
  );
  assert.deepEqual(found, ['core/b.ts', 'core/deep/c.ts', 'core/b.ts']);
});
