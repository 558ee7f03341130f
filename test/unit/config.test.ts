import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { configKeys } from '../../src/daemon/config/keys.ts';
import { lineOf } from '../../src/daemon/config/lines.ts';
import { policySection } from '../../src/daemon/config/policies.ts';
import { useText } from '../../src/daemon/config/read.ts';
import { builtInDefaults, definitionFrom, policiesView, settlePolicies } from '../../src/daemon/core/index.ts';
import {
  CorralError,
  durationText,
  idleSettings,
  idleSignals,
  type PolicySettings,
  policyKeys,
  resolvePaths,
} from '../../src/protocol/index.ts';

const paths = { ...resolvePaths({ HOME: '/h' }, 1), configFile: 'FILE' };
const use = (text: string, env: Record<string, string> = {}) => useText({ paths, text }, env);

interface Case {
  readonly name: string;
  readonly config?: string;
  readonly profile?: string;
  readonly asked?: PolicySettings;
  readonly env?: Record<string, string>;
  /** By name: the value, and where it comes from. */
  readonly inForce: Readonly<Record<string, readonly [value: unknown, from: string]>>;
}

const minuteMs = 60_000;

const cases: Case[] = [
  {
    name: 'nothing is said',
    inForce: { ttlMs: [1440 * minuteMs, 'profile default'], maxRuntimeMs: [null, 'profile default'] },
  },
  {
    name: '[jobs] is over the built-in default',
    config: '[jobs]\nmax-runtime = "24h"',
    inForce: { maxRuntimeMs: [1440 * minuteMs, 'config jobs'], killGraceMs: [5_000, 'profile default'] },
  },
  {
    name: '[jobs] is over [profiles.default]',
    config: '[profiles.default]\nttl = "1h"\nlease = "1h"\n[jobs]\nttl = "2h"',
    inForce: { ttlMs: [120 * minuteMs, 'config jobs'], leaseMs: [60 * minuteMs, 'config profiles.default'] },
  },
  {
    name: 'a named profile is over [jobs]',
    config: '[jobs]\nttl = "2h"\nkill-grace = "9s"',
    profile: 'stream',
    inForce: { ttlMs: [2 * minuteMs, 'profile stream'], killGraceMs: [9_000, 'config jobs'] },
  },
  {
    name: 'the configuration extends a built-in profile',
    config: '[profiles.stream]\nlease = "1m"\nidle.checks = 9',
    profile: 'stream',
    inForce: {
      leaseMs: [minuteMs, 'config profiles.stream'],
      'idle.checks': [9, 'config profiles.stream'],
      'idle.intervalMs': [10_000, 'profile stream'],
      'idle.dryRun': [false, 'profile default'],
    },
  },
  {
    name: 'a profile of the configuration builds upon another of it, which comes later',
    config: '[profiles.b]\nbase = "a"\nttl = "3h"\n[profiles.a]\nbase = "batch"\nlease = "7m"',
    profile: 'b',
    inForce: {
      ttlMs: [180 * minuteMs, 'config profiles.b'],
      leaseMs: [7 * minuteMs, 'config profiles.a'],
      maxRuntimeMs: [30 * minuteMs, 'profile batch'],
      'retry.limit': [2, 'profile batch'],
      outputLimitBytes: [256 * 1024 ** 2, 'profile default'],
    },
  },
  {
    name: 'a job is over all of them',
    config: '[jobs]\nttl = "2h"',
    profile: 'batch',
    asked: { ttlMs: null, retry: { limit: 9 } },
    inForce: { ttlMs: [null, 'job'], 'retry.limit': [9, 'job'], 'retry.delayMs': [1_000, 'profile default'] },
  },
  {
    name: 'idle is off as a whole, and none of its parts is there',
    config: '[jobs]\nidle = "off"',
    inForce: { idle: [null, 'config jobs'], 'idle.checks': [undefined, ''] },
  },
  {
    name: 'a profile that has it turns it on again, with the parts that it had',
    config: '[jobs]\nidle = "off"\n[profiles.a]\nidle = "on"',
    profile: 'a',
    inForce: { idle: [undefined, ''], 'idle.checks': [30, 'profile default'] },
  },
  {
    name: 'a profile with an idle policy keeps it',
    config: '[jobs]\nidle = "off"',
    profile: 'stream',
    inForce: { 'idle.checks': [5, 'profile stream'] },
  },
  {
    name: 'a cap is for what goes beyond it',
    config: '[caps]\nttl = "1h"\nmax-runtime = "1h"\nkill-grace = "2s"\nretry.limit = 1',
    profile: 'batch',
    asked: { killGraceMs: 1_000 },
    inForce: {
      ttlMs: [60 * minuteMs, 'config caps'],
      maxRuntimeMs: [30 * minuteMs, 'profile batch'],
      killGraceMs: [1_000, 'job'],
      'retry.limit': [1, 'config caps'],
    },
  },
  {
    name: 'no limit is beyond any cap, and no grace is below any',
    config: '[caps]\nmax-runtime = "1h"\nkill-grace = "2s"\nlease = "1m"\noutput-limit = "1MiB"\nretry.limit = 0',
    asked: { maxRuntimeMs: null, killGraceMs: null, leaseMs: null, outputLimitBytes: null, retry: { limit: null } },
    inForce: {
      maxRuntimeMs: [60 * minuteMs, 'config caps'],
      killGraceMs: [null, 'job'],
      leaseMs: [minuteMs, 'config caps'],
      outputLimitBytes: [1024 ** 2, 'config caps'],
      'retry.limit': [0, 'config caps'],
    },
  },
  {
    name: 'a cap on idle turns on a rule that is off, with its time and the rest of the profile',
    config: '[caps]\nidle = "2h"',
    profile: 'stream',
    asked: { idle: null },
    inForce: {
      idle: [undefined, ''],
      'idle.checks': [720, 'config caps'],
      'idle.intervalMs': [10_000, 'config caps'],
      'idle.cpuMillicores': [4, 'config caps'],
      'idle.signals': [['cpu'], 'config caps'],
    },
  },
  {
    name: 'also one that the profile has off, with the rule of [jobs]',
    config: '[jobs]\nidle.cpu-millicores = 9\n[caps]\nidle = "2h"',
    profile: 'service',
    inForce: { 'idle.checks': [120, 'config caps'], 'idle.cpuMillicores': [9, 'config caps'] },
  },
  {
    name: 'a cap on idle is not had for nothing: no part of the rule is laxer than in the profile',
    config: '[caps]\nidle = "1m"',
    profile: 'stream',
    asked: {
      idle: { cpuMillicores: 0, checks: 1_000, intervalMs: 100, signals: ['cpu', 'client'], dryRun: true },
    },
    inForce: {
      'idle.cpuMillicores': [4, 'config caps'],
      'idle.checks': [6, 'config caps'],
      'idle.intervalMs': [10_000, 'config caps'],
      'idle.signals': [['cpu'], 'config caps'],
      'idle.dryRun': [false, 'config caps'],
    },
  },
  {
    name: 'what is stricter than the profile holds under a cap on idle',
    config: '[caps]\nidle = "2m"',
    asked: { idle: { cpuMillicores: 50, checks: 1, intervalMs: 2 * minuteMs, signals: ['output'] } },
    inForce: {
      'idle.cpuMillicores': [50, 'job'],
      'idle.checks': [1, 'job'],
      'idle.intervalMs': [2 * minuteMs, 'job'],
      'idle.signals': [['output'], 'job'],
      'idle.dryRun': [false, 'profile default'],
    },
  },
  {
    name: 'checks that are closer together than those of the profile become fewer, and take as long',
    config: '[caps]\nidle = "2h"',
    asked: { idle: { checks: 300, intervalMs: 1_000 } },
    inForce: { 'idle.checks': [5, 'config caps'], 'idle.intervalMs': [minuteMs, 'config caps'] },
  },
  {
    name: 'a cap on idle is for the profile, too',
    config: '[jobs]\nidle.dry-run = true\n[caps]\nidle = "10m"',
    inForce: {
      'idle.checks': [10, 'config caps'],
      'idle.intervalMs': [minuteMs, 'profile default'],
      'idle.dryRun': [false, 'config caps'],
    },
  },
  {
    name: 'a cap on idle that is shorter than an interval is the interval',
    config: '[caps]\nidle = "20s"',
    inForce: { 'idle.checks': [1, 'config caps'], 'idle.intervalMs': [20_000, 'config caps'] },
  },
  {
    name: 'control: without the cap, everything is as it was asked for',
    asked: { idle: { cpuMillicores: 0, checks: 1_000, intervalMs: 100, dryRun: true } },
    inForce: {
      'idle.cpuMillicores': [0, 'job'],
      'idle.checks': [1_000, 'job'],
      'idle.intervalMs': [100, 'job'],
      'idle.dryRun': [true, 'job'],
    },
  },
  {
    name: 'a variable is over the file',
    config: '[jobs]\nttl = "2h"\nidle = "off"\n[caps]\nlease = "5m"',
    env: {
      CORRAL_JOBS_TTL: 'off',
      CORRAL_JOBS_IDLE_CHECKS: '7',
      CORRAL_JOBS_IDLE_SIGNALS: 'cpu, io',
      CORRAL_JOBS_RETRY_LIMIT: 'unlimited',
      CORRAL_JOBS_RETRY_EXIT_CODES: '75,111',
      CORRAL_JOBS_IDLE_DRY_RUN: 'true',
      CORRAL_CAPS_LEASE: 'off',
    },
    inForce: {
      ttlMs: [null, 'config jobs'],
      'idle.checks': [7, 'config jobs'],
      'idle.signals': [['cpu', 'io'], 'config jobs'],
      'idle.dryRun': [true, 'config jobs'],
      'retry.limit': [null, 'config jobs'],
      'retry.exitCodes': [[75, 111], 'config jobs'],
      leaseMs: [null, 'profile default'],
    },
  },
  {
    name: 'a variable turns off what others say parts of',
    env: { CORRAL_JOBS_IDLE: 'off', CORRAL_JOBS_IDLE_CHECKS: '7' },
    inForce: { idle: [null, 'config jobs'] },
  },
];

