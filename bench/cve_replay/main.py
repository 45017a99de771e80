"""The replay, from the command line."""
import argparse
from pathlib import Path

from . import make, redis
from .source import Package

DESCRIPTION = """For each security patch of the package's series: build the program before it, make a live patch of the diff."""


def numbers(text):
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def arguments():
    parser = argparse.ArgumentParser(description=DESCRIPTION)
    parser.add_argument("--work", type=Path, required=True, help="directory for the sources, builds and patches")
    parser.add_argument("--only", type=numbers, action="append", help="the Nth security patches (N or N-M)")
    parser.add_argument("--stage", choices=("make", "live", "all"), default="all")
    parser.add_argument("build", type=Path)
    return parser.parse_args()


def main():
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    work = options.work.resolve()
    tool = (options.build / "src" / "tool" / "livepatch").resolve()
    package = Package(work, redis.PACKAGE)
    wanted = {n for r in options.only for n in r} if options.only else {f.number for f in package.fixes}
    adapted = {int(p.name[:2]): p for p in sorted(redis.ADAPTED.glob("*.diff"))}
    if options.stage in ("make", "all"):
        make.make_all(package, work, tool, redis, wanted, adapted)
