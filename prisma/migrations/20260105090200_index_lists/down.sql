DROP INDEX idx_orders_created_at;
DROP INDEX idx_orders_status_created_at;
DROP INDEX idx_orders_user_id_created_at;
DROP INDEX idx_products_name;
DROP INDEX idx_products_price_cents;
DROP INDEX idx_products_created_at;
DROP INDEX idx_users_created_at;
