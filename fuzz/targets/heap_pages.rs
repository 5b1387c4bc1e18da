#![no_main]

pg_strata_fuzz::target!(pg_strata::fuzzing::heap_pages);
