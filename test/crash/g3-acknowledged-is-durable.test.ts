import { test } from 'node:test';
import { acknowledgedIsDurable } from '../support/acknowledged.ts';
import { tiers } from '../support/daemon.ts';

const kills = 6; // In each tier; 25 in test:long.

for (const { tier, skip } of tiers) {
  test(
    `G3: every acknowledged job is there after ${kills} kills at random moments, in order, once for each key (tier ${tier})`,
    {
      skip,
    },
    (t) => acknowledgedIsDurable(t, tier, kills),
  );
}
