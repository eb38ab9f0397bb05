"""XML from anywhere, read without entities (defusedxml)."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ...errors import DataError

MAX_BYTES = 4_000_000  # ten thousand boxes of one image; more is a mistake


def parse_xml(content: bytes, max_bytes: int = MAX_BYTES) -> Element:
    """The root of an annotation of unknown origin.

    Raises:
        DataError: no XML, too large, or with a document type: annotations need none, and entities
            in one grow without bound or read files.
    """
    if len(content) > max_bytes:
        raise DataError(f"{len(content)} bytes of xml, more than {max_bytes}")
    try:
        return fromstring(content, forbid_dtd=True)
    except DefusedXmlException:
        raise DataError("has a document type, which annotations do not need") from None
    except (ParseError, LookupError, ValueError) as error:
        raise DataError(f"not readable as xml: {error}") from None


def text_of(entry: Element, path: str) -> str:
    """The text at ``path``.

    Raises:
        DataError: it is empty or missing.
    """
    text = (entry.findtext(path) or "").strip()
    if not text:
        raise DataError(f"an object without {path}")
    return text
