import type { DatabaseSync, StatementSync } from 'node:sqlite';

/** What gives the rows of one page. */
export interface PageStatements {
  readonly ofAll: StatementSync;
  readonly ofStatus: StatementSync;
  readonly ofGroup: StatementSync;
  readonly ofScope: StatementSync;
}

export type Statements = ReturnType<typeof prepareStatements>;

/** Every statement of the store, compiled once. */
export function prepareStatements(db: DatabaseSync) {
  return {
    insertJob: db.prepare(
      `INSERT INTO jobs (id, status, cause, group_name, name, priority, submitted_wall_ms, idempotency_key, environment_id, policies_id,
         scope, definition, queue, warnings) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    updateJob: db.prepare('UPDATE jobs SET status = ?, cause = ?, finished_wall_ms = ?, message = ? WHERE id = ?'),
    updateQueue: db.prepare('UPDATE jobs SET queue = ?, warnings = ?, expires_wall_ms = ? WHERE id = ?'),
    updateDefinition: db.prepare(
      `UPDATE jobs SET group_name = ?, name = ?, priority = ?, environment_id = ?, policies_id = ?, scope = ?, definition = ? WHERE id = ?`,
    ),
    deleteJob: db.prepare('DELETE FROM jobs WHERE id = ?'),
    putAttempt: db.prepare(
      // Not INSERT OR REPLACE: that deletes the row without a word to the triggers.
      `INSERT INTO attempts (job_id, number, tier, pid, start_ticks, boot_id, started_wall_ms, finished_wall_ms, cause,
         exit_code, exit_signal, strays, cpu_ms, peak_rss_bytes, output_bytes, dropped_stdout, dropped_stderr,
         progress, result, message)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (job_id, number) DO UPDATE SET tier = excluded.tier, pid = excluded.pid, start_ticks = excluded.start_ticks,
         boot_id = excluded.boot_id, started_wall_ms = excluded.started_wall_ms, finished_wall_ms = excluded.finished_wall_ms,
         cause = excluded.cause, exit_code = excluded.exit_code, exit_signal = excluded.exit_signal, strays = excluded.strays,
         cpu_ms = excluded.cpu_ms, peak_rss_bytes = excluded.peak_rss_bytes, output_bytes = excluded.output_bytes,
         dropped_stdout = excluded.dropped_stdout, dropped_stderr = excluded.dropped_stderr, progress = excluded.progress, result = excluded.result,
         message = excluded.message`,
    ),
    keepAttempts: db.prepare('DELETE FROM attempts WHERE job_id = ? AND number NOT BETWEEN ? AND ?'),
    // Reads what it deletes and a few more: in the order of their numbers, the job's events are nearly in the order of its attempts.
    forgetEvents: db.prepare(
      `DELETE FROM events WHERE job_id = ? AND attempt > 0 AND seq <
         (SELECT seq FROM events WHERE job_id = ? AND attempt >= ? ORDER BY seq LIMIT 1)`,
    ),
    insertEvent: db.prepare(
      `INSERT INTO events (wall_ms, job_id, attempt, from_status, to_status, cause, kind, detail)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    putGroup: db.prepare(
      `INSERT INTO groups (name, parallel, max_queued, rate_per_second, burst, mode, paused) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET parallel = excluded.parallel, max_queued = excluded.max_queued,
         rate_per_second = excluded.rate_per_second, burst = excluded.burst, mode = excluded.mode, paused = excluded.paused,
         removed = 0`,
    ),
    markGroupRemoved: db.prepare('UPDATE groups SET removed = 1 WHERE name = ?'),
    deleteGroupWithoutJobs: db.prepare(
      'DELETE FROM groups WHERE name = ? AND NOT EXISTS (SELECT 1 FROM jobs WHERE group_name = groups.name)',
    ),
    putScope: db.prepare(
      `INSERT INTO scopes (id, name, opened_wall_ms, closed_wall_ms, end, processes_left) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET closed_wall_ms = excluded.closed_wall_ms, end = excluded.end,
         processes_left = excluded.processes_left`,
    ),
    findScope: db.prepare('SELECT * FROM scopes WHERE id = ?'),
    listScopes: db.prepare('SELECT * FROM scopes WHERE processes_left IS NULL'),
    environments: {
      find: db.prepare('SELECT id FROM environments WHERE digest = ?'),
      read: db.prepare('SELECT variables AS text FROM environments WHERE id = ?'),
      insert: db.prepare('INSERT INTO environments (digest, variables) VALUES (?, ?)'),
    },
    policies: {
      find: db.prepare('SELECT id FROM policies WHERE digest = ?'),
      read: db.prepare('SELECT settled AS text FROM policies WHERE id = ?'),
      insert: db.prepare('INSERT INTO policies (digest, settled) VALUES (?, ?)'),
    },
    findJob: db.prepare('SELECT * FROM jobs WHERE id = ?'),
    findJobByKey: db.prepare('SELECT * FROM jobs WHERE idempotency_key = ?'),
    findAttempts: db.prepare('SELECT * FROM attempts WHERE job_id = ? ORDER BY number'),
    listExpired: db.prepare(
      'SELECT id FROM jobs WHERE expires_wall_ms IS NOT NULL AND expires_wall_ms <= ? ORDER BY expires_wall_ms LIMIT ?',
    ),
    // By the index from its beginning, past the few that have not ended.
    oldestWithOutput: db.prepare(
      `SELECT attempts.job_id AS id FROM attempts JOIN jobs ON jobs.id = attempts.job_id
       WHERE attempts.job_id > 0 AND attempts.output_bytes > 0 AND jobs.finished_wall_ms IS NOT NULL ORDER BY attempts.job_id LIMIT 1`,
    ),
    outputTotal: db.prepare("SELECT value FROM totals WHERE name = 'output_bytes'"),
    countJobs: db.prepare('SELECT status, jobs FROM job_counts'),
    pages: {
      oldest: pageStatements(db, 'id', 'id > ?', 'ASC'),
      newest: pageStatements(db, 'id', 'id < ?', 'DESC'),
    },
    sketches: {
      oldest: pageStatements(db, sketchColumns, 'id > ?', 'ASC'),
      newest: pageStatements(db, sketchColumns, 'id < ?', 'DESC'),
      one: db.prepare(`SELECT ${sketchColumns} FROM jobs WHERE id = ?`),
    },
    listEvents: db.prepare('SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?'),
    listEventsOfJob: db.prepare('SELECT * FROM events WHERE seq > ? AND job_id = ? ORDER BY seq LIMIT ?'),
    lastEvent: db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'events'"),
    lastJob: db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'"),
    listGroups: db.prepare('SELECT * FROM groups WHERE removed = 0'),
    instance: db.prepare("SELECT value FROM meta WHERE key = 'instance'"),
    touch: db.prepare("UPDATE meta SET value = value WHERE key = 'instance'"),
    drawInstance: db.prepare("INSERT INTO meta (key, value) VALUES ('instance', ?) ON CONFLICT DO NOTHING"),
  };
}

/** What a filter looks at; not the definition, which is most of a row. */
const sketchColumns = 'id, status, group_name, name, scope, submitted_wall_ms, finished_wall_ms';

function pageStatements(db: DatabaseSync, columns: string, beyond: string, direction: 'ASC' | 'DESC'): PageStatements {
  const select = (condition: string) =>
    db.prepare(`SELECT ${columns} FROM jobs WHERE ${condition}${beyond} ORDER BY id ${direction} LIMIT ?`);
  return {
    ofAll: select(''),
    ofStatus: select('status = ? AND '),
    ofGroup: select('group_name = ? AND status = ? AND '),
    ofScope: select('scope = ? AND '),
  };
}
