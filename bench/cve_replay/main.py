"""The replay, from the command line."""
import argparse
import sys
from pathlib import Path

from . import live, make, redis, report
from .source import Package

DESCRIPTION = """Replay the security fixes of a Debian source package as live patches of a server under load.

For each security patch of the package's series, in order:

  make  build the program as it was before the patch, with the package's own build; have `livepatch build` make a live patch
        of the diff for that very program, once with nothing kept, once with the original kept
  live  run the regression tests that the fix brings against a server of the unpatched program; start another one, put load
        on it, apply the live patch, run the tests again, revert and re-apply it a few times under load, run the tests
        after the last revert

A fix that cannot be applied to a process may have an adapted form in bench/cve_replay/adapted, which is made and used when
`livepatch build` refuses the original.  The result is a table and a JSON file in --out.
"""


def numbers(text):
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def arguments():
    parser = argparse.ArgumentParser(prog="cve-replay", description=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True,
                        help="directory for sources, builds and patches; what is there is used again")
    parser.add_argument("--only", type=numbers, action="append", metavar="N[-M]", help="only these of the security patches")
    parser.add_argument("--stage", choices=("make", "live", "report", "all"), default="all", help="only this half")
    parser.add_argument("--out", type=Path, help="directory for the table and the JSON file")
    parser.add_argument("build", type=Path, help="Meson build directory of livepatch")
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
    if options.stage in ("live", "all"):
        live.play_all(package, work, tool, redis, wanted)
    if options.out:
        print(report.write(package, work, options.out, redis, live.ROUNDS))
    sys.exit(0)
