export { becomeSubreaper, type ChildExit, ChildReaper, childrenOf } from './children.ts';
export { descriptorLimit } from './descriptors.ts';
export { makeFifo } from './fifo.ts';
export { closeInheritedDescriptors, isDelegated, type PeerCredentials, peerCredentials, tryLock } from './host.ts';
export { canMark, decodeMark, encodeMark, type Mark, maxLaunches, readMark, withMark } from './mark.ts';
export { ServiceManager } from './notify.ts';
export { ifProcessLives, readFromStart, readProcFile } from './proc-file.ts';
export {
  isAlive,
  listPids,
  type ProcessStat,
  type ReadBudget,
  readBootId,
  readStat,
  type SignalOutcome,
  signalExactly,
  signalIf,
  ticksNow,
  waitsOf,
} from './processes.ts';
export { dropBeginning } from './punch.ts';
export {
  type LimitOutcome,
  limitData,
  lowestNice,
  niceGroup,
  niceProcess,
  niceSession,
} from './resources.ts';
export { connectionsOf } from './sockets.ts';
export { type SpawnRequest, spawnSession } from './spawn.ts';
