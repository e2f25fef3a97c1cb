-- Written from db/models.py. Faults are unique among rows that were not imported; imported rows may share a prompt.

DROP INDEX fine_tuning_dataset_fingerprint;

CREATE UNIQUE INDEX fine_tuning_dataset_fault ON fine_tuning_dataset (project_id, fingerprint) WHERE source <> 'import';

CREATE INDEX fine_tuning_dataset_content ON fine_tuning_dataset (project_id, fingerprint, hashtextextended(corrected_output, 0));

CREATE TABLE dataset_imports (
  project_id UUID NOT NULL,
  holder UUID NOT NULL,
  held_until timestamptz NOT NULL,
  PRIMARY KEY (project_id),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE
);
