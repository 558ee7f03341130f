/**
 * Holds the dependencies to what was read and approved (design.md, section 10). node-ipc has been hijacked twice, so it and its
 * whole tree are held to the bytes; everything else to an exact version with an integrity in the lockfile.
 */
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';

/** node-ipc 14.0.0 and all that it loads, as they were read in full. Change a line only after reading the new code. */
const approved: Readonly<Record<string, { version: string; integrity: string }>> = {
  'node-ipc': {
    version: '14.0.0',
    integrity: 'sha512-d5+aogND4Gk6aQkW5KCibliM4Mn12+isHXt8wFghO4Bn0gBSnev3TXJWQ4eEnzrlh5gCG+nwQEZwyayeDtQxQA==',
  },
  'event-pubsub': {
    version: '6.1.1',
    integrity: 'sha512-08nRrPDOAI5QtM/iQRVIs9DiWyFiyG8VCKf/4i71xQAurXm07exshjSY80wSHJMsHPw9cpUxzJPpXjMyHeBTZw==',
  },
  'strong-type': {
    version: '2.0.0',
    integrity: 'sha512-HHrY9qYC7yn+5mlewiI3k9RQM9gZqGQsqbomZcd10Ks0h4RlX01nnkWbCe4AsVPCI6KaFvpkWm1nHMD+Ykup6g==',
  },
  'js-message': {
    version: '3.1.0',
    integrity: 'sha512-k9iKFwzyAbz8gDJXIvIohSBaXeG3PvFzVwUccaDf0vv8LbEMpOvUfpyE6MGrlovliFdhTBUcIvXfSxOZkorWhA==',
  },
  'js-queue': {
    version: '3.1.0',
    integrity: 'sha512-qENB7XiNpXyxg6132Bwz08uq8GQyaVhD53O41d1F45aCHbKD82bkgZYHWqBGsWggDy8KuY5mPzG7oDnUV7Mn8A==',
  },
  'easy-stack': {
    version: '2.1.0',
    integrity: 'sha512-ZpUD5AJeKhRic1RrajfGKuLl721bCeIpnAj1i7BtlC1XX5Mb52ku3e9pDWryV32yndd28ZyqdVsVcBuI7WY2Iw==',
  },
};

const dependencyFields = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'] as const;

const exactVersion = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;

type Manifest = { readonly [field in (typeof dependencyFields)[number]]?: Readonly<Record<string, string>> };

interface LockedPackage extends Manifest {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly link?: boolean;
}

/** The texts of the files that are looked at. */
export interface PinnedFiles {
  readonly manifests: Readonly<Record<string, string>>;
  readonly lockfile: string;
  readonly npmrc: string;
}

const manifestPaths = ['package.json', 'tools/runtime/package.json'];

export function readPinnedFiles(root: string): PinnedFiles {
  const read = (path: string) => fs.readFileSync(`${root}/${path}`, 'utf8');
  return {
    manifests: Object.fromEntries(manifestPaths.map((path) => [path, read(path)])),
    lockfile: read('package-lock.json'),
    npmrc: read('.npmrc'),
  };
}

/** One sentence for each thing that is not pinned. */
export function findLoosePins({ manifests, lockfile, npmrc }: PinnedFiles): string[] {
  const { packages = {} } = JSON.parse(lockfile) as { packages?: Record<string, LockedPackage> };
  return [
    ...Object.entries(manifests).flatMap(([path, text]) => checkManifest(path, JSON.parse(text) as Manifest)),
    ...checkApproved(packages),
    ...Object.entries(packages).flatMap(([path, locked]) => checkLocked(path, locked)),
    ...checkAddresses(packages),
    ...checkNpmrc(npmrc),
  ];
}

function checkManifest(path: string, manifest: Manifest): string[] {
  return dependencyFields.flatMap((field) =>
    Object.entries(manifest[field] ?? {}).flatMap(([name, spec]) => {
      if (!exactVersion.test(spec)) return [`${path} asks for ${name} ${spec}, which is no exact version.`];
      const wanted = approvedVersion(name);
      if (wanted === undefined || wanted === spec) return [];
      return [`${path} asks for ${name} ${spec}; approved is ${wanted} alone.`];
    }),
  );
}

function checkApproved(packages: Readonly<Record<string, LockedPackage>>): string[] {
  return Object.entries(approved).flatMap(([name, { version, integrity }]) => {
    const copies = Object.entries(packages).filter(([path]) => path.endsWith(`node_modules/${name}`));
    if (copies.length === 0) return [`package-lock.json does not lock ${name}; approved is ${version}.`];
    return copies.flatMap(([path, locked]) => [
      ...(locked.version === version
        ? []
        : [`package-lock.json has ${path} ${locked.version}; approved is ${version} alone.`]),
      ...(locked.integrity === integrity
        ? []
        : [`package-lock.json has another integrity for ${path} than the one that was approved.`]),
      ...dependencyFields
        .flatMap((field) => Object.keys(locked[field] ?? {}))
        .filter((dependency) => approvedVersion(dependency) === undefined)
        .map((dependency) => `package-lock.json has ${path} depend on ${dependency}, which is not approved.`),
    ]);
  });
}

function checkLocked(path: string, locked: LockedPackage): string[] {
  const isOurs = locked.link === true || !path.includes('node_modules/');
  return [
    ...(isOurs || locked.integrity?.startsWith('sha512-')
      ? []
      : [`package-lock.json has no sha512 integrity for ${path}.`]),
    ...(locked.link === true || locked.resolved === undefined
      ? []
      : [
          `package-lock.json says where ${path} was fetched from. Write it again with omit-lockfile-registry-resolved.`,
        ]),
  ];
}

/** The lockfile works with every registry only if it names none. Addresses of sponsors are not fetched. */
function checkAddresses(value: unknown, keys: readonly string[] = []): string[] {
  if (typeof value === 'string') {
    return value.includes('://') || /\bregistry\.\w/.test(value)
      ? [`package-lock.json names an address in ${keys.join(' > ')}: ${value}.`]
      : [];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value)
    .filter(([key]) => key !== 'funding')
    .flatMap(([key, inner]) => checkAddresses(inner, [...keys, key]));
}

function checkNpmrc(npmrc: string): string[] {
  const settings = npmrc
    .split('\n')
    .map((line) => line.split('=').map((word) => word.trim()))
    .filter(([name]) => name === 'ignore-scripts');
  return settings.length > 0 && settings.every(([, value]) => value === 'true')
    ? []
    : ['.npmrc does not say ignore-scripts=true, so packages may run code when they are installed.'];
}

function approvedVersion(name: string): string | undefined {
  return Object.hasOwn(approved, name) ? approved[name]?.version : undefined;
}

function main(): void {
  const findings = findLoosePins(readPinnedFiles(fileURLToPath(new URL('..', import.meta.url))));
  for (const finding of findings) console.error(finding);
  if (findings.length > 0) process.exit(1);
  console.log(`Every dependency is pinned, node-ipc ${approved['node-ipc']?.version} and its tree by their bytes.`);
}

if (process.argv[1] !== undefined && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) main();
