-- Failed logins of an address since its window began. The address itself is not kept: it may be anyone's, mistyped.
CREATE TABLE login_failures (
  email_hash        char(64)       NOT NULL,
  failures          integer        NOT NULL,
  window_started_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT login_failures_pkey PRIMARY KEY (email_hash),
  CONSTRAINT login_failures_failures_check CHECK (failures > 0)
);

-- For the purge of windows that are over.
CREATE INDEX idx_login_failures_window_started_at ON login_failures (window_started_at);
