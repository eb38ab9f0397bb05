"""Text files as users have them: UTF-8 with or without a mark, UTF-16, GBK."""

from __future__ import annotations

import codecs

from ...errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode_text(content: bytes, name: str) -> str:
    """The text in ``content``, of whatever encoding annotation tools on Windows and Linux write.

    A byte-order mark decides; else UTF-8; else UTF-16 where every other byte is zero; else GBK
    (as GB 18030), the usual encoding of Chinese Windows.

    Raises:
        DataError: it is none of these; ``name`` is for this message.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _decode(content, encoding, name)
    sample = content[:4096]
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(sample) >= 4 and sample[start::2].count(0) > len(sample) // 5:
            return _decode(content, encoding, name)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return _decode(content, "gb18030", name)


def _decode(content: bytes, encoding: str, name: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise DataError(
            f"{name} is text of an unknown encoding, neither UTF-8, UTF-16 nor GBK: "
            "save it as UTF-8"
        ) from None


def read_lines(content: bytes, name: str) -> list[str]:
    """The lines of a text file that are not blank, stripped; see :func:`decode_text`."""
    return [line.strip() for line in decode_text(content, name).splitlines() if line.strip()]
