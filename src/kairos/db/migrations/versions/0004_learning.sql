-- The learning loop: dataset rows, training runs, adapters and their lineage. Written from db/models.py.

ALTER TABLE fine_tuning_dataset ALTER COLUMN task_id DROP NOT NULL;
ALTER TABLE fine_tuning_dataset ALTER COLUMN attempt DROP NOT NULL;
ALTER TABLE fine_tuning_dataset ADD COLUMN source TEXT DEFAULT 'guardian' NOT NULL;
ALTER TABLE fine_tuning_dataset ADD COLUMN fingerprint BYTEA;
ALTER TABLE fine_tuning_dataset ADD COLUMN seen BIGINT DEFAULT 1 NOT NULL;
ALTER TABLE fine_tuning_dataset ADD COLUMN secrets JSONB DEFAULT '[]' NOT NULL;
ALTER TABLE fine_tuning_dataset ADD COLUMN cleared_by UUID;
ALTER TABLE fine_tuning_dataset ADD COLUMN labelled_by UUID;
ALTER TABLE fine_tuning_dataset ADD COLUMN labelled_at timestamptz;
ALTER TABLE fine_tuning_dataset ADD COLUMN claimed_by UUID;
ALTER TABLE fine_tuning_dataset ADD COLUMN claimed_until timestamptz;
ALTER TABLE fine_tuning_dataset ADD COLUMN previous JSONB;
CREATE UNIQUE INDEX fine_tuning_dataset_fingerprint ON fine_tuning_dataset (project_id, fingerprint);
CREATE INDEX fine_tuning_dataset_state_id ON fine_tuning_dataset (project_id, state, id);

CREATE TABLE training_runs (
  project_id UUID NOT NULL,
  id UUID NOT NULL,
  task_id UUID,
  base TEXT NOT NULL,
  state TEXT DEFAULT 'waiting' NOT NULL,
  settings JSONB DEFAULT '{}' NOT NULL,
  rows BIGINT DEFAULT 0 NOT NULL,
  rows_hash TEXT,
  progress JSONB DEFAULT '{}' NOT NULL,
  error TEXT,
  created_by UUID,
  created_at timestamptz DEFAULT now() NOT NULL,
  started_at timestamptz,
  finished_at timestamptz,
  PRIMARY KEY (project_id, id),
  CONSTRAINT training_runs_state
    CHECK (state in ('waiting','training','evaluating','done','failed','cancelled')),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE
);

CREATE TABLE adapters (
  project_id UUID NOT NULL,
  id UUID NOT NULL,
  run_id UUID NOT NULL,
  base TEXT NOT NULL,
  version BIGINT NOT NULL,
  state TEXT DEFAULT 'candidate' NOT NULL,
  path TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  bytes BIGINT NOT NULL,
  manifest JSONB NOT NULL,
  report JSONB,
  replaced UUID,
  created_by UUID,
  created_at timestamptz DEFAULT now() NOT NULL,
  changed_at timestamptz DEFAULT now() NOT NULL,
  changed_why TEXT,
  PRIMARY KEY (project_id, id),
  UNIQUE (project_id, base, version),
  UNIQUE (project_id, run_id),
  CONSTRAINT adapters_state
    CHECK (state in ('candidate','needs_approval','canary','live','retired','refused','deleted')),
  FOREIGN KEY(project_id, run_id) REFERENCES training_runs (project_id, id) ON DELETE CASCADE
);

CREATE TABLE adapter_rows (
  project_id UUID NOT NULL,
  adapter_id UUID NOT NULL,
  sample_id UUID NOT NULL,
  version BIGINT NOT NULL,
  part TEXT NOT NULL,
  PRIMARY KEY (project_id, adapter_id, sample_id),
  FOREIGN KEY(project_id, adapter_id) REFERENCES adapters (project_id, id) ON DELETE CASCADE
);
CREATE INDEX adapter_rows_sample ON adapter_rows (project_id, sample_id);
