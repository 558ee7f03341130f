import { test } from 'node:test';
import { raceForStateDir } from '../support/racing-daemons.ts';

test('two daemons that race for a state directory 100 times: each time exactly one wins, and the other says so', (t) =>
  raceForStateDir(t, 100));
