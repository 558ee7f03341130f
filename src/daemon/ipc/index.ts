export type { Backend } from './backend.ts';
export { type IpcServer, startIpcServer } from './server.ts';
