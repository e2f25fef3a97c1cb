-- Invitations, keys, labels and tickets; the order of events; daemons. Written from db/models.py.

CREATE TABLE invitations (
  project_id UUID NOT NULL,
  id UUID NOT NULL,
  token_hash BYTEA NOT NULL,
  email TEXT,
  role TEXT NOT NULL,
  created_by UUID,
  created_at timestamptz DEFAULT now() NOT NULL,
  expires_at timestamptz NOT NULL,
  accepted_at timestamptz,
  accepted_by UUID,
  revoked_at timestamptz,
  PRIMARY KEY (project_id, id),
  UNIQUE (project_id, token_hash),
  CONSTRAINT invitations_role CHECK (role in ('owner', 'admin', 'member', 'viewer')),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE
);
CREATE INDEX invitations_token ON invitations (token_hash);

CREATE TABLE api_keys (
  project_id UUID NOT NULL,
  id UUID NOT NULL,
  name TEXT NOT NULL,
  prefix TEXT NOT NULL,
  key_hash BYTEA NOT NULL,
  scopes TEXT[] NOT NULL,
  created_by UUID NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  PRIMARY KEY (project_id, id),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE
);
CREATE INDEX api_keys_prefix ON api_keys (prefix);

CREATE TABLE task_labels (
  project_id UUID NOT NULL,
  task_id UUID NOT NULL,
  label TEXT NOT NULL,
  output TEXT,
  reason TEXT,
  user_id UUID,
  sample_id UUID,
  at timestamptz DEFAULT now() NOT NULL,
  PRIMARY KEY (project_id, task_id),
  CONSTRAINT task_labels_label CHECK (label in ('accept', 'edit', 'reject')),
  FOREIGN KEY(project_id, task_id) REFERENCES tasks (project_id, id) ON DELETE CASCADE
);

CREATE TABLE event_tickets (
  token_hash BYTEA NOT NULL,
  user_id UUID NOT NULL,
  session_id UUID,
  project_id UUID NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (token_hash),
  FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE
);

CREATE TABLE replicas (
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  version TEXT NOT NULL,
  slots BIGINT NOT NULL,
  started_at timestamptz DEFAULT now() NOT NULL,
  heartbeat_at timestamptz DEFAULT now() NOT NULL,
  PRIMARY KEY (name)
);

ALTER TABLE task_events ADD COLUMN xact BIGINT DEFAULT (pg_current_xact_id()::text::bigint) NOT NULL;
CREATE INDEX task_events_order ON task_events (project_id, xact, id);

ALTER TABLE verdicts ADD COLUMN messages JSONB DEFAULT '[]' NOT NULL;

ALTER TABLE projects ADD COLUMN deleted_at timestamptz;

ALTER TABLE signing_keys ADD COLUMN purpose TEXT DEFAULT 'access' NOT NULL;

DELETE FROM sessions;
ALTER TABLE sessions DROP COLUMN refresh_hash;
ALTER TABLE sessions DROP COLUMN previous_hash;
ALTER TABLE sessions ADD COLUMN generation BIGINT DEFAULT 0 NOT NULL;

CREATE INDEX audit_log_user_at ON audit_log (user_id, at);
CREATE INDEX audit_log_at ON audit_log (at);
