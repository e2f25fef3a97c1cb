-- Shared statistics and positions of measured calls, written from db/models.py; a test compares the two.

CREATE TABLE router_positions (
  project_id UUID NOT NULL,
  task_type TEXT NOT NULL,
  position BIGINT DEFAULT 0 NOT NULL,
  version BIGINT DEFAULT 1 NOT NULL,
  last_change timestamptz DEFAULT 'epoch' NOT NULL,
  PRIMARY KEY (project_id, task_type),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE
) WITH (fillfactor = 50);
CREATE INDEX router_positions_recent ON router_positions (project_id, last_change);

-- Rows are updated often; free space on their page allows HOT updates, which leave the index untouched.
CREATE TABLE router_statistics (
  project_id UUID NOT NULL,
  task_type TEXT NOT NULL,
  model TEXT NOT NULL,
  n double precision NOT NULL,
  s double precision NOT NULL,
  q double precision NOT NULL,
  short_n double precision NOT NULL,
  short_s double precision NOT NULL,
  short_q double precision NOT NULL,
  turn BIGINT NOT NULL,
  calls double precision NOT NULL,
  first_token_s double precision,
  latency_s double precision,
  tokens_per_s double precision,
  cost_usd double precision,
  input_tokens double precision,
  output_tokens double precision,
  position BIGINT NOT NULL,
  last_change timestamptz NOT NULL,
  PRIMARY KEY (project_id, task_type, model),
  FOREIGN KEY(project_id, task_type) REFERENCES router_positions (project_id, task_type) ON DELETE CASCADE
) WITH (fillfactor = 50);

ALTER TABLE model_performance_metrics ADD COLUMN position BIGINT;
ALTER TABLE model_performance_metrics ADD COLUMN turn BIGINT;
ALTER TABLE model_performance_metrics ADD COLUMN observed_at timestamptz;

ALTER TABLE routing_decisions ADD COLUMN task_type_confidence double precision;
ALTER TABLE routing_decisions ADD COLUMN task_type_reason TEXT;
ALTER TABLE routing_decisions ADD COLUMN length TEXT;

CREATE TABLE task_type_centroids (
  project_id UUID NOT NULL,
  embedding_model TEXT NOT NULL,
  task_type TEXT NOT NULL,
  examples double precision NOT NULL CHECK (examples > 0),
  vector_sum REAL[] NOT NULL CHECK (array_position(vector_sum, NULL) IS NULL),
  changed_at timestamptz DEFAULT now() NOT NULL,
  PRIMARY KEY (project_id, embedding_model, task_type),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE
);
