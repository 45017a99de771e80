"""hotpatch -p PID COMMAND...: the command line of the client in Python."""
import argparse
import json
import os
import sys

from . import __version__, client, places
from .errors import HotpatchError

USAGE = 2

EPILOG = """commands:
  gflags list | get NAME | set [--unsafe] NAME VALUE
  var list | get TYPE NAME | set [--unsafe] TYPE NAME VALUE
  lib list | load NAME PATH | unload NAME
  func list | upgrade LIBRARY FUNCTION [SYMBOL] | rollback FUNCTION [LEVEL] | status [FUNCTION]
  help | version | stats
several at once, all or none:  gflags set v 2 ';' var set int age 20

exit status: 0 done, 1 refused with nothing changed, 2 wrong use, 3 no such process, or no agent in it"""


def _parser():
    parser = argparse.ArgumentParser(prog="hotpatch", description="Ask the agent in a running process.", epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-p", "--pid", type=int, help="the process")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument("--timeout", type=float, default=client.TIMEOUT, metavar="SECONDS", help="how long to wait for an answer")
    parser.add_argument("--version", action="version", version=f"hotpatch {__version__}")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to ask; ps: list processes")
    return parser


def _words(command):
    """A path that exists here is meant to be this one, wherever the process stands."""
    words = list(command)
    for i in range(len(words) - 3):
        if words[i:i + 2] == ["lib", "load"] and os.path.exists(words[i + 3]):
            words[i + 3] = os.path.abspath(words[i + 3])
    return words


def _show(rows, as_json):
    if as_json:
        print(json.dumps({"ok": True, "data": rows}, ensure_ascii=False))
        return
    for row in rows:
        print(row)


def _processes(as_json):
    if as_json:
        return [{"pid": pid, "name": places.name(pid)} for pid in client.processes()]
    return [f"{pid:7} {places.name(pid)}" for pid in client.processes()]


def _fail(error, as_json):
    if as_json:
        print(json.dumps({"ok": False, "error": {"code": error.code, "message": str(error)}}, ensure_ascii=False))
    else:
        print(f"hotpatch: {error}", file=sys.stderr)
    return error.exit_code


def main(argv=None):
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        if args.command == ["ps"]:
            _show(_processes(args.json), args.json)
            return 0
        if args.pid is None or not args.command:
            parser.print_usage(sys.stderr)
            return USAGE
        with client.connect(args.pid, args.timeout) as process:
            ask = process.run if args.json else process.lines
            _show(ask(*_words(args.command)), args.json)
    except HotpatchError as error:
        return _fail(error, args.json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0
