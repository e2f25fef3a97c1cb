-- Tables of the initial schema, written from db/models.py; a test compares the two.

CREATE TABLE users (
  id UUID NOT NULL,
  email TEXT NOT NULL,
  name TEXT NOT NULL,
  password_hash TEXT,
  operator BOOLEAN DEFAULT false NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  disabled_at timestamptz,
  PRIMARY KEY (id),
  UNIQUE (email)
);

CREATE TABLE projects (
  id UUID NOT NULL,
  name TEXT NOT NULL,
  settings JSONB DEFAULT '{}' NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  archived_at timestamptz,
  PRIMARY KEY (id)
);

CREATE TABLE memberships (
  project_id UUID NOT NULL,
  user_id UUID NOT NULL,
  role TEXT NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  PRIMARY KEY (project_id, user_id),
  CONSTRAINT memberships_role CHECK (role in ('owner', 'admin', 'member', 'viewer')),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE,
  FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX memberships_user ON memberships (user_id);

CREATE TABLE sessions (
  id UUID NOT NULL,
  user_id UUID NOT NULL,
  refresh_hash BYTEA NOT NULL,
  previous_hash BYTEA,
  rotated_at timestamptz,
  client TEXT NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  PRIMARY KEY (id),
  FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
  UNIQUE (refresh_hash)
);
CREATE INDEX ix_sessions_previous_hash ON sessions (previous_hash);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);

CREATE TABLE one_time_links (
  token_hash BYTEA NOT NULL,
  user_id UUID NOT NULL,
  purpose TEXT NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at timestamptz,
  PRIMARY KEY (token_hash),
  FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE TABLE signing_keys (
  kid TEXT NOT NULL,
  secret BYTEA NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  retired_at timestamptz,
  PRIMARY KEY (kid)
);

CREATE TABLE audit_log (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  at timestamptz DEFAULT now() NOT NULL,
  user_id UUID,
  project_id UUID,
  action TEXT NOT NULL,
  target TEXT,
  data JSONB DEFAULT '{}' NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX audit_log_project_at ON audit_log (project_id, at);

CREATE TABLE tasks (
  project_id UUID NOT NULL,
  id UUID NOT NULL,
  prompt TEXT NOT NULL,
  agent TEXT NOT NULL,
  task_type TEXT,
  checks JSONB DEFAULT '{}' NOT NULL,
  options JSONB DEFAULT '{}' NOT NULL,
  state TEXT DEFAULT 'queued' NOT NULL,
  lane TEXT NOT NULL,
  priority BIGINT DEFAULT 0 NOT NULL,
  not_before timestamptz DEFAULT now() NOT NULL,
  timeout_s double precision NOT NULL,
  attempts BIGINT DEFAULT 0 NOT NULL,
  max_attempts BIGINT NOT NULL,
  epoch BIGINT DEFAULT 0 NOT NULL,
  owner TEXT,
  lease_until timestamptz,
  cancel_requested BOOLEAN DEFAULT false NOT NULL,
  idempotency_key TEXT,
  request_hash BYTEA,
  traceparent TEXT,
  created_by UUID,
  created_at timestamptz DEFAULT now() NOT NULL,
  started_at timestamptz,
  finished_at timestamptz,
  output TEXT,
  model TEXT,
  decision_id UUID,
  error JSONB,
  PRIMARY KEY (project_id, id),
  CONSTRAINT tasks_state CHECK (state in ('queued','running','succeeded','rejected','failed','dead','cancelled')),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX tasks_idempotency ON tasks (project_id, idempotency_key) WHERE idempotency_key is not null;
CREATE INDEX tasks_leases ON tasks (lease_until) WHERE state = 'running';
CREATE INDEX tasks_project_state ON tasks (project_id, state, id);
CREATE INDEX tasks_queued ON tasks (id) WHERE state = 'queued';

CREATE TABLE task_events (
  project_id UUID NOT NULL,
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  task_id UUID NOT NULL,
  attempt BIGINT NOT NULL,
  kind TEXT NOT NULL,
  data JSONB DEFAULT '{}' NOT NULL,
  at timestamptz DEFAULT clock_timestamp() NOT NULL,
  PRIMARY KEY (project_id, id),
  FOREIGN KEY(project_id, task_id) REFERENCES tasks (project_id, id) ON DELETE CASCADE
);
CREATE INDEX task_events_task ON task_events (project_id, task_id, id);

CREATE TABLE model_performance_metrics (
  project_id UUID NOT NULL,
  id UUID NOT NULL,
  at timestamptz DEFAULT now() NOT NULL,
  task_id UUID,
  attempt BIGINT,
  decision_id UUID,
  model TEXT NOT NULL,
  task_type TEXT NOT NULL,
  success BOOLEAN NOT NULL,
  error TEXT,
  first_token_s double precision,
  duration_s double precision NOT NULL,
  input_tokens BIGINT,
  output_tokens BIGINT,
  cost_usd double precision,
  quality double precision,
  quality_source TEXT,
  PRIMARY KEY (project_id, id, at),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE) PARTITION BY RANGE (at);
CREATE INDEX metrics_decision ON model_performance_metrics (project_id, decision_id);
CREATE INDEX metrics_model ON model_performance_metrics (project_id, model, at);

CREATE TABLE routing_decisions (
  project_id UUID NOT NULL,
  id UUID NOT NULL,
  task_id UUID,
  attempt BIGINT,
  task_type TEXT NOT NULL,
  task_type_source TEXT NOT NULL,
  kind TEXT NOT NULL,
  chosen TEXT,
  answered TEXT,
  candidates JSONB NOT NULL,
  excluded JSONB NOT NULL,
  calls JSONB DEFAULT '[]' NOT NULL,
  margin double precision,
  quality double precision,
  at timestamptz DEFAULT now() NOT NULL,
  PRIMARY KEY (project_id, id),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE
);
CREATE INDEX routing_decisions_task ON routing_decisions (project_id, task_id);

CREATE TABLE verdicts (
  project_id UUID NOT NULL,
  id UUID NOT NULL,
  task_id UUID NOT NULL,
  attempt BIGINT NOT NULL,
  draft BIGINT NOT NULL,
  decision_id UUID,
  approved BOOLEAN NOT NULL,
  score double precision,
  findings JSONB NOT NULL,
  checks JSONB NOT NULL,
  output TEXT NOT NULL,
  at timestamptz DEFAULT now() NOT NULL,
  PRIMARY KEY (project_id, id),
  FOREIGN KEY(project_id, task_id) REFERENCES tasks (project_id, id) ON DELETE CASCADE
);
CREATE INDEX verdicts_task ON verdicts (project_id, task_id);

CREATE TABLE fine_tuning_dataset (
  project_id UUID NOT NULL,
  id UUID NOT NULL,
  task_id UUID NOT NULL,
  attempt BIGINT NOT NULL,
  task_type TEXT,
  prompt JSONB NOT NULL,
  faulty_output TEXT,
  reason TEXT NOT NULL,
  model TEXT,
  adapter TEXT,
  corrected_output TEXT,
  state TEXT DEFAULT 'open' NOT NULL,
  version BIGINT DEFAULT 1 NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  PRIMARY KEY (project_id, id),
  CONSTRAINT fine_tuning_dataset_state CHECK (state in ('open','corrected','approved','rejected','held_out')),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE
);
CREATE INDEX fine_tuning_dataset_task ON fine_tuning_dataset (project_id, task_id);

CREATE TABLE model_performance_metrics_default PARTITION OF model_performance_metrics DEFAULT;
