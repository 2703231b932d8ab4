-- Keeps updated_at true for every writer, Prisma or not. It moves by at least a millisecond (the column's precision) at
-- each change of a row, so that it can serve as the row's version.
CREATE FUNCTION update_updated_at() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at = GREATEST(now(), OLD.updated_at + interval '1 millisecond');
  RETURN NEW;
END;
$$;

CREATE TABLE users (
  id            uuid           NOT NULL DEFAULT gen_random_uuid(),
  email         varchar(255)   NOT NULL,
  password_hash varchar(255)   NOT NULL,
  full_name     varchar(100)   NOT NULL,
  role          varchar(20)    NOT NULL DEFAULT 'user',
  is_active     boolean        NOT NULL DEFAULT true,
  created_at    timestamptz(3) NOT NULL DEFAULT now(),
  updated_at    timestamptz(3) NOT NULL DEFAULT now(),
  deleted_at    timestamptz(3),
  CONSTRAINT users_pkey PRIMARY KEY (id),
  CONSTRAINT users_role_check CHECK (role IN ('user', 'admin')),
  CONSTRAINT users_email_lower_check CHECK (email = lower(email))
);

-- An address is free again once its user is deleted.
CREATE UNIQUE INDEX idx_users_email ON users (email) WHERE deleted_at IS NULL;
CREATE INDEX idx_users_role ON users (role);
CREATE INDEX idx_users_active ON users (deleted_at) WHERE deleted_at IS NULL;

CREATE TRIGGER set_updated_at BEFORE UPDATE ON users
  FOR EACH ROW EXECUTE FUNCTION update_updated_at();
