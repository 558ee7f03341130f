import type { ShownConfig } from '../../protocol/index.ts';
import type { Config } from './read.ts';

/** A configuration for people to look at. */
export function showConfig({ file, shown, jobDefaults }: Config): ShownConfig {
  return { path: file, keys: shown(), profiles: [...jobDefaults.profiles.keys()] };
}