describe('the policies of a job', () => {
  for (const { name, config = '', env, profile = 'default', asked = {}, inForce } of cases)
    test(name, () => {
      const settled = settlePolicies(asked, profile, use(config, env).jobDefaults);
      const view = policiesView(settled);
      for (const [policy, [value, from]] of Object.entries(inForce))
        assert.deepEqual([view[policy]?.value, view[policy]?.from ?? ''], [value, from], policy);
    });

  test('a profile that does not exist is refused with those that do', () => {
    assert.throws(
      () => settlePolicies({}, 'nix', use('[profiles.mine]').jobDefaults),
      (error: CorralError) => error.code === 'PROFILE_NOT_FOUND' && /default, stream, .*, mine/.test(error.message),
    );
  });

  test('jobs that ask for the same share one object; of another configuration, they do not', () => {
    const spec = { command: ['true'], env: {}, cwd: '/', profile: 'batch', ttlMs: 60_000 };
    const one = definitionFrom(spec);
    const two = definitionFrom({ ...spec, command: ['false'] });
    assert.equal(one.policies, two.policies);
    assert.equal(one.sources, two.sources);
    assert.notEqual(definitionFrom({ ...spec, ttlMs: 61_000 }).policies, one.policies);
    assert.notEqual(definitionFrom(spec, use('').jobDefaults).policies, one.policies);
  });

  test('what is remembered of them has a bound', () => {
    const first = settlePolicies({ ttlMs: 1 }, 'default', builtInDefaults);
    for (let ttlMs = 2; ttlMs < 1_100; ttlMs += 1) settlePolicies({ ttlMs }, 'default', builtInDefaults);
    assert.notEqual(settlePolicies({ ttlMs: 1 }, 'default', builtInDefaults), first);
    assert.deepEqual(settlePolicies({ ttlMs: 1 }, 'default', builtInDefaults), first);
  });

  test('model: the last layer that names a value wins, and the cap is the most', () => {
    const durations = fc.option(fc.integer({ min: 1, max: 1_000_000 }), { nil: null });
    const layer = fc.record(
      {
        maxRuntimeMs: durations,
        ttlMs: durations,
        leaseMs: durations,
        retry: fc.record({ limit: fc.nat({ max: 50 }) }),
      },
      { requiredKeys: [] },
    );
    const arbitrary = fc.record({
      jobs: layer,
      base: layer,
      top: layer,
      asked: layer,
      cap: fc.option(fc.integer({ min: 1, max: 1_000_000 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(arbitrary, ({ jobs, base, top, asked, cap }) => {
        const profiles = new Map(builtInDefaults.profiles)
          .set('base', { name: 'base', base: 'default', settings: {}, configured: base })
          .set('top', { name: 'top', base: 'base', settings: {}, configured: top });
        const caps = cap === undefined ? {} : { ttlMs: cap };
        const { policies } = settlePolicies(asked, 'top', { profiles, jobs, caps });
        const layers = [asked, top, base, jobs];
        const last = (name: 'maxRuntimeMs' | 'ttlMs' | 'leaseMs', otherwise: number | null) => {
          const found = layers.find((one) => one[name] !== undefined);
          return found === undefined ? otherwise : (found[name] ?? null);
        };
        assert.equal(policies.maxRuntimeMs, last('maxRuntimeMs', null));
        assert.equal(policies.leaseMs, last('leaseMs', null));
        const ttlMs = last('ttlMs', 1440 * minuteMs);
        assert.equal(policies.ttlMs, cap === undefined ? ttlMs : Math.min(ttlMs ?? Number.POSITIVE_INFINITY, cap));
        assert.equal(policies.retry.limit, layers.find(({ retry }) => retry !== undefined)?.retry?.limit ?? 0);
      }),
    );
  });
});

test('whatever a job asks for, under a cap on idle it is ended when it does nothing by its profile for so long', () => {
  const idle = fc.record(
    {
      cpuMillicores: fc.constantFrom(0, 1, 4, 50),
      checks: fc.integer({ min: 1, max: 1_000_000 }),
      intervalMs: fc.integer({ min: 100, max: 10_000_000_000 }),
      signals: fc.subarray([...idleSignals], { minLength: 1 }),
      dryRun: fc.boolean(),
    },
    { requiredKeys: [] },
  );
  const arbitrary = fc.record({
    profile: fc.constantFrom(...builtInDefaults.profiles.keys()),
    asked: fc.record({ idle: fc.option(idle) }, { requiredKeys: [] }),
    idleMs: fc.oneof(fc.integer({ min: 100, max: 10_000 }), fc.integer({ min: 100, max: 100 * 365 * 86_400_000 })),
  });
  fc.assert(
    fc.property(arbitrary, ({ profile, asked, idleMs }) => {
      const rule = settlePolicies(asked, profile, { ...builtInDefaults, caps: { idleMs } }).policies.idle;
      const own = settlePolicies({ idle: {} }, profile, builtInDefaults).policies.idle;
      assert.ok(rule !== null && own !== null);
      idleSettings.parse(rule);
      assert.ok(rule.checks * rule.intervalMs <= idleMs, `${rule.checks} × ${rule.intervalMs} ms`);
      assert.equal(rule.dryRun, false);
      assert.ok(rule.cpuMillicores >= own.cpuMillicores);
      assert.ok(rule.signals.every((signal) => own.signals.includes(signal)));
      assert.ok(rule.intervalMs >= Math.min(own.intervalMs, idleMs));
    }),
    { numRuns: 1_000 },
  );
});

const refused: { name: string; text: string; says: string; env?: Record<string, string> }[] = [
  { name: 'no TOML', text: 'a = 1\nb =', says: 'FILE:2: this is not TOML' },
  { name: 'no such section', text: '\n[job]\nttl = "1h"', says: 'FILE:2: job: there is no such key.' },
  { name: 'no such key', text: '[jobs]\nttl = "1h"\nlive = "1h"', says: 'FILE:3: jobs.live: there is no such key.' },
  { name: 'no such part', text: '[jobs]\nttl = "1h"\nidle = { chex = 1 }', says: 'FILE:3: jobs.idle.chex: there' },
  { name: 'no duration', text: '[jobs]\nttl = "1 hour"', says: 'FILE:2: jobs.ttl: "1 hour" is not a duration.' },
  { name: 'a number for a duration', text: '[jobs]\nttl = 5', says: 'FILE:2: jobs.ttl: write it in quotes' },
  { name: 'longer than a hundred years', text: '[jobs]\nttl = "999999d"', says: 'FILE:2: jobs.ttl: must be at most' },
  {
    name: 'less output than a page',
    text: '[jobs]\noutput-limit = "1KiB"',
    says: 'FILE:2: jobs.output-limit: must be at least 4096.',
  },
  { name: 'idle as a number', text: '[jobs]\nidle = 3', says: 'FILE:2: jobs.idle: write "off", "on", or a table' },
  {
    name: 'idle as another word',
    text: '[jobs]\nidle = "never"',
    says: 'FILE:2: jobs.idle: write "off", "on", or a table',
  },
  {
    name: 'no such signal',
    text: '[jobs.idle]\nsignals = ["cpu", "net"]',
    says: 'FILE:2: jobs.idle.signals.1: must be one of cpu,',
  },
  {
    name: 'a cause that is not retried',
    text: '[jobs]\nretry.causes = ["cancel"]',
    says: 'FILE:2: jobs.retry.causes: only these can be retried',
  },
  {
    name: 'retries that are no number',
    text: '[jobs]\nretry.limit = "many"',
    says: 'FILE:2: jobs.retry.limit: must be a number.',
  },
  {
    name: 'no such word',
    text: '[jobs]\non-output-limit = "drop"',
    says: 'FILE:2: jobs.on-output-limit: must be one of truncate, kill.',
  },
  { name: 'a cap on what has none', text: '[caps]\nnice = "off"', says: 'FILE:2: caps.nice: there is no such key.' },
  { name: 'a cap below the least', text: '[caps]\nidle = "50ms"', says: 'FILE:2: caps.idle: must be at least 100.' },
  {
    name: 'a cap that lets nothing run',
    text: '[caps]\nmemory = "1KiB"',
    says: 'FILE:2: caps.memory: must be at least 1048576.',
  },
  { name: 'a cap that is no number', text: '[caps]\ncpus = "few"', says: 'FILE:2: caps.cpus: must be a number.' },
  {
    name: 'a profile without a base',
    text: '[profiles.a]\nttl = "1h"\nbase = "b"',
    says: 'FILE:3: profiles.a.base: there is no profile "b"; take one of default, stream, batch, test, service, a.',
  },
  {
    name: 'a profile on itself',
    text: '[profiles.a]\nbase = "a"',
    says: 'FILE:2: profiles.a.base: a builds upon a; a profile must come down to "default".',
  },
  {
    name: 'profiles in a ring',
    text: '[profiles.a]\nbase = "b"\n[profiles.b]\nbase = "c"\n[profiles.c]\nbase = "a"',
    says: 'FILE:6: profiles.c.base: a builds upon b builds upon c builds upon a;',
  },
  {
    name: 'default upon another',
    text: '[profiles.default]\nbase = "batch"',
    says: 'profiles.batch.base: default builds upon batch builds upon default',
  },
  {
    name: 'a name with a dot',
    text: '[profiles."a.b"]\nttl = "1h"',
    says: 'a profile is named with letters, digits, _ and -.',
  },
  {
    name: 'a variable',
    text: '',
    env: { CORRAL_JOBS_IDLE_CHECKS: 'few' },
    says: 'The environment variable CORRAL_JOBS_IDLE_CHECKS is "few". It must be a number.',
  },
  {
    name: 'a variable that is a list',
    text: '',
    env: { CORRAL_JOBS_IDLE_SIGNALS: 'cpu,net' },
    says: 'The environment variable CORRAL_JOBS_IDLE_SIGNALS is "cpu,net". It must be one of',
  },
];

describe('a configuration that cannot be used is refused with the place and the reason', () => {
  for (const { name, text, env, says } of refused)
    test(name, () => {
      assert.throws(
        () => use(text, env),
        (error) => {
          assert.ok(error instanceof CorralError && error.code === 'CONFIG_INVALID', String(error));
          assert.ok(error.message.includes(says), error.message);
          return true;
        },
      );
    });
});

test('G10: whatever the file holds, it is used or refused with CONFIG_INVALID', () => {
  const lines = fs
    .readFileSync(new URL('../../systemd/examples/config.toml', import.meta.url), 'utf8')
    .split('\n')
    .map((line) => line.replace(/^#/, ''))
    .concat(
      '[profiles.__proto__]',
      '__proto__ = 1',
      'constructor = 1',
      '[[jobs]]',
      'idle = []',
      'retry = 1979-05-27',
      'ttl = inf',
    );
  const cut = fc.tuple(
    fc.constantFrom(...lines),
    fc.nat({ max: 30 }),
    fc.constantFrom('', '"', '=', '[', '{', '\\', '1', '.'),
  );
  const texts = fc.array(
    fc.oneof(
      fc.constantFrom(...lines),
      fc.string(),
      cut.map(([line, at, text]) => line.slice(0, at) + text + line.slice(at)),
    ),
    { maxLength: 12 },
  );
  let used = 0;
  fc.assert(
    fc.property(texts, (some) => {
      try {
        use(some.join('\n')).shown();
        used += 1;
      } catch (error) {
        assert.ok(error instanceof CorralError && error.code === 'CONFIG_INVALID', String(error));
      }
    }),
    { numRuns: 1_000 },
  );
  assert.ok(used > 20, 'some of them can be used');
});

test('every policy has a key in the file, and every key a policy', () => {
  const keys = configKeys.filter(({ path }) => path[0] === 'jobs').map(({ path }) => path.slice(1).join('.'));
  assert.deepEqual([...new Set(keys)].sort(), Object.values(policyKeys).sort());
  assert.ok(Object.keys(policySection.shape).length > 0);
  assert.equal(
    new Set(configKeys.map(({ variable }) => variable)).size,
    configKeys.filter((key) => key.variable).length + 1,
  );
});

test('each key that has a variable can be set by it, to what it is anyway, and shows it', () => {
  const shown = use('').shown();
  for (const { path, variable } of configKeys) {
    const known = shown.find(({ key }) => key === path.join('.'));
    if (variable === null || known === undefined) continue;
    const config = use('', { [variable]: String(known.value) });
    const now = config.shown().find(({ key }) => key === known.key);
    assert.deepEqual([String(now?.value), now?.from], [String(known.value), variable], variable);
  }
});

test('config show names file and line, and what is built in', () => {
  const config = use(
    '[jobs]\nttl = "2h"\nidle = { checks = 3 }\n\n[profiles.service]\nidle.checks = 4\n[profiles.stream]\nidle = "off"',
  );
  const shown = new Map(config.shown().map(({ key, value, from }) => [key, [value, from]]));
  assert.deepEqual(shown.get('jobs.ttl'), ['2h', 'FILE:2']);
  assert.deepEqual(shown.get('jobs.idle.checks'), [3, 'FILE:3']);
  assert.deepEqual(shown.get('jobs.idle.interval'), ['1m', 'profile default']);
  assert.deepEqual(shown.get('jobs.kill-grace'), ['5s', 'profile default']);
  assert.deepEqual(shown.get('disk.min-free'), ['32MiB', 'default']);
  assert.deepEqual(shown.get('caps.ttl'), ['off', 'default']);
  assert.deepEqual(shown.get('profiles.batch.max-runtime'), ['30m', 'built in']);
  assert.deepEqual(shown.get('profiles.service.idle.checks'), [4, 'FILE:6']);
  assert.equal(shown.get('profiles.service.idle'), undefined);
  assert.deepEqual(shown.get('profiles.stream.idle'), ['off', 'FILE:8']);
  assert.equal(shown.get('profiles.stream.idle.checks'), undefined);
});

test('a key is found on its line, in tables, with dots, in braces, and in lists of tables', () => {
  const text = '[a]\nb = 1\nc.d = 2\ne = { f = 3 }\n[g."h"]\ni = 4\n[[j]]\nk = 5\n[[j]]\nk = 6\n';
  const lines = ['a.b', 'a.c.d', 'a.e.f', 'g.h.i', 'j.0.k', 'j.1.k', 'a.none', 'none'];
  assert.deepEqual(
    lines.map((key) => lineOf(text, key.split('.'))),
    [2, 3, 4, 6, 8, 10, 1, null],
  );
});

test('durations are written as they are read', () => {
  const known = {
    1: '1ms',
    500: '500ms',
    1000: '1s',
    90000: '90s',
    1800000: '30m',
    86400000: '24h',
    172800000: '2d',
    90000000: '25h',
    61001: '61001ms',
  };
  for (const [ms, text] of Object.entries(known)) assert.equal(durationText(Number(ms)), text);
});
