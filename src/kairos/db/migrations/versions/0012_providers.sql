-- Providers and their models: shared ones, and the projects' own. Written from db/provider_models.py.

CREATE TABLE providers (
  id UUID NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  address TEXT NOT NULL,
  local BOOLEAN NOT NULL,
  sealed BYTEA,
  master_key TEXT,
  key_set_at timestamptz,
  header_names JSONB DEFAULT '[]' NOT NULL,
  ca TEXT,
  version BIGINT DEFAULT 1 NOT NULL,
  revision BIGINT DEFAULT 1 NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  changed_at timestamptz DEFAULT now() NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (name)
);

CREATE TABLE provider_models (
  id UUID NOT NULL,
  provider_id UUID NOT NULL,
  name TEXT NOT NULL,
  upstream TEXT NOT NULL,
  context BIGINT,
  capabilities JSONB DEFAULT '[]' NOT NULL,
  price_input double precision,
  price_output double precision,
  price_at DATE,
  price_source TEXT,
  price_per_hour double precision,
  specialties JSONB DEFAULT '[]' NOT NULL,
  tier double precision,
  enabled BOOLEAN DEFAULT true NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (name),
  FOREIGN KEY(provider_id) REFERENCES providers (id) ON DELETE CASCADE
);

CREATE INDEX ix_provider_models_provider_id ON provider_models (provider_id);

CREATE TABLE project_providers (
  project_id UUID NOT NULL,
  id UUID NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  address TEXT NOT NULL,
  local BOOLEAN NOT NULL,
  sealed BYTEA,
  master_key TEXT,
  key_set_at timestamptz,
  header_names JSONB DEFAULT '[]' NOT NULL,
  ca TEXT,
  version BIGINT DEFAULT 1 NOT NULL,
  revision BIGINT DEFAULT 1 NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  changed_at timestamptz DEFAULT now() NOT NULL,
  PRIMARY KEY (project_id, id),
  UNIQUE (project_id, name),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE
);

CREATE TABLE project_models (
  project_id UUID NOT NULL,
  id UUID NOT NULL,
  provider_id UUID NOT NULL,
  name TEXT NOT NULL,
  upstream TEXT NOT NULL,
  context BIGINT,
  capabilities JSONB DEFAULT '[]' NOT NULL,
  price_input double precision,
  price_output double precision,
  price_at DATE,
  price_source TEXT,
  price_per_hour double precision,
  specialties JSONB DEFAULT '[]' NOT NULL,
  tier double precision,
  enabled BOOLEAN DEFAULT true NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  PRIMARY KEY (project_id, id),
  UNIQUE (project_id, name),
  FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE,
  FOREIGN KEY(project_id, provider_id) REFERENCES project_providers (project_id, id) ON DELETE CASCADE
)
