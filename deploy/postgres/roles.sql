-- The three roles and the database, by a superuser, once. With psql's variables
-- owner_password, service_password and backup_password.
--
-- butie_owner owns the schema and migrates it. butie_service does the service's work and cannot
-- rewrite the books (`butie migrate` grants it what it needs). butie_backup copies the cluster.
\set ON_ERROR_STOP on
CREATE ROLE butie_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE butie_service LOGIN PASSWORD :'service_password';
CREATE ROLE butie_backup LOGIN REPLICATION PASSWORD :'backup_password';
-- Whatever the cluster was made with, which on a bare machine may be SQL_ASCII.
CREATE DATABASE butie OWNER butie_owner TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
REVOKE ALL ON DATABASE butie FROM PUBLIC;
GRANT CONNECT ON DATABASE butie TO butie_service;
