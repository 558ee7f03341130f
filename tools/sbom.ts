/**
 * Writes the software bill of materials of the published package, in CycloneDX, from the lockfile alone.
 * `node tools/sbom.ts [FILE]`; without one it becomes part of the package.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import manifest from '../package.json' with { type: 'json' };

const root = fileURLToPath(new URL('..', import.meta.url));
const [file = `${root}dist/sbom.cdx.json`] = process.argv.slice(2);

// Without workspaces: the Node of a checkout is none of the package's.
const options = ['--sbom-format=cyclonedx', '--omit=dev', '--workspaces=false', '--package-lock-only', '--offline'];
const text = execFileSync('npm', ['sbom', ...options], { cwd: root, encoding: 'utf8' });
const bom = JSON.parse(text) as { metadata: { component: { name: string } } };
// npm takes the name of the folder.
bom.metadata.component.name = manifest.name;
fs.mkdirSync(path.dirname(file), { recursive: true });
fs.writeFileSync(file, `${JSON.stringify(bom, null, 2)}\n`);
