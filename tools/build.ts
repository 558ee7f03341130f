/** Compiles src to dist for the published package, where Node takes no TypeScript. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = `${root}dist`;

/** Only the library is there to be imported, so only it needs its types. */
const withoutTypes = /^(daemon|client\/cli)\/|^compile-cache\./;

/** A specifier in a declaration file, as tsc prints it: `from './connection.ts'`, `import("./jobs.ts")`. */
const relativeTs = /(['"])(\.\.?\/[^'"\n]+)\.ts\1/g;

fs.rmSync(dist, { recursive: true, force: true });
execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', `${root}tsconfig.build.json`], {
  stdio: 'inherit',
});
for (const name of fs.readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
  if (!name.endsWith('.d.ts')) continue;
  const file = `${dist}/${name}`;
  // rewriteRelativeImportExtensions leaves declarations alone, and a consumer has no .ts files of ours.
  if (withoutTypes.test(name)) fs.rmSync(file);
  else fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace(relativeTs, '$1$2.js$1'));
}
