"""The second half: the unpatched server, its tests and its load, the patch applied and reverted."""
import json
import subprocess

from .make import changed_functions, outcome, say
from .server import Load, Trouble, open_tests_to_live_servers, run_tests

ROUNDS = 10  # of apply and revert under load, after the ones that the tests look at


class Tool:
    """livepatch on one server."""

    def __init__(self, path, pid):
        self.path, self.pid = path, str(pid)

    def run(self, verb, *args):
        run = subprocess.run([self.path, verb, "-p", self.pid, "--json", *args], capture_output=True, text=True,
                             stdin=subprocess.DEVNULL)
        try:
            answer = json.loads(run.stdout)
        except ValueError:
            answer = {"ok": False, "error": {"message": run.stderr.strip()}}
        if run.returncode:
            error = answer.get("error") or {}
            raise Trouble(f"{verb}: {error.get('code', run.returncode)}: {error.get('message', run.stderr)}")
        return answer


class Behaviour:
    """What the tests that the fix brings, and the probe, say of a server."""

    def __init__(self, place, profile, fix):
        self.place, self.profile = place, profile
        self.tests, self.not_run = profile.runnable(fix)
        self.probe, self.tells = profile.probe_of(fix) or (None, False)
        if self.tests:
            open_tests_to_live_servers(place, {t.unit for t in self.tests} & set(profile.OPENED))

    def alone(self, program, fix):
        """Each test, and the probe, with a fresh server of a program: one that crashes does not spoil the next."""
        seen, tests = {}, self.tests
        for test in tests:
            with self.profile.start(program, fix) as server:
                seen.update(run_tests(self.place, server, [test]))
        if self.probe:
            with self.profile.start(program, fix) as server:
                seen.update(self.probed(server))
        return seen

    def of(self, server):
        """All of them with one server."""
        return {**run_tests(self.place, server, self.tests), **self.probed(server)}

    def leave_out(self, names, why):
        self.not_run.update({n: why for n in names})
        self.tests = [t for t in self.tests if t.name not in names]

    def probed(self, server):
        seen = {}
        if self.probe:
            name = f"probe: {self.probe.__name__.replace('_', ' ')}"
            try:
                seen[name] = "ok" if server.alive() and self.probe(server) else "failed"
            except (OSError, AssertionError, Trouble) as what:
                seen[name] = f"failed ({what})" if server.alive() else "crashed"
        return seen


def under_load(server, place, action, requests=20000):
    """(what the action answered, requests served, requests failed) with the load before, during and after it."""
    load = Load(server, place / "src" / "redis-benchmark")
    try:
        answer = action()
        load.more(requests)
        served, failed = load.stop()
    finally:
        load.kill()
    return answer, served, failed


def rounds(tool, patch, count):
    """Pauses of alternating applies and reverts."""
    pauses, refused = [], []
    for _ in range(count):
        for verb, args in (("apply", [patch]), ("revert", ["--all"])):
            try:
                pauses.append(tool.run(verb, *args)["pause_ns"])
            except Trouble as trouble:
                refused.append(str(trouble))
                if verb == "revert":
                    tool.run("revert", "--all")
    return pauses, refused


def play(place, profile, fix, tool_path, patch, record):
    behaviour = Behaviour(place, profile, fix)
    record["not_run"] = behaviour.not_run
    record["tells_old_from_new"] = bool(behaviour.tests) or behaviour.tells
    program = place / profile.TARGET
    rebuilt = place.parent / f"{fix.number + 1:02}" / profile.TARGET
    if rebuilt.exists():
        record["rebuilt"] = behaviour.alone(rebuilt, fix)
        behaviour.leave_out([n for n, r in record["rebuilt"].items() if r != "ok"],
                            "fails also with the program rebuilt with the fix")
        record["tells_old_from_new"] = bool(behaviour.tests) or behaviour.tells
    record["before"] = behaviour.alone(program, fix)
    with profile.start(program, fix) as server:
        tool = Tool(tool_path, server.pid)
        record["apply"], record["requests"], record["failed_requests"] = under_load(
            server, place, lambda: tool.run("apply", patch))
        record["after"] = behaviour.of(server)
        if not server.alive():
            raise Trouble(f"the patched server died: {server.text()[-600:]}")

        def back_and_forth():
            answer = tool.run("revert", "--all")
            return (answer, *rounds(tool, patch, ROUNDS))

        (record["revert"], pauses, refused), served, failed = under_load(server, place, back_and_forth)
        record["requests"] += served
        record["failed_requests"] += failed
        record["pauses_ns"] = [record["apply"]["pause_ns"], record["revert"]["pause_ns"], *pauses]
        record["refused_rounds"] = refused
        record["left"] = [p for p in tool.run("list")["patches"] if p["state"] == "applied"]
        profile.after_revert(server, fix)
        record["reverted"] = behaviour.of(server)


def unlike_before(before, reverted):
    """What the server that was patched and reverted does unlike one that never was."""
    crashed = "crashed" in reverted.values()  # what came after the crash says nothing
    return [f"{n}: {reverted[n]} after the revert, {r} before" for n, r in before.items()
            if (r == "ok") != (reverted[n] == "ok") and not (crashed and r == "ok")]


def verdict(record):
    """(word, reasons) for one fix whose patch was made."""
    wrong = []
    if record.get("trouble"):
        wrong.append(record["trouble"])
    else:
        wrong += [f"{n}: {r} with the patch" for n, r in record["after"].items() if r != "ok"]
        if record["failed_requests"]:
            wrong.append(f"{record['failed_requests']} failed requests")
        if record["left"]:
            wrong.append("patches left after the revert")
        if record["tells_old_from_new"]:
            if all(r == "ok" for r in record["before"].values()):
                wrong.append("the unpatched server passes, too")
            wrong += unlike_before(record["before"], record["reverted"])
    return ("failed", wrong) if wrong else ("passed", [])


def play_one(fix, work, tool, profile):
    """Plays what was made of a fix and writes live.json; None when there is nothing to play."""
    place = work / f"{fix.number:02}"
    built = json.loads((place / "build.json").read_text())
    which = "adapted" if outcome(built["warm"])[0] == "refused" and "adapted" in built else "fix"
    made = built["adapted" if which == "adapted" else "warm"]
    if outcome(made)[0] != "made":
        (place / "live.json").unlink(missing_ok=True)
        return None
    patch = place / f"{which}.kpatch"
    record = {"patch": which, "functions": [f for p in made["answer"]["patches"] for f in changed_functions(p)]}
    try:
        play(place, profile, fix, tool, patch, record)
    except (Trouble, OSError, AssertionError, subprocess.SubprocessError) as trouble:
        record["trouble"] = f"{type(trouble).__name__}: {trouble}"
    record["verdict"], record["wrong"] = verdict(record)
    (place / "live.json").write_text(json.dumps(record, indent=1) + "\n")
    say(f"{fix.number:02} {fix.name}: {record['verdict']} {'; '.join(record['wrong'])}")
    return record


def play_all(package, work, tool, profile, wanted):
    for fix in package.fixes:
        if fix.number in wanted and (work / f"{fix.number:02}" / "build.json").exists():
            play_one(fix, work, tool, profile)
