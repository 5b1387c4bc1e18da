"""How the tests are laid out: by folders, with what they share in helpers."""

import ast

import pytest

from ..lab import places
from .parallel import unit_of

pytestmark = pytest.mark.fast

TESTS = places.ROOT / "pg_test"


def imports_of_tests(file):
    """The names in test modules and conftest files that a module imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                name = f"{getattr(node, 'module', None) or ''}.{alias.name}"
                if any(part.startswith("test_") or part == "conftest" for part in name.split(".")):
                    yield name


def test_no_test_imports_another():
    found = {str(file.relative_to(TESTS)): list(imports_of_tests(file)) for file in TESTS.rglob("*.py")}
    assert len(found) > 50 and not {file: names for file, names in found.items() if names}


def test_every_test_lies_in_a_folder():
    assert list(TESTS.glob("test_*.py")) == []


def test_imports_are_found(tmp_path):
    (tmp_path / "t.py").write_text(
        "import a.test_b\ndef f():\n    from ..export.test_c import d as e\n    from . "
        "import test_g, h\n    from ..conftest import i\n"
    )
    assert list(imports_of_tests(tmp_path / "t.py")) == [".a.test_b", "export.test_c.d", ".test_g", "conftest.i"]


def test_what_a_worker_takes_at_a_time():
    one, other = "pg_test/sql/test_docs.py::test_types[pg18]", "pg_test/sql/test_docs.py::test_statements[pg18-README]"
    assert unit_of(one) == unit_of(other) != unit_of(one.replace("18", "15"))
    assert unit_of(one) != unit_of(one.replace("docs", "errors")) and unit_of(one) != unit_of(
        "pg_test/sql/test_docs.py::test_links[README]"
    )
