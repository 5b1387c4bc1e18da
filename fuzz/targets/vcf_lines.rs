#![no_main]

pg_strata_fuzz::target!(pg_strata::fuzzing::vcf_lines);
