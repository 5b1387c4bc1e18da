"""Finds a libclang for bindgen, fetches one where none works, and tries it on the headers that bindgen will read."""

import ctypes
import glob
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from .places import ROOT, TARGET, fail
from .python import unpack_wheel

WHEEL = "libclang==18.1.1"
FOLDERS = ("usr/local/lib*", "usr/lib*/llvm*/lib*", "usr/lib/*-linux-*", "usr/lib*")
# What clang-sys, which loads the library, accepts. libclang-cpp is another library: Debian's llvm leaves it behind.
NAMES = ("libclang.so", "libclang.so.*", "libclang-[0-9]*.so", "libclang-[0-9]*.so.*")
ERROR = 3


def among(folders, root="/"):
    """The libraries of these names, the newest version first."""
    patterns = [os.path.join(folder, name) for folder in folders for name in NAMES]
    found = {Path(root, file).resolve() for pattern in patterns for file in glob.glob(pattern, root_dir=root)}
    return sorted(found, key=lambda file: [int(number) for number in re.findall(r"\d+", file.name)], reverse=True)


def libraries(root="/"):
    """The one that LIBCLANG_PATH names (a file or its directory), else those installed, and then a wheel's."""
    if own := os.environ.get("LIBCLANG_PATH"):
        yield from [Path(own)] if os.path.isfile(own) else among([glob.escape(own)])
        return
    yield from among(FOLDERS, root)
    yield from unpack_wheel(WHEEL, TARGET / "libclang").rglob("libclang*.so")


def environment(header, arguments, root="/"):
    """The variables that make bindgen load a libclang that can read the header. A libclang without headers of its own
    (stddef.h) takes the C compiler's."""
    asked = subprocess.run(["cc", "-print-file-name=include"], capture_output=True, text=True, check=True)
    complaints = ["there is no libclang where LIBCLANG_PATH says"]
    for library in libraries(root):
        for extra in ([], ["-isystem", asked.stdout.strip()]):
            if not (complaint := why_not(library, header, [*arguments, *extra])):
                own = shlex.split(os.environ.get("BINDGEN_EXTRA_CLANG_ARGS", ""))
                return {
                    "LIBCLANG_PATH": str(library),
                    "PGRX_BINDGEN_NO_DETECT_INCLUDES": "1",
                    "BINDGEN_EXTRA_CLANG_ARGS": shlex.join([*own, *extra]),
                }
            complaints.append(f"{library}: {complaint}")
    fail(f"libclang cannot read PostgreSQL's headers ({complaints[-1]})")


def why_not(library, header, arguments):
    """The first error of a libclang that reads a header; empty if there is none. In a process of its own: two versions
    of LLVM do not live in one."""
    command = [sys.executable, "-m", __name__, library, header, *arguments]
    tried = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if tried.returncode:
        return tried.stderr.strip().rpartition("\n")[2] or f"ended with {tried.returncode}"
    return tried.stdout.strip()


class String(ctypes.Structure):
    """CXString, which is passed by value."""

    _fields_ = [("data", ctypes.c_void_p), ("flags", ctypes.c_uint)]


def errors(library, header, *arguments):
    """The errors of reading a header, by libclang's C interface."""
    clang = ctypes.CDLL(library)
    pointer, number, text, strings = ctypes.c_void_p, ctypes.c_uint, ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p)
    interface = {
        "clang_createIndex": (pointer, [ctypes.c_int, ctypes.c_int]),
        "clang_parseTranslationUnit": (pointer, [pointer, text, strings, ctypes.c_int, pointer, number, number]),
        "clang_getNumDiagnostics": (number, [pointer]),
        "clang_getDiagnostic": (pointer, [pointer, number]),
        "clang_getDiagnosticSeverity": (number, [pointer]),
        "clang_getDiagnosticSpelling": (String, [pointer]),
        "clang_getCString": (text, [String]),
    }
    for name, (result, takes) in interface.items():
        getattr(clang, name).restype, getattr(clang, name).argtypes = result, takes
    index = clang.clang_createIndex(0, 0)
    encoded = (text * len(arguments))(*(argument.encode() for argument in arguments))
    unit = clang.clang_parseTranslationUnit(index, header.encode(), encoded, len(encoded), None, 0, 0)
    if not unit:
        return ["it does not parse"]
    said = [clang.clang_getDiagnostic(unit, n) for n in range(clang.clang_getNumDiagnostics(unit))]
    wrong = [clang.clang_getDiagnosticSpelling(one) for one in said if clang.clang_getDiagnosticSeverity(one) >= ERROR]
    return [clang.clang_getCString(one).decode() for one in wrong]


if __name__ == "__main__":
    print(*errors(*sys.argv[1:])[:1])
