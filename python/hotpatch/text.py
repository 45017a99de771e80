"""Other people's text.  A name or an answer may hold what a terminal would act on; on its way there it is written as escapes."""
import re

_UNSHOWN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def _escape(found):
    """Half of a pair of UTF-16 may stand for a byte that is not UTF-8."""
    code = ord(found[0])
    if code >= 0xD800 and not 0xDC80 <= code <= 0xDCFF:
        return f"\\u{code:04x}"
    return "".join(f"\\x{byte:02x}" for byte in found[0].encode("utf-8", "surrogateescape"))


def clean(text):
    """As it can be printed; its lines stay lines."""
    return _UNSHOWN.sub(_escape, text)


def line(text):
    """The same on one line."""
    return clean(text).replace("\n", "\\n").replace("\t", "\\t")
