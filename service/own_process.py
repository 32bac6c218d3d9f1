"""Start a module of Quincunx in a Python process of its own, with the libraries of this one."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[1])


def command(module: str, *arguments: object) -> list[str]:
    """The command line that calls `main()` of `module`, which finds `arguments` in `sys.argv`.

    The caller's own script is not imported, as `multiprocessing` would do.
    """
    program = f"""
import sys
if {ROOT!r} not in sys.path:  # a checkout that is not installed
    sys.path.insert(0, {ROOT!r})
from {module} import main
main()
"""
    # -P: no module is imported from the current folder.
    return [sys.executable, "-P", "-c", program, *map(str, arguments)]
