import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createProgram } from '../../src/client/cli/program.ts';
import { manPages } from '../../tools/man-pages.ts';
import { definition, example, literal, macro, page, section } from '../../tools/roff.ts';

const folder = fileURLToPath(new URL('../../man', import.meta.url));
const pages = manPages();

test('the man pages in man/ are what the command line says now (else: npm run docs)', () => {
  assert.deepEqual(fs.readdirSync(folder).sort(), [...pages.keys()].sort());
  for (const [name, text] of pages) assert.equal(fs.readFileSync(`${folder}/${name}`, 'utf8'), text, name);
});

test('every verb has a page with every section, every option, and an example', () => {
  const verbs = createProgram().commands.filter((verb) => !['help', '__complete'].includes(verb.name()));
  assert.equal(pages.size, verbs.length + 2);
  for (const verb of verbs) {
    const text = pages.get(`corral-${verb.name()}.1`) ?? '';
    const headings = 'NAME,SYNOPSIS,DESCRIPTION,EXIT STATUS,ENVIRONMENT,FILES,EXAMPLES,SEE ALSO'.split(',');
    for (const heading of headings) assert.ok(text.includes(`.SH "${heading}"`), `${verb.name()}: ${heading}`);
    for (const option of [verb, ...verb.commands].flatMap((command) => command.options))
      assert.ok(text.includes(literal(option.flags)), `${verb.name()}: ${option.flags}`);
    assert.match(text, /^corral \S.*\n\.fi$|^.*\| corral .*\n\.fi$|^echo .*corral.*\n\.fi$/m, verb.name());
  }
});

const literals: { text: string; roff: string }[] = [
  { text: '.SH is no request here', roff: '\\&.SH is no request here' },
  { text: "'tis no request either", roff: '\\(aqtis no request either' },
  { text: 'a\n.b', roff: 'a\n\\&.b' },
  { text: 'back\\slash', roff: 'back\\eslash' },
  { text: '--stdin', roff: '\\-\\-stdin' },
  { text: 'sed \'s/.*/"&"/\'', roff: 'sed \\(aqs/.*/\\(dq&\\(dq/\\(aq' },
  { text: '~/x `y` ^z', roff: '\\(ti/x \\(gay\\(ga \\(haz' },
  { text: 'é', roff: '\\[u00E9]' },
];

describe('text stands for itself', () => {
  for (const { text, roff } of literals) test(JSON.stringify(text), () => assert.equal(literal(text), roff));

  test('an argument of a macro stays one', () => {
    assert.equal(macro('B', 'say "x"', 'a\nb'), '.B "say \\(dqx\\(dq" "a b"');
  });
});

const formatters: { name: string; command: string[]; harmless: RegExp }[] = [
  { name: 'groff', command: ['groff', '-man', '-ww', '-Tutf8', '-z'], harmless: /^$/ },
  // A date would make the pages differ from build to build.
  { name: 'mandoc', command: ['mandoc', '-T', 'lint', '-W', 'warning'], harmless: /missing date/ },
  { name: 'man', command: ['man', '--warnings', '-l'], harmless: /^$/ },
];

function complaints(t: TestContext, { command, harmless }: (typeof formatters)[number], text: string): string[] {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-man-'));
  t.after(() => fs.rmSync(dir, { recursive: true }));
  fs.writeFileSync(`${dir}/page.man`, text);
  const [program = '', ...args] = command;
  const { stdout, stderr } = spawnSync(program, [...args, `${dir}/page.man`], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH ?? '', LC_ALL: 'C.UTF-8', MANWIDTH: '80', MANROFFOPT: '' },
  });
  return `${program === 'man' ? '' : stdout}${stderr}`
    .split('\n')
    .filter((line) => line !== '' && !harmless.test(line));
}

for (const formatter of formatters) {
  const [program = ''] = formatter.command;
  const skip = spawnSync(program, ['--version']).error === undefined ? false : `needs ${program}`;
  test(`${formatter.name} has no complaint about any page`, { skip }, (t) => {
    for (const [name, text] of pages) assert.deepEqual(complaints(t, formatter, text), [], name);
  });

  test(`control: ${formatter.name} complains about a broken page`, { skip }, (t) => {
    const broken = page('x', 1, 'x', section('NAME', 'x \\- y')).concat('.TP\n.nosuchmacro\n\\[nosuchglyph]\n.RE 7\n');
    assert.notDeepEqual(complaints(t, formatter, broken), []);
  });

  test(`${formatter.name} takes hostile text for what it is`, { skip }, (t) => {
    const hostile = '.so /etc/passwd\n\'ds x\n\\*[x] \\fB \\n[y] "quoted" --flag \\';
    const text = page(
      'x',
      1,
      'x',
      section('NAME', literal('x - y')),
      section('A', definition(hostile, hostile), example(hostile)),
    );
    assert.deepEqual(complaints(t, formatter, text), []);
  });
}
