"""python3 -m pg_test.lab venv [FILE] | install MAJOR... | own | sql | deb | image | check MAJOR | clean

venv needs only the system's Python; the Makefile calls it first. install builds for tests; own, sql, deb and image install what
is shipped. sql writes sql/pg_strata--VERSION.sql anew, deb and image make packages.
"""

import sys

from . import build, package, places, postgres, python


def main(command, *arguments):
    if command == "venv":
        python.ensure(*(arguments or ("requirements.txt",)))
    elif command == "install":
        for major in map(int, arguments):
            if found := postgres.find(major):
                build.install(found, "testing")
            else:
                places.say(f"leaving out PostgreSQL {major}: {postgres.missing(major)}")
    elif command == "own":
        build.install(postgres.chosen())
    elif command == "sql":
        found = postgres.chosen()
        build.install(found)
        build.SQL.write_text(build.generated_sql(found))
    elif command in ("deb", "image"):
        found = postgres.chosen()
        build.install(found)
        print(getattr(package, command)(found))
    elif command == "check":
        build.check_without_headers(*map(int, arguments))
    elif command == "clean":
        places.clean()
    else:
        places.fail(__doc__)


main(*sys.argv[1:])
