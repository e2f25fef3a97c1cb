-- Live configuration: versions of the system and of each project, and the version in force on each daemon. Written from
-- db/models.py.

CREATE TABLE config_versions (
  version BIGINT NOT NULL,
  at timestamptz DEFAULT now() NOT NULL,
  user_id UUID,
  why TEXT NOT NULL,
  changes JSONB NOT NULL,
  overrides JSONB NOT NULL,
  PRIMARY KEY (version)
);

CREATE TABLE project_config_versions (
  project_id UUID NOT NULL,
  version BIGINT NOT NULL,
  at timestamptz DEFAULT now() NOT NULL,
  user_id UUID,
  why TEXT NOT NULL,
  changes JSONB NOT NULL,
  settings JSONB NOT NULL,
  PRIMARY KEY (project_id, version),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE
);

ALTER TABLE replicas ADD COLUMN config_version BIGINT DEFAULT 0 NOT NULL;
ALTER TABLE replicas ADD COLUMN config_error TEXT;
ALTER TABLE replicas ADD COLUMN config_waiting JSONB DEFAULT '[]' NOT NULL
