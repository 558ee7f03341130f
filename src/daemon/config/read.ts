import fs from 'node:fs';
import os from 'node:os';
import { parse, TomlError } from 'smol-toml';
import type { z } from 'zod';
import {
  CorralError,
  type CorralPaths,
  defaultGroup,
  explainIssue,
  isErrno,
  resolvePaths,
} from '../../protocol/index.ts';
import { builtInDefaults, type Group, type JobDefaults, newGroup } from '../core/index.ts';
import { environmentKeys, fileSchema } from './schema.ts';

/** Everything that the daemon is told from outside. */
export interface Config {
  readonly paths: CorralPaths;
  /** The file that it was read from; `null` where there is none. */
  readonly file: string | null;
  readonly containment: 'auto' | 'cgroup' | 'scan';
  readonly launcher: 'posix_spawn' | 'execa';
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  /** Room on the disk of the state directory below which nothing is accepted or started, in bytes. `null`: never mind. */
  readonly diskMinFreeBytes: number | null;
  readonly keeping: { readonly maxJobs: number | null; readonly maxOutputBytes: number | null };
  readonly jobDefaults: JobDefaults;
  /** Groups that exist from the first start. What is set later is kept in the store. */
  readonly groups: readonly Group[];
}

/** Nobody writes a longer one by hand. */
const maxFileBytes = 1024 * 1024;

type Environment = Readonly<Record<string, string | undefined>>;
type Sections = Record<string, unknown>;

/**
 * Reads the file, where there is one, and over it the `CORRAL_` variables.
 *
 * @throws CorralError `CONFIG_INVALID` that names the file and line, or the variable, and what may be there
 */
export function readConfig(env: Environment, uid: number): Config {
  const paths = resolvePaths(env, uid);
  const text = readText(paths);
  const fromFile = text === null ? {} : parseToml(text, paths.configFile);
  check(fromFile, (issue) => {
    const path = [...issue.path.map(String), ...(issue.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [])];
    const line = text === null ? null : lineOf(text, path);
    return `${paths.configFile}${line === null ? '' : `:${line}`}: ${path.join('.')}: ${sentence(issue.code === 'unrecognized_keys' ? 'there is no such key' : explainIssue(issue))}`;
  });
  const given = Object.entries(environmentKeys).filter(([name]) => (env[name] ?? '') !== '');
  const merged = structuredClone(fromFile);
  for (const [name, [section, key]] of given) {
    merged[section] = { ...(merged[section] as Sections | undefined), [key]: env[name] };
  }
  const settings = check(merged, (issue) => {
    const name = given.find(([, path]) => path.join() === issue.path.join())?.[0];
    return `The environment variable ${name} is "${env[name ?? '']}". It ${sentence(explainIssue(issue))}`;
  });
  return {
    paths,
    file: text === null ? null : paths.configFile,
    containment: settings.daemon.containment,
    launcher: settings.daemon.launcher,
    logLevel: settings.daemon['log-level'],
    diskMinFreeBytes: settings.disk['min-free'],
    keeping: { maxJobs: settings.retention['max-jobs'], maxOutputBytes: settings.output['total-limit'] },
    jobDefaults: {
      ...builtInDefaults,
      jobs: { maxRuntimeMs: settings.jobs['max-runtime'], killGraceMs: settings.jobs['kill-grace'] },
    },
    groups: [newGroup(defaultGroup, os.availableParallelism())],
  };
}

function readText({ configFile, configIsExplicit }: CorralPaths): string | null {
  try {
    const stat = fs.statSync(configFile);
    if (!stat.isFile()) throw new CorralError('CONFIG_INVALID', `${configFile} is not a file. Move it away.`);
    if (stat.size > maxFileBytes)
      throw new CorralError(
        'CONFIG_INVALID',
        `${configFile} has ${stat.size} bytes; a configuration has at most 1 MiB.`,
      );
    return new TextDecoder('utf-8', { fatal: true }).decode(fs.readFileSync(configFile));
  } catch (error) {
    if (error instanceof CorralError) throw error;
    if (isErrno(error, 'ENOENT', 'ENOTDIR') && !configIsExplicit) return null;
    if (error instanceof TypeError)
      throw new CorralError('CONFIG_INVALID', `${configFile} is not UTF-8 text. Write it anew.`);
    if (!(error instanceof Error)) throw error;
    throw new CorralError(
      'CONFIG_INVALID',
      `The configuration ${configFile} cannot be read (${error.message}). Make it readable, or name another in CORRAL_CONFIG.`,
    );
  }
}

function parseToml(text: string, file: string): Sections {
  try {
    return parse(text, { maxDepth: 16, unsafeKeyBehaviour: 'throw' }) as Sections;
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const reason = error.message.split('\n')[0]?.replace('Invalid TOML document: ', '') ?? '';
    throw new CorralError('CONFIG_INVALID', `${file}:${error.line}: this is not TOML (${reason}).`);
  }
}

function check(settings: Sections, say: (issue: z.core.$ZodIssue) => string) {
  const parsed = fileSchema.safeParse(settings);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue === undefined) throw parsed.error;
  throw new CorralError('CONFIG_INVALID', say(issue));
}

/** The line of a key, for a message; else that of what it stands in. `null` where neither is found. */
function lineOf(text: string, path: readonly string[]): number | null {
  let section: string[] = [];
  let around: number | null = null;
  for (const [index, line] of text.split('\n').entries()) {
    const header = /^\s*\[\s*([^\]]+?)\s*\]/.exec(line)?.[1];
    const key = /^\s*([^=#[]+?)\s*=/.exec(line)?.[1];
    if (header === undefined && key === undefined) continue;
    if (header !== undefined) section = keyParts(header);
    const here = header === undefined && key !== undefined ? [...section, ...keyParts(key)] : section;
    if (path.every((part, at) => here[at] === part)) return index + 1;
    if (here.every((part, at) => path[at] === part)) around ??= index + 1;
  }
  return around;
}

/** Of a key as TOML has it, also with dots: `jobs."kill-grace"`. */
function keyParts(key: string): string[] {
  return key.split('.').map((part) => part.trim().replaceAll(/^["']|["']$/g, ''));
}

function sentence(message: string): string {
  return message.endsWith('.') ? message : `${message}.`;
}
