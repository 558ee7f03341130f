import fs from 'node:fs';

const docs = fs.readFileSync(new URL('../../docs/policies.md', import.meta.url), 'utf8');

/** The lines that give the tests of a file a scope, as docs/policies.md has them. @param library where it is imported from */
export function documentedFixture(runner: 'node:test' | 'vitest', library = 'corral'): string {
  const examples = [...docs.matchAll(/```ts\n(.*?)```/gs)].map(([, code = '']) => code);
  const example = examples.find((code) => code.includes(`from '${runner}';`));
  if (example === undefined) throw new Error(`docs/policies.md has no example for ${runner}`);
  const [lines = ''] = example.split('\ntest(');
  return lines.replace("'corral'", `'${library}'`);
}
