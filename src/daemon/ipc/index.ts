export type { Backend } from './backend.ts';
export { connectionsWithin, type IpcServer, startIpcServer } from './server.ts';
