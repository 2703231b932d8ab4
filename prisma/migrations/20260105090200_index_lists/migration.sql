-- squawk-ignore-file require-concurrent-index-creation -- These tables are as new as this: they hold no rows yet.
-- One index for each order in which a collection can be listed; id breaks ties, so that a cursor has one meaning.
CREATE INDEX idx_users_created_at ON users (created_at, id);
CREATE INDEX idx_products_created_at ON products (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_products_price_cents ON products (price_cents, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_products_name ON products (name, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_orders_user_id_created_at ON orders (user_id, created_at, id);
CREATE INDEX idx_orders_status_created_at ON orders (status, created_at, id);
CREATE INDEX idx_orders_created_at ON orders (created_at, id);
