-- Two databases, each with an owner who may do nothing elsewhere: Dagster's own, and the tables with the connections.
-- For psql, as an administrator; the passwords come from its environment. What is there already stays, but for these.
\set ON_ERROR_STOP on
\getenv dagster_password DAGSTER_POSTGRES_PASSWORD
\getenv warehouse_password WAREHOUSE_PASSWORD

SELECT 'CREATE ROLE dagster' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'dagster') \gexec
ALTER ROLE dagster LOGIN PASSWORD :'dagster_password';
SELECT 'CREATE DATABASE dagster OWNER dagster'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'dagster') \gexec
REVOKE CONNECT ON DATABASE dagster FROM PUBLIC;

SELECT 'CREATE ROLE pennylane_sync' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pennylane_sync') \gexec
ALTER ROLE pennylane_sync LOGIN PASSWORD :'warehouse_password';
SELECT 'CREATE DATABASE receivables OWNER pennylane_sync'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'receivables') \gexec
REVOKE CONNECT ON DATABASE receivables FROM PUBLIC;
