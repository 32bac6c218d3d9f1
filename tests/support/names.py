"""Names as hypothesis draws them: any bytes of a file name, any text of a class name."""

import os

from hypothesis import strategies as st

NASTY = (
    "a|b", "`tick`", "``", "<img src=x onerror=alert(1)>", "[/red]", "[link](x)", ":smile:",
    "$\\a$", "a\nb", "\r", "\t", "\x1b]0;owned\x07", "\x1b[2J", "\x9b31m", "\u202egpj",
    "Zu\u0308rich", " x ", "&amp;", "\\|", "**b**", "_i_", "~~s~~", "#", "- x", '"', "'", "=1+1",
    "\x00", "\ud800", "|", "é",
)  # fmt: skip
file_names = st.binary(min_size=1, max_size=40).map(
    lambda data: os.fsdecode(data.replace(b"/", b"_").replace(b"\0", b"_"))
)
"""What `os.listdir` may give in a UTF-8 locale: odd bytes are lone surrogates."""
any_names = st.one_of(
    st.sampled_from(NASTY),
    file_names,
    st.text(st.characters(codec=None, exclude_categories=()), min_size=1, max_size=40),
    st.lists(st.sampled_from(NASTY), min_size=2, max_size=4).map("".join),
)
"""Any text at all, lone surrogates among it."""
