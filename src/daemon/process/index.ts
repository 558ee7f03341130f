import { randomInt } from 'node:crypto';
import fs from 'node:fs';
import { CorralError, type LimitsView } from '../../protocol/index.ts';
import type { ChildReaper } from '../linux/index.ts';
import { CgroupContainment } from './cgroup.ts';
import { findCgroupPlace } from './cgroup-place.ts';
import type { Containment } from './containment.ts';
import { lookAtControllers } from './controllers.ts';
import type { Launcher } from './launcher.ts';
import { hostLimitsWith, hostLimitsWithoutLeaves } from './limits.ts';
import { Marker } from './marks.ts';
import { PosixLauncher } from './posix-launcher.ts';
import { ScanContainment } from './scan.ts';

export type { Containment, Hold, SweepReport } from './containment.ts';
export { Guardian } from './guardian.ts';
export { Hooks } from './hooks.ts';
export type { Launcher } from './launcher.ts';
export { MissedEnds } from './missed-ends.ts';
export { OutputFiles, type StreamName } from './output.ts';
export { OutputWatch } from './output-watch.ts';
export { ReportPipe } from './report-pipe.ts';
export { Runner } from './runner.ts';
export { Sampler, type SamplerOptions } from './sampler.ts';
export { UsageMeter } from './sampler-usage.ts';

export interface ContainmentRequest {
  /** `auto` takes the best that works here; a tier by name is that tier or an error. */
  readonly wanted: 'auto' | 'cgroup' | 'scan';
  /** 32 bits that tell this state directory's daemon from others on the host. */
  readonly instance: number;
  readonly uid: number;
  readonly reaper: ChildReaper;
}

/** Chooses the containment tier by trying what the host lets us do. */
export function chooseContainment({ wanted, instance, uid, reaper }: ContainmentRequest): Containment {
  const marker = new Marker(instance);
  if (wanted === 'scan') return new ScanContainment('CORRAL_CONTAINMENT asks for it', marker, reaper);
  const place = findCgroupPlace(instance, uid);
  if (typeof place !== 'string') return new CgroupContainment(place, marker, uid);
  if (wanted === 'cgroup') {
    throw new CorralError(
      'INVALID_PARAMS',
      `CORRAL_CONTAINMENT asks for tier cgroup, but ${place}. Use CORRAL_CONTAINMENT=auto to take what works here.`,
    );
  }
  return new ScanContainment(place, marker, reaper);
}

interface TierToBeHad {
  readonly tier: 'cgroup' | 'scan';
  readonly reason: string;
  /** How jobs can be held to limits, as far as that can be told without changing anything. */
  readonly limits: LimitsView;
}

/** The tier that `chooseContainment` would take, found by trying, without keeping anything. */
export function tierHere(wanted: ContainmentRequest['wanted'], uid: number): TierToBeHad {
  const scan = (reason: string): TierToBeHad => ({
    tier: 'scan',
    reason,
    limits: hostLimitsWithoutLeaves(reason).how,
  });
  if (wanted === 'scan') return scan('the configuration asks for it');
  const place = findCgroupPlace(randomInt(2 ** 32), uid);
  if (typeof place === 'string') return scan(place);
  const { missing } = lookAtControllers(place);
  fs.rmdirSync(place.base);
  return { tier: 'cgroup', reason: place.reason, limits: hostLimitsWith(missing).how };
}

/** execa takes a third of the daemon's start-up to load, so it is loaded only where it is asked for. */
export async function chooseLauncher(wanted: 'posix_spawn' | 'execa', reaper: ChildReaper): Promise<Launcher> {
  if (wanted === 'posix_spawn') return new PosixLauncher(reaper);
  const { ExecaLauncher } = await import('./execa-launcher.ts');
  return new ExecaLauncher(reaper);
}
