import type { Client } from './client.ts';
import type { Scope } from './scope.ts';

/** Of a test runner: what to call before the first test of a file, and after the last. */
export interface ScopeHooks {
  before(work: () => Promise<void>): unknown;
  after(work: () => Promise<void>): unknown;
}

/** There from the first test to the last. */
export interface ScopeFixture {
  readonly client: Client;
  readonly scope: Scope;
}

interface Opened extends ScopeFixture {
  /** What the environment said before. */
  readonly earlier: Readonly<Record<string, string | undefined>>;
}

type Environment = Record<string, string | undefined>;

export function fixtureOf(
  hooks: ScopeHooks,
  open: () => Promise<{ readonly client: Client; readonly name: string | undefined }>,
  env: Environment,
): ScopeFixture {
  let opened: Opened | null = null;
  hooks.before(async () => {
    const { client, name } = await open();
    const scope = client.scope({ name });
    const earlier = Object.fromEntries(Object.keys(scope.env).map((key) => [key, env[key]]));
    opened = { client, scope, earlier };
    await scope.ready;
    Object.assign(env, scope.env);
  });
  hooks.after(async () => {
    if (opened === null) return; // It could not be opened, which the runner has shown.
    const { client, scope, earlier } = opened;
    for (const [key, value] of Object.entries(earlier)) {
      if (value === undefined) delete env[key];
      else env[key] = value;
    }
    try {
      await scope[Symbol.asyncDispose]();
    } finally {
      client.close();
    }
  });
  const known = (): Opened => {
    if (opened === null) throw new Error('the scope is open from the first test to the last: use it inside a test');
    return opened;
  };
  return {
    get client() {
      return known().client;
    },
    get scope() {
      return known().scope;
    },
  };
}
