-- Values of one plugin in one project. Written from db/models.py.

CREATE TABLE plugin_storage (
  project_id UUID NOT NULL,
  plugin TEXT NOT NULL,
  key TEXT NOT NULL,
  value JSONB NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  PRIMARY KEY (project_id, plugin, key),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE
);
