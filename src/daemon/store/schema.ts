import type { DatabaseSync } from 'node:sqlite';
import { CorralError } from '../../protocol/index.ts';

/**
 * Steps from an empty file to the newest schema, oldest first. Forward only: a step that has been released is never changed,
 * a new one is added. `PRAGMA user_version` counts the steps that a file has taken.
 */
const migrations: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

  CREATE TABLE groups (
    name TEXT PRIMARY KEY,
    parallel INTEGER NOT NULL,
    max_queued INTEGER NOT NULL
  ) STRICT;

  -- Jobs of one caller share their environment; it is kept once.
  CREATE TABLE environments (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    variables TEXT NOT NULL
  ) STRICT;

  -- AUTOINCREMENT: the id of a removed job is not given out again.
  CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    status TEXT NOT NULL,
    cause TEXT,
    group_name TEXT NOT NULL REFERENCES groups (name),
    name TEXT,
    priority INTEGER NOT NULL,
    submitted_wall_ms INTEGER NOT NULL,
    finished_wall_ms INTEGER,
    idempotency_key TEXT UNIQUE,
    environment_id INTEGER NOT NULL REFERENCES environments (id),
    definition TEXT NOT NULL
  ) STRICT;
  CREATE INDEX jobs_by_status ON jobs (status, id);
  CREATE INDEX jobs_by_environment ON jobs (environment_id);

  CREATE TABLE attempts (
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    tier TEXT NOT NULL,
    pid INTEGER,
    start_ticks INTEGER,
    boot_id TEXT,
    started_wall_ms INTEGER,
    finished_wall_ms INTEGER,
    cause TEXT,
    exit_code INTEGER,
    exit_signal TEXT,
    strays INTEGER NOT NULL,
    cpu_ms REAL,
    peak_rss_bytes INTEGER,
    message TEXT,
    PRIMARY KEY (job_id, number)
  ) STRICT, WITHOUT ROWID;

  -- Append-only record of transitions.
  CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    wall_ms INTEGER NOT NULL,
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    from_status TEXT,
    to_status TEXT NOT NULL,
    cause TEXT
  ) STRICT;
  CREATE INDEX events_by_job ON events (job_id);

  CREATE TRIGGER environments_without_jobs AFTER DELETE ON jobs BEGIN
    DELETE FROM environments WHERE id = OLD.environment_id
      AND NOT EXISTS (SELECT 1 FROM jobs WHERE environment_id = OLD.environment_id);
  END;
  `,
  // Reads each job once to count it: 2 s in a store of a million.
  `
  -- Counting a million jobs takes a scan. A status that no job ever had has no row.
  CREATE TABLE job_counts (status TEXT PRIMARY KEY, jobs INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO job_counts SELECT status, count(*) FROM jobs GROUP BY status;
  CREATE TRIGGER jobs_count_in AFTER INSERT ON jobs BEGIN
    INSERT INTO job_counts VALUES (NEW.status, 1) ON CONFLICT (status) DO UPDATE SET jobs = jobs + 1;
  END;
  CREATE TRIGGER jobs_count_on AFTER UPDATE OF status ON jobs WHEN NEW.status <> OLD.status BEGIN
    UPDATE job_counts SET jobs = jobs - 1 WHERE status = OLD.status;
    INSERT INTO job_counts VALUES (NEW.status, 1) ON CONFLICT (status) DO UPDATE SET jobs = jobs + 1;
  END;
  CREATE TRIGGER jobs_count_out AFTER DELETE ON jobs BEGIN
    UPDATE job_counts SET jobs = jobs - 1 WHERE status = OLD.status;
  END;

  CREATE INDEX jobs_by_group ON jobs (group_name, status, id);
  `,
  // New columns only: no row is read or written.
  `
  -- Jobs of one profile usually share all policies; each set is kept once.
  CREATE TABLE policies (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    settled TEXT NOT NULL
  ) STRICT;
  -- NULL in rows of earlier versions.
  ALTER TABLE jobs ADD COLUMN policies_id INTEGER REFERENCES policies (id);
  CREATE INDEX jobs_by_policies ON jobs (policies_id) WHERE policies_id IS NOT NULL;
  CREATE TRIGGER policies_without_jobs AFTER DELETE ON jobs WHEN OLD.policies_id IS NOT NULL BEGIN
    DELETE FROM policies WHERE id = OLD.policies_id
      AND NOT EXISTS (SELECT 1 FROM jobs WHERE policies_id = OLD.policies_id);
  END;

  -- A job that is edited leaves behind what it had.
  CREATE TRIGGER environments_without_edited_jobs AFTER UPDATE OF environment_id ON jobs
    WHEN NEW.environment_id <> OLD.environment_id BEGIN
    DELETE FROM environments WHERE id = OLD.environment_id
      AND NOT EXISTS (SELECT 1 FROM jobs WHERE environment_id = OLD.environment_id);
  END;
  CREATE TRIGGER policies_without_edited_jobs AFTER UPDATE OF policies_id ON jobs
    WHEN OLD.policies_id IS NOT NULL AND NEW.policies_id IS NOT OLD.policies_id BEGIN
    DELETE FROM policies WHERE id = OLD.policies_id
      AND NOT EXISTS (SELECT 1 FROM jobs WHERE policies_id = OLD.policies_id);
  END;

  ALTER TABLE jobs ADD COLUMN scope TEXT;
  -- JSON: what changes of a job beside its status. NULL in rows of earlier versions.
  ALTER TABLE jobs ADD COLUMN queue TEXT;
  ALTER TABLE jobs ADD COLUMN warnings TEXT;
  ALTER TABLE jobs ADD COLUMN expires_wall_ms INTEGER;
  CREATE INDEX jobs_by_expiry ON jobs (expires_wall_ms) WHERE expires_wall_ms IS NOT NULL;
  -- Of an end that no attempt can tell of.
  ALTER TABLE jobs ADD COLUMN message TEXT;
  CREATE INDEX jobs_by_scope ON jobs (scope, id) WHERE scope IS NOT NULL;

  -- Closed once closed_wall_ms is set; over once the processes that its jobs left have been counted.
  CREATE TABLE scopes (
    id TEXT PRIMARY KEY,
    name TEXT,
    opened_wall_ms INTEGER NOT NULL,
    closed_wall_ms INTEGER,
    end TEXT,
    -- Jobs that have ended, and those among them that the close of the scope has ended.
    ended INTEGER NOT NULL DEFAULT 0,
    cleaned INTEGER NOT NULL DEFAULT 0,
    processes_left INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX scopes_not_over ON scopes (id) WHERE processes_left IS NULL;
  CREATE INDEX scopes_by_close ON scopes (closed_wall_ms) WHERE processes_left IS NOT NULL;
  -- Records of jobs may be deleted before their scope is over, so they are counted as they end.
  CREATE TRIGGER scopes_tally AFTER UPDATE OF status ON jobs WHEN NEW.scope IS NOT NULL AND NEW.status <> OLD.status BEGIN
    UPDATE scopes SET
      ended = ended + (NEW.status IN ('completed', 'failed', 'cancelled')) - (OLD.status IN ('completed', 'failed', 'cancelled')),
      cleaned = cleaned + (NEW.status = 'cancelled' AND NEW.cause = 'scope') - (OLD.status = 'cancelled' AND OLD.cause = 'scope')
    WHERE id = NEW.scope;
  END;
  -- Reports are kept for a day, and 1,000 of them.
  CREATE TRIGGER scopes_bounded AFTER UPDATE OF processes_left ON scopes WHEN NEW.processes_left IS NOT NULL BEGIN
    DELETE FROM scopes WHERE processes_left IS NOT NULL AND closed_wall_ms < NEW.closed_wall_ms - 86400000;
    DELETE FROM scopes WHERE processes_left IS NOT NULL AND closed_wall_ms <=
      (SELECT closed_wall_ms FROM scopes WHERE processes_left IS NOT NULL ORDER BY closed_wall_ms DESC LIMIT 1 OFFSET 1000);
  END;

  ALTER TABLE attempts ADD COLUMN dropped_stdout INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE attempts ADD COLUMN dropped_stderr INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE attempts ADD COLUMN progress TEXT;
  ALTER TABLE attempts ADD COLUMN result TEXT;

  -- What the output of ended attempts takes together. That of earlier versions is not in it.
  ALTER TABLE attempts ADD COLUMN output_bytes INTEGER;
  CREATE INDEX attempts_with_output ON attempts (job_id) WHERE output_bytes > 0;
  CREATE TABLE totals (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO totals VALUES ('output_bytes', 0);
  CREATE TRIGGER output_bytes_in AFTER INSERT ON attempts WHEN NEW.output_bytes > 0 BEGIN
    UPDATE totals SET value = value + NEW.output_bytes WHERE name = 'output_bytes';
  END;
  CREATE TRIGGER output_bytes_on AFTER UPDATE OF output_bytes ON attempts
    WHEN coalesce(NEW.output_bytes, 0) <> coalesce(OLD.output_bytes, 0) BEGIN
    UPDATE totals SET value = value + coalesce(NEW.output_bytes, 0) - coalesce(OLD.output_bytes, 0) WHERE name = 'output_bytes';
  END;
  CREATE TRIGGER output_bytes_out AFTER DELETE ON attempts WHEN OLD.output_bytes > 0 BEGIN
    UPDATE totals SET value = value - OLD.output_bytes WHERE name = 'output_bytes';
  END;

  ALTER TABLE groups ADD COLUMN rate_per_second REAL;
  ALTER TABLE groups ADD COLUMN burst INTEGER NOT NULL DEFAULT 1;
  ALTER TABLE groups ADD COLUMN mode TEXT NOT NULL DEFAULT 'auto';
  ALTER TABLE groups ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
  -- 1: the group is gone, and records of jobs that have ended still name it.
  ALTER TABLE groups ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;
  CREATE TRIGGER groups_without_jobs AFTER DELETE ON jobs BEGIN
    DELETE FROM groups WHERE name = OLD.group_name AND removed = 1
      AND NOT EXISTS (SELECT 1 FROM jobs WHERE group_name = OLD.group_name);
  END;

  -- Not only transitions: a note leaves a job in its status.
  ALTER TABLE events ADD COLUMN kind TEXT NOT NULL DEFAULT 'transition';
  ALTER TABLE events ADD COLUMN detail TEXT;
  `,
];

export const schemaVersion = migrations.length;

/** Brings a database up to the newest schema, one transaction a step. Refuses one that is newer than this program. */
export function migrate(db: DatabaseSync, path: string): void {
  const found = Number(db.prepare('PRAGMA user_version').get()?.user_version);
  if (found > schemaVersion) {
    throw new CorralError(
      'STORE_FAILED',
      `The store ${path} has schema ${found}, and this corral knows only up to ${schemaVersion}. Nothing was changed. Run the newer corral that wrote it.`,
    );
  }
  // Only now: setting the journal mode writes to the file.
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;');
  for (const [index, step] of migrations.entries()) {
    if (index < found) continue;
    db.exec(`BEGIN IMMEDIATE; ${step}; PRAGMA user_version = ${index + 1}; COMMIT;`);
  }
}
