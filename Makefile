# Each target does its own set-up; everything it makes lies under target/.
#
#   make demo                       PostgreSQL 18, real data, one export, read back
#   make test                       everything, on PostgreSQL 18 and (where installed) 15
#   make fast                       the tests of a server that take seconds, on PostgreSQL 18
#   make bench ROWS=6000000         against other exporters
#   make torture FAULTS=10000       random faults, by JOBS=1 servers, and campaigns of system calls, appends and a failing device
#   make fuzz SECONDS=60            every fuzzer for so long
#   make install PG_CONFIG=...      into a PostgreSQL of your own
#
# PG_CONFIG=/path/to/pg_config makes demo and bench use that PostgreSQL's programs (in a private cluster).

PYTHON ?= python3
VENV := target/venv/bin/python
PGS ?= 18 15
ROWS ?= 6000000
ROUNDS ?= 3
PEERS ?= default
SEED ?= 1
FAULTS ?= 10000
KINDS ?=
JOBS ?= 1
SECONDS ?= 60
# Of pytest: some tests wait rather than work.
WORKERS ?= 3

# Where rustup puts cargo, for a shell that was started before.
export PATH := $(PATH):$(HOME)/.cargo/bin
export PYTHONPYCACHEPREFIX := $(CURDIR)/target/pycache
export PG_CONFIG ROWS ROUNDS PEERS PGS

.PHONY: demo test fast bench torture fuzz install clean venv pure servers

venv:
	$(PYTHON) -m pg_test.lab venv

demo:
	$(PYTHON) -m pg_test.lab venv requirements-demo.txt
	$(VENV) -m pg_test.demo

# The debug and the release builds beside each other: each alone leaves a processor idle for much of its time.
test: venv
	$(MAKE) -j2 pure servers
	$(VENV) -m pytest -n $(WORKERS) pg_test

pure: venv
	$(VENV) -m ruff format --check
	$(VENV) -m ruff check
	$(PYTHON) -m pg_test.lab pure

servers:
	$(PYTHON) -m pg_test.lab install $(PGS)

fast: venv
	$(PYTHON) -m pg_test.lab install 18
	PGS=18 $(VENV) -m pytest -n $(WORKERS) -m fast pg_test

bench:
	$(PYTHON) -m pg_test.lab venv requirements-bench.txt
	$(VENV) -m pg_test.bench

torture: venv
	$(PYTHON) -m pg_test.lab install 18
	$(VENV) -m pg_test.torture --seed $(SEED) --faults $(FAULTS) --jobs $(JOBS) $(if $(KINDS),--kinds "$(KINDS)")

fuzz:
	cd fuzz && ./build.sh && OUT=target/findings ./run_all.sh $(SECONDS) 1

install:
	$(PYTHON) -m pg_test.lab own

clean:
	$(PYTHON) -m pg_test.lab clean
