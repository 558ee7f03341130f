export * from './errors.ts';
export * from './frames.ts';
export * from './jobs.ts';
export * from './methods.ts';
export * from './paths.ts';
export * from './rpc.ts';
export * from './units.ts';
export * from './version.ts';
