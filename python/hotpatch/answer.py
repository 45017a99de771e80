"""An answer, of an agent or of the command in C.

    {"ok": true, "data": [ROW, ...]}
    {"ok": false, "error": {"code": ..., "message": ..., "details": [...]}}

Whoever answers may say anything; what is no answer is a ValueError here, whatever is wrong with it.
"""
import json

from . import text
from .errors import refusal

NUMBER_MAX = 64  # digits: longer ones only cost time


def _integer(digits):
    if len(digits) > NUMBER_MAX:
        raise ValueError("a number has no end")
    return int(digits)


def _no_number(name):
    raise ValueError(f"{name} is no number")


def parse(line):
    """One JSON object."""
    try:
        found = json.loads(line, parse_int=_integer, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested without end") from None
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    return found


def _is_row(row, kind):
    """Members are plain values, so that nobody who looks at one meets a structure."""
    return isinstance(row, kind) and not (isinstance(row, dict) and any(isinstance(v, (dict, list)) for v in row.values()))


def _sentence(error):
    """Its code, and what it says in one or more lines."""
    if not isinstance(error, dict):
        raise ValueError("its error is none")
    code, message, details = error.get("code"), error.get("message"), error.get("details", [])
    if not isinstance(details, list) or not all(isinstance(word, str) for word in (code, message, *details)):
        raise ValueError("its error is none")
    return text.line(code), text.clean("\n".join([message, *details]))


def read(found, kind):
    """The rows of what parse() gave, all of a kind (dict, str), and None; or None, and the refusal that it is."""
    if found.get("ok") is not True:
        return None, refusal(*_sentence(found.get("error")))
    rows = found.get("data", [])
    if not isinstance(rows, list) or not all(_is_row(row, kind) for row in rows):
        raise ValueError("its rows are none")
    return rows, None
