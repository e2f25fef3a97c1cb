-- Secrets that the app role cannot read, and functions for sign-in and live events. Written from db/models.py.

ALTER TABLE event_tickets ADD COLUMN key_id UUID;

-- The app role reads and writes accounts without password hashes, which only the functions below can access, and has no
-- access to signing keys. It may set the first hash of a new account.
REVOKE ALL ON users, signing_keys FROM {app};
GRANT SELECT (id, email, name, operator, created_at, disabled_at) ON users TO {app};
GRANT INSERT (id, email, name, operator, password_hash) ON users TO {app};
GRANT UPDATE (name, operator, disabled_at) ON users TO {app};
GRANT DELETE ON users TO {app};

DROP FUNCTION kairos_user_by_email(text);

CREATE FUNCTION kairos_account(wanted text)
RETURNS TABLE (id uuid, name text, password_hash text, operator boolean, disabled boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT id, name, password_hash, operator, disabled_at IS NOT NULL FROM users WHERE email = lower(wanted)
$$;

CREATE FUNCTION kairos_password_hash(wanted uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT password_hash FROM users WHERE id = wanted AND disabled_at IS NULL
$$;

-- Stores a hash of the same password with stronger parameters.
CREATE FUNCTION kairos_rehash_password(wanted uuid, old text, new text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE users SET password_hash = new WHERE id = wanted AND password_hash = old
$$;

-- Sets a new password and ends all sessions but one, and all links and tickets.
CREATE FUNCTION kairos_set_password(wanted uuid, new text, kept_session uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE users SET password_hash = new WHERE id = wanted AND disabled_at IS NULL;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  UPDATE sessions SET revoked_at = now()
    WHERE user_id = wanted AND revoked_at IS NULL AND id IS DISTINCT FROM kept_session;
  UPDATE one_time_links SET used_at = now() WHERE user_id = wanted AND used_at IS NULL;
  DELETE FROM event_tickets
    WHERE user_id = wanted AND session_id IS NOT NULL AND session_id IS DISTINCT FROM kept_session;
  RETURN true;
END $$;

-- The user of the link; null if it is unknown, used or expired, or the account is disabled.
CREATE FUNCTION kairos_spend_link(wanted bytea, new text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE holder uuid;
BEGIN
  UPDATE one_time_links SET used_at = now()
    WHERE token_hash = wanted AND used_at IS NULL AND expires_at > now() RETURNING user_id INTO holder;
  IF holder IS NULL OR NOT kairos_set_password(holder, new, NULL) THEN
    RETURN NULL;
  END IF;
  RETURN holder;
END $$;

CREATE FUNCTION kairos_access_keys() RETURNS TABLE (kid text, secret bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT kid, secret FROM signing_keys WHERE purpose = 'access' AND (retired_at IS NULL OR retired_at > now())
  ORDER BY retired_at IS NOT NULL, created_at DESC
$$;

CREATE FUNCTION kairos_add_access_key(new_kid text, new_secret bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  INSERT INTO signing_keys (kid, secret) VALUES (new_kid, new_secret)
$$;

CREATE FUNCTION kairos_retire_access_keys(but text, life interval) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE signing_keys SET retired_at = now() + life WHERE purpose = 'access' AND kid <> but AND retired_at IS NULL
$$;

-- The installation's secret for a purpose; stores `fresh` if there is none yet.
CREATE FUNCTION kairos_shared_secret(wanted text, fresh bytea) RETURNS bytea
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO signing_keys (kid, purpose, secret) VALUES (wanted, wanted, fresh) ON CONFLICT (kid) DO NOTHING;
  RETURN (SELECT secret FROM signing_keys WHERE kid = wanted AND purpose = wanted);
END $$;

-- A disabled account can neither use a link nor refresh.
CREATE OR REPLACE FUNCTION kairos_user_by_link(wanted bytea)
RETURNS TABLE (user_id uuid, purpose text, usable boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT l.user_id, l.purpose, l.used_at IS NULL AND l.expires_at > now() AND u.disabled_at IS NULL
  FROM one_time_links l JOIN users u ON u.id = l.user_id WHERE l.token_hash = wanted
$$;

CREATE OR REPLACE FUNCTION kairos_session(wanted uuid)
RETURNS TABLE (user_id uuid, generation bigint, rotated_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT s.user_id, s.generation, s.rotated_at FROM sessions s JOIN users u ON u.id = s.user_id
  WHERE s.id = wanted AND s.revoked_at IS NULL AND s.expires_at > now() AND u.disabled_at IS NULL
$$;

-- Of the credentials in these arrays, those that have ended, or whose membership has. Positions count from 0.
CREATE FUNCTION kairos_ended_rights(users uuid[], sessions uuid[], keys uuid[], projects uuid[])
RETURNS TABLE (place int, reason text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT * FROM (
    SELECT (r.i - 1)::int, CASE
      WHEN u.id IS NULL OR (r.key IS NULL AND s.id IS NULL) THEN 'credential'
      WHEN m.user_id IS NULL OR p.id IS NULL THEN 'membership'
      WHEN r.key IS NOT NULL AND k.id IS NULL THEN 'credential'
    END AS reason
    FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS r (holder, session, key, project, i)
      LEFT JOIN users u ON u.id = r.holder AND u.disabled_at IS NULL
      LEFT JOIN sessions s ON s.id = r.session AND s.user_id = r.holder AND s.revoked_at IS NULL AND s.expires_at > now()
      LEFT JOIN api_keys k ON k.project_id = r.project AND k.id = r.key AND k.created_by = r.holder
        AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
      LEFT JOIN memberships m ON m.project_id = r.project AND m.user_id = r.holder
      LEFT JOIN projects p ON p.id = r.project AND p.deleted_at IS NULL
  ) AS looked WHERE reason IS NOT NULL
$$;

-- An invitation is valid while its creator may still invite members with this role.
CREATE OR REPLACE FUNCTION kairos_invitation(wanted bytea)
RETURNS TABLE (project_id uuid, id uuid, project_name text, role text, email text, invited_by text,
               expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT i.project_id, i.id, p.name, i.role, i.email, u.name, i.expires_at
  FROM invitations i
    JOIN projects p ON p.id = i.project_id
    JOIN users u ON u.id = i.created_by
    JOIN memberships m ON m.project_id = i.project_id AND m.user_id = i.created_by
  WHERE i.token_hash = wanted AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > now()
    AND p.archived_at IS NULL AND p.deleted_at IS NULL AND u.disabled_at IS NULL
    AND (m.role = 'owner' OR (m.role = 'admin' AND i.role <> 'owner'))
$$;
