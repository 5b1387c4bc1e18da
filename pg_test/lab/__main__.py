"""python3 -m pg_test.lab venv [FILE] | install MAJOR... | own | check MAJOR | clean

venv needs only the system's Python; the Makefile calls it first.
"""

import sys

from . import build, places, postgres, python


def main(command, *arguments):
    if command == "venv":
        python.ensure(*(arguments or ("requirements.txt",)))
    elif command == "install":
        for major in map(int, arguments):
            if found := postgres.find(major):
                build.install(found)
            else:
                places.say(f"PostgreSQL {major} is not here: install postgresql-{major} and "
                           f"postgresql-server-dev-{major} to test with it")
    elif command == "own":
        build.install(postgres.chosen())
    elif command == "check":
        build.check_without_headers(*map(int, arguments))
    elif command == "clean":
        places.clean()
    else:
        places.fail(__doc__)


main(*sys.argv[1:])
