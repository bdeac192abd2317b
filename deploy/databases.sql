-- Two databases, each with an owner who may do nothing elsewhere: Dagster's own, and the tables with the connections.
-- For psql, as an administrator; the passwords come from its environment.
\set ON_ERROR_STOP on
\getenv dagster_password DAGSTER_POSTGRES_PASSWORD
\getenv warehouse_password WAREHOUSE_PASSWORD

CREATE ROLE dagster LOGIN PASSWORD :'dagster_password';
CREATE DATABASE dagster OWNER dagster;
REVOKE CONNECT ON DATABASE dagster FROM PUBLIC;

CREATE ROLE pennylane_sync LOGIN PASSWORD :'warehouse_password';
CREATE DATABASE receivables OWNER pennylane_sync;
REVOKE CONNECT ON DATABASE receivables FROM PUBLIC;
