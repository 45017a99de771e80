"""What the replay has to know of redis."""
from pathlib import Path

PACKAGE = "redis"
BUILD = "make -j2 MALLOC=libc"
TARGET = "src/redis-server"
KEEP = ("src/redis-server", "src/redis-benchmark", "src/redis-cli")
TESTS = ("tests", "runtest", "redis.conf", "sentinel.conf")
ADAPTED = Path(__file__).resolve().parent / "adapted"


def needs_clean_build(diff):
    """redis's makefiles build the libraries below deps once and do not look at them again."""
    return "+++ b/deps/" in diff or "/deps/lua/src/" in diff
