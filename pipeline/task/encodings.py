"""Bytes -> text. Files are UTF-8, with a byte order mark or without; other encodings are named."""

from __future__ import annotations

import codecs

MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
LOOKED_AT = 1000  # bytes, to recognise UTF-16 without a mark by its zeros
LONGEST = 300  # characters of an outside message


def text_of(data: bytes) -> str:
    """Return the text of a file, without its byte order mark.

    Raises:
        ValueError: it is not UTF-8; the message names the encoding that it seems to have.
    """
    for mark, name in MARKS.items():
        if data.startswith(mark):
            raise ValueError(_refusal(f"it begins with the mark of {name}", name))
    head = data[:LOOKED_AT]
    for first in (0, 1):  # every second byte of Latin text in UTF-16 is zero
        if len(head) > 8 and head[first::2].count(0) > 0.8 * len(head[first::2]):
            raise ValueError(_refusal("every second byte is zero", "UTF-16LE" if first else "UTF-16BE"))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        fact = f"line {line} has the byte 0x{data[error.start]:02x}, as files in latin-1 (Windows-1252) have"
        raise ValueError(_refusal(fact, "WINDOWS-1252")) from error


def _refusal(fact: str, encoding: str) -> str:
    return f"it is not encoded in UTF-8: {fact}; convert it, such as by `iconv -f {encoding} -t UTF-8`"


def printable(message: str) -> str:
    """Return a message of a library on one line, without control characters, at most LONGEST characters of it."""
    line = "".join(each if each.isprintable() else " " for each in message)
    line = " ".join(line.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"
