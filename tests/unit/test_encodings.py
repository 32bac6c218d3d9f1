"""Text files are UTF-8 in every locale: every call that opens one says so."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "service").rglob("*.py"), *(ROOT / "training").rglob("*.py")])


def unsaid(call: ast.Call) -> bool:
    """Whether a call opens a text file and leaves the encoding to the locale."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    named = {keyword.arg for keyword in call.keywords}
    if "encoding" in named or None in named:
        return False
    if name == "read_text":
        return not call.args
    if name == "write_text":
        return len(call.args) < 2
    if name == "open":
        owner = getattr(getattr(call.func, "value", None), "id", "")
        modes = [a.value for a in call.args if isinstance(a, ast.Constant)]
        return owner.lower() in ("", "path", "file") and any(
            isinstance(m, str) and m in ("r", "w", "a", "x", "r+", "w+") for m in modes
        )
    return False


def test_no_text_file_is_opened_in_the_encoding_of_the_locale() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and unsaid(node)
    ]
    assert found == []


def test_the_check_can_fail() -> None:
    for source in ("p.write_text(x)", "p.read_text()", "open(p, 'w')", "(a / b).open('w')"):
        (call,) = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call))
        assert unsaid(call), source
    for source in ("p.write_text(x, 'utf-8')", "open(p, 'rb')", "p.read_text(encoding='utf-8')"):
        (call,) = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call))
        assert not unsaid(call), source
