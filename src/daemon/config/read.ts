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
  type ShownKey,
} from '../../protocol/index.ts';
import {
  type GlobalHook,
  type Group,
  type JobDefaults,
  newGroup,
  profilesWith,
  type RetryPace,
} from '../core/index.ts';
import { hookFrom } from './hooks.ts';
import { configKeys } from './keys.ts';
import { lineOf } from './lines.ts';
import { capsFrom, policiesFrom } from './policies.ts';
import { fileSchema } from './schema.ts';
import { shownKeys } from './shown.ts';

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
  /** A running job that has reported progress and then none for this long is not well. `null`: never mind. */
  readonly stuckAfterMs: number | null;
  readonly jobDefaults: JobDefaults;
  /** How many retries may come due at once. */
  readonly retryPace: Pick<RetryPace, 'perSecond' | 'burst'>;
  /** Commands that are told what becomes of jobs. */
  readonly hooks: readonly GlobalHook[];
  /** Groups that exist from the first start. What is set later is kept in the store. */
  readonly groups: readonly Group[];
  /** Every key in force, and where it comes from. */
  readonly shown: () => ShownKey[];
}

/** Nobody writes a longer one by hand. */
const maxFileBytes = 1024 * 1024;

type Environment = Readonly<Record<string, string | undefined>>;
type Sections = Record<string, unknown>;

/** What was read, before it is known whether it can be used. */
export interface ConfigText {
  readonly paths: CorralPaths;
  /** `null`: there is no file. */
  readonly text: string | null;
}

/**
 * Reads the file, where there is one, and over it the `CORRAL_` variables.
 *
 * @throws CorralError `CONFIG_INVALID` that names the file and line, or the variable, and what may be there
 */
export function readConfig(env: Environment, uid: number): Config {
  return useText(readConfigText(env, uid), env);
}

/**
 * Reads a file as a configuration, whatever the environment says.
 *
 * @param file absolute; it must be there
 * @throws CorralError `CONFIG_INVALID`
 */
export function checkConfigFile(file: string, uid: number): Config {
  return readConfig({ HOME: '/', CORRAL_CONFIG: file }, uid);
}

/** @throws CorralError `CONFIG_INVALID`: the file cannot be read */
export function readConfigText(env: Environment, uid: number): ConfigText {
  const paths = resolvePaths(env, uid);
  return { paths, text: readText(paths) };
}

/** @throws CorralError `CONFIG_INVALID` */
export function useText({ paths, text }: ConfigText, env: Environment): Config {
  const place = (path: readonly string[]) => {
    const line = text === null ? null : lineOf(text, path);
    return `${paths.configFile}${line === null ? '' : `:${line}`}`;
  };
  const fromFile = text === null ? {} : parseToml(text, paths.configFile);
  check(fromFile, (issue) => {
    const path = [...issue.path.map(String), ...(issue.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [])];
    return `${place(path)}: ${path.join('.')}: ${sentence(issue.code === 'unrecognized_keys' ? 'there is no such key' : explainIssue(issue))}`;
  });
  const given = configKeys.filter(({ variable }) => variable !== null && (env[variable] ?? '') !== '');
  const merged: Sections = structuredClone(fromFile);
  // The longest first: of what says `off` as a whole, no part is left.
  for (const { path, variable } of given.toSorted((a, b) => b.path.length - a.path.length))
    put(merged, path, env[variable ?? '']);
  const settings = check(merged, (issue) => {
    const variable = given.find(({ path }) => path.every((part, at) => issue.path[at] === part))?.variable ?? '';
    return `The environment variable ${variable} is "${env[variable]}". It ${sentence(explainIssue(issue))}`;
  });
  const profiles = Object.entries(settings.profiles).map(([name, { base, ...section }]) => ({
    name,
    base,
    settings: policiesFrom(section),
  }));
  const jobDefaults = {
    profiles: profilesWith(profiles, (name, reason) => {
      throw new CorralError(
        'CONFIG_INVALID',
        `${place(['profiles', name, 'base'])}: profiles.${name}.base: ${sentence(reason)}`,
      );
    }),
    jobs: policiesFrom(settings.jobs),
    caps: capsFrom(settings.caps),
  };
  return {
    paths,
    file: text === null ? null : paths.configFile,
    containment: settings.daemon.containment,
    launcher: settings.daemon.launcher,
    logLevel: settings.daemon['log-level'],
    diskMinFreeBytes: settings.disk['min-free'],
    stuckAfterMs: settings.health['stuck-after'],
    keeping: { maxJobs: settings.retention['max-jobs'], maxOutputBytes: settings.output['total-limit'] },
    jobDefaults,
    retryPace: { perSecond: settings.retry['max-per-second'], burst: settings.retry.burst },
    hooks: settings.hooks.map(hookFrom),
    groups: [newGroup(defaultGroup, os.availableParallelism())],
    shown: () =>
      shownKeys({
        merged,
        jobDefaults,
        sourceOf: (path) => given.find((key) => key.path.join() === path.join())?.variable ?? place(path),
      }),
  };
}

/** Sets a value in nested tables. */
function put(sections: Sections, [key = '', ...rest]: readonly string[], value: unknown): void {
  const known = sections[key];
  const isTable = typeof known === 'object' && known !== null && !Array.isArray(known);
  if (rest.length === 0) {
    if (!(value === 'on' && isTable)) sections[key] = value;
    return;
  }
  const table = isTable ? (known as Sections) : {};
  sections[key] = table;
  put(table, rest, value);
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

function sentence(message: string): string {
  return message.endsWith('.') ? message : `${message}.`;
}
