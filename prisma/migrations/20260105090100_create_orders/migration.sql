CREATE TABLE products (
  id          uuid           NOT NULL DEFAULT gen_random_uuid(),
  sku         varchar(64)    NOT NULL,
  name        varchar(200)   NOT NULL,
  description varchar(2000)  NOT NULL DEFAULT '',
  price_cents integer        NOT NULL,
  stock       integer        NOT NULL DEFAULT 0,
  created_at  timestamptz(3) NOT NULL DEFAULT now(),
  updated_at  timestamptz(3) NOT NULL DEFAULT now(),
  deleted_at  timestamptz(3),
  CONSTRAINT products_pkey PRIMARY KEY (id),
  CONSTRAINT products_price_cents_check CHECK (price_cents >= 0),
  -- The last line of defence against overselling: the statement that takes stock is guarded, and if it ever is not, this is.
  CONSTRAINT products_stock_check CHECK (stock >= 0)
);

CREATE UNIQUE INDEX idx_products_sku ON products (sku) WHERE deleted_at IS NULL;

CREATE TRIGGER set_updated_at BEFORE UPDATE ON products
  FOR EACH ROW EXECUTE FUNCTION update_updated_at();

CREATE TABLE orders (
  id          uuid           NOT NULL DEFAULT gen_random_uuid(),
  user_id     uuid           NOT NULL,
  status      varchar(20)    NOT NULL DEFAULT 'placed',
  total_cents bigint         NOT NULL,
  created_at  timestamptz(3) NOT NULL DEFAULT now(),
  updated_at  timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT orders_pkey PRIMARY KEY (id),
  -- A user with orders cannot be removed for good, only marked deleted.
  CONSTRAINT orders_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT ON UPDATE RESTRICT,
  CONSTRAINT orders_status_check CHECK (status IN ('placed', 'fulfilled', 'cancelled')),
  CONSTRAINT orders_total_cents_check CHECK (total_cents >= 0)
);

CREATE TRIGGER set_updated_at BEFORE UPDATE ON orders
  FOR EACH ROW EXECUTE FUNCTION update_updated_at();

-- One line for each product; SKU, name and price as they were when the order was placed.
CREATE TABLE order_items (
  order_id         uuid         NOT NULL,
  product_id       uuid         NOT NULL,
  sku              varchar(64)  NOT NULL,
  name             varchar(200) NOT NULL,
  quantity         integer      NOT NULL,
  unit_price_cents integer      NOT NULL,
  CONSTRAINT order_items_pkey PRIMARY KEY (order_id, product_id),
  CONSTRAINT order_items_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE ON UPDATE RESTRICT,
  CONSTRAINT order_items_product_id_fkey FOREIGN KEY (product_id) REFERENCES products (id) ON DELETE RESTRICT ON UPDATE RESTRICT,
  CONSTRAINT order_items_quantity_check CHECK (quantity > 0),
  CONSTRAINT order_items_unit_price_cents_check CHECK (unit_price_cents >= 0)
);

CREATE INDEX idx_order_items_product_id ON order_items (product_id);

-- Written in the transaction of the order it protects: a row without a response is never visible to anyone else.
CREATE TABLE idempotency_keys (
  user_id         uuid           NOT NULL,
  key             varchar(255)   NOT NULL,
  request_hash    char(64)       NOT NULL,
  response_status smallint,
  response_body   text,
  location        varchar(255),
  created_at      timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key),
  CONSTRAINT idempotency_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE ON UPDATE RESTRICT
);

-- For the purge of expired keys.
CREATE INDEX idx_idempotency_keys_created_at ON idempotency_keys (created_at);
