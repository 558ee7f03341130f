import fs from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { SqliteStore } from '../../src/daemon/store/index.ts';

/**
 * Makes a store that holds so many jobs that have ended, each with its attempt and events, as the daemon would have written them.
 * Every third failed; every second is in the group `other`. Their idempotency keys are `key 1` and so on.
 */
export function makeFinishedJobs(file: string, count: number): void {
  new SqliteStore(file).close();
  const db = new DatabaseSync(file);
  db.exec(`
    PRAGMA synchronous = OFF;
    BEGIN;
    INSERT INTO groups (name, parallel, max_queued) VALUES ('default', 4, 10000), ('other', 4, 10000);
    INSERT INTO environments VALUES (1, 'digest of a test', '[["PATH","/usr/bin:/bin"]]');
    CREATE TEMP TABLE numbers AS
      WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ${count}) SELECT id FROM n;
    INSERT INTO jobs (id, status, cause, group_name, name, priority, submitted_wall_ms, finished_wall_ms, idempotency_key,
        environment_id, definition)
      SELECT id, iif(id % 3 = 0, 'failed', 'completed'), 'exit', iif(id % 2 = 0, 'other', 'default'), NULL, 0,
        1700000000000 + id, 1700000000009 + id, 'key ' || id, 1,
        json_object('command', json_array('true', 'job ' || id), 'cwd', '/', 'stdin', NULL, 'splitOutput', json('false'),
          'maxRuntimeMs', NULL, 'killGraceMs', 5000, 'successCodes', json_array(0), 'onSupervisorLost', 'fail')
      FROM numbers;
    INSERT INTO attempts (job_id, number, tier, pid, start_ticks, boot_id, started_wall_ms, finished_wall_ms, cause, exit_code, strays)
      SELECT id, 1, 'scan', 1, 1, 'earlier', 1700000000001 + id, 1700000000009 + id, 'exit', iif(id % 3 = 0, 1, 0), 0 FROM numbers;
    INSERT INTO events (wall_ms, job_id, attempt, from_status, to_status, cause)
      SELECT 1700000000000 + id, id, 0, NULL, 'queued', NULL FROM numbers;
    INSERT INTO events (wall_ms, job_id, attempt, from_status, to_status, cause)
      SELECT 1700000000009 + id, id, 1, 'running', iif(id % 3 = 0, 'failed', 'completed'), 'exit' FROM numbers;
    COMMIT;
  `);
  db.close();
  // Or the first commit of whoever opens it waits for all of this to reach the disk.
  const fd = fs.openSync(file, 'r+');
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}
