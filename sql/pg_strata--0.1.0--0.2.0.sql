\echo Use "ALTER EXTENSION pg_strata UPDATE TO '0.2.0'" to load this file. \quit
