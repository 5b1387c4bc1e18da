"""python3 -m pg_test.lab COMMAND, one of
ready [MAJOR...] | venv [FILE] | pure | install MAJOR... | own | sql | deb | image | check MAJOR... | clean

ready fetches what a build needs and says what is missing. venv needs only the system's Python; the Makefile calls it
first. pure tests what needs no server. install builds for tests; own, sql, deb and image install what
is shipped. sql writes sql/pg_strata--VERSION.sql anew, deb and image make packages.
"""

import sys

from . import build, package, places, postgres, python, tools


def main(command, *arguments):
    if command == "ready":
        tools.check()
        python.ensure("requirements-demo.txt")
        for found in installations(arguments) if arguments else [postgres.chosen()]:
            ready = build.environment(found)
            places.say(f"ready to build for {found} with {ready['LIBCLANG_PATH']} {ready['BINDGEN_EXTRA_CLANG_ARGS']}")
    elif command == "venv":
        tools.check()
        python.ensure(*(arguments or ("requirements.txt",)))
    elif command == "pure":
        build.pure()
    elif command == "install":
        for found in installations(arguments):
            build.install(found, "testing")
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
        build.check(*arguments)
    elif command == "clean":
        places.clean()
    else:
        places.fail(__doc__)


def installations(majors):
    for major in map(int, majors):
        if found := postgres.find(major):
            yield found
        else:
            places.say(f"leaving out PostgreSQL {major}: {postgres.missing(major)}")


main(*sys.argv[1:])
