import type { MethodName, MethodResult, ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';
import { cancel } from './cancel.ts';
import { configShow } from './config.ts';
import { daemonHealth, daemonReload, daemonStatus, daemonStop } from './daemon.ts';
import { edit } from './edit.ts';
import { events } from './events.ts';
import { get } from './get.ts';
import { addGroup, listGroups, pauseGroup, removeGroup, resumeGroup, setGroup } from './groups.ts';
import { heartbeat } from './heartbeat.ts';
import { hello } from './hello.ts';
import { list } from './list.ts';
import { logs } from './logs.ts';
import { move } from './move.ts';
import { pause } from './pause.ts';
import { remove } from './remove.ts';
import { progress, result } from './reports.ts';
import { resume } from './resume.ts';
import { retry } from './retry.ts';
import { runPending } from './run-pending.ts';
import { closeScope, openScope, reportScope } from './scopes.ts';
import { select } from './select.ts';
import { settle } from './settle.ts';
import { signal } from './signal.ts';
import { listStuck, resetStuck } from './stuck.ts';
import { submit } from './submit.ts';
import { submitBatch } from './submit-batch.ts';
import { usage } from './usage.ts';
import { wait } from './wait.ts';

type Handlers = {
  readonly [M in MethodName]: (params: ParsedParams<M>, call: Call) => MethodResult<M> | Promise<MethodResult<M>>;
};

export const handlers: Handlers = {
  hello,
  submit,
  submitBatch,
  settle,
  get,
  list,
  select,
  wait,
  logs,
  usage,
  cancel,
  heartbeat,
  signal,
  pause,
  resume,
  progress,
  result,
  edit,
  move,
  retry,
  remove,
  'stuck.list': listStuck,
  'stuck.reset': resetStuck,
  'group.list': listGroups,
  'group.add': addGroup,
  'group.set': setGroup,
  'group.remove': removeGroup,
  'group.runPending': runPending,
  'group.pause': pauseGroup,
  'group.resume': resumeGroup,
  'config.show': configShow,
  'scope.open': openScope,
  'scope.close': closeScope,
  'scope.report': reportScope,
  'daemon.status': daemonStatus,
  'daemon.health': daemonHealth,
  'daemon.reload': daemonReload,
  events,
  'daemon.stop': daemonStop,
};
