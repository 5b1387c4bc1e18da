#![no_main]

pg_strata_fuzz::target!(pg_strata::fuzzing::arrow_file);
