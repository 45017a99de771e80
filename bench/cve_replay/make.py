"""The first half: for each fix the program before it, and the live patch of it."""
import json
import os
import shutil
import subprocess
import time

from .source import apply_patch, copy_tree


def say(text):
    print(f"cve-replay: {text}", flush=True)


def make_live_patch(tool, tree, target, diff, out, command, cache, ident):
    """One `livepatch build`; what it answered, and how long it took."""
    args = [tool, "build", "-C", tree, "-o", out, "--id", ident, "--build", command, "--cache", cache, "--target", target,
            "--json", diff]
    begin = time.monotonic()
    run = subprocess.run(args, capture_output=True, text=True)
    seconds = time.monotonic() - begin
    try:
        answer = json.loads(run.stdout)
    except ValueError:
        answer = {"error": {"message": run.stderr.strip() or f"ended with status {run.returncode}"}}
    return {"status": run.returncode, "seconds": round(seconds, 2), "answer": answer}


class Maker:
    """Walks through the series; keeps a tree that is only source and one that is built."""

    def __init__(self, package, work, tool, profile):
        self.package, self.work, self.tool, self.profile = package, work, tool, profile
        self.clean, self.built = work / "source", work / "built"
        self.cache = work / "cache"
        self.cache.mkdir(mode=0o700, exist_ok=True)
        self.stale = True  # the built tree has to start again from source

    def step(self, path):
        apply_patch(self.clean, path)
        files = path.read_text(errors="replace")
        if self.stale or self.profile.needs_clean_build(files):
            self.stale = True
        else:
            apply_patch(self.built, path)

    def build(self):
        """The program before the fix, made by the package's own build without any wrapper of ours."""
        whole = self.stale
        if whole:
            copy_tree(self.clean, self.built)
        begin = time.monotonic()
        with open(self.work / "build.log", "w") as log:
            run = subprocess.run(["sh", "-c", self.profile.BUILD], cwd=self.built, stdout=log, stderr=subprocess.STDOUT,
                                 stdin=subprocess.DEVNULL)
        if run.returncode:
            raise SystemExit(f"cve-replay: the build failed; see {self.work / 'build.log'}")
        self.stale = False
        return {"seconds": round(time.monotonic() - begin, 2), "whole": whole}

    def replay(self, fix, adapted):
        """Everything that the second half needs, in a directory of its own."""
        place = self.work / f"{fix.number:02}"
        record = {"before": self.build(), "load": round(os.getloadavg()[0], 1)}
        place.mkdir(exist_ok=True)
        for file in self.profile.KEEP:
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.built / file, place / file)
        target = place / self.profile.TARGET
        tests = place / "tests"
        shutil.rmtree(tests, ignore_errors=True)

        def made(diff, name):
            out = place / f"{name}.kpatch"
            out.unlink(missing_ok=True)
            return make_live_patch(self.tool, self.clean, target, diff, out, self.profile.BUILD, self.cache,
                                   (fix.cves or [fix.name])[0])

        record["cold"] = made(fix.path, "fix")
        record["warm"] = made(fix.path, "fix")
        if adapted:
            record["adapted"] = {"diff": adapted.name, **made(adapted, "adapted")}
        (place / "build.json").write_text(json.dumps(record, indent=1) + "\n")
        return record

    def keep_tests(self, fix):
        """The tree's tests as they are with the fix."""
        place = self.work / f"{fix.number:02}"
        for file in self.profile.TESTS:
            source = self.clean / file
            if source.is_dir():
                shutil.copytree(source, place / file, dirs_exist_ok=True, symlinks=True)
            else:
                shutil.copy2(source, place / file)


def outcome(record):
    """One word and one sentence for what became of a live patch."""
    answer = record["answer"]
    patches = answer.get("patches", [])
    if record["status"] == 0:
        functions = sum(len(changed_functions(p)) for p in patches)
        return ("made", f"{functions} functions") if functions else ("no change", "the built programs stay the same")
    error = answer.get("error") or {}
    return "refused", error.get("message") or json.dumps(answer)[:300]


def changed_functions(patch):
    return [c["name"] for c in patch.get("changes", []) if c.get("kind") == "function-changed"]


def make_all(package, work, tool, profile, wanted, adapted):
    maker = Maker(package, work, tool, profile)
    copy_tree(package.pristine, maker.clean)
    last = max(wanted)
    for path, fix in package.steps():
        if fix and fix.number in wanted:
            say(f"{fix.number:02} {fix.name}: building")
            record = maker.replay(fix, adapted.get(fix.number))
            kind, sentence = outcome(record["warm"])
            say(f"{fix.number:02} {kind}: {sentence}; {record['cold']['seconds']} s, with a warm cache "
                f"{record['warm']['seconds']} s (program: {record['before']['seconds']} s)")
            if "adapted" in record:
                say(f"{fix.number:02} adapted: {' '.join(outcome(record['adapted']))}")
        maker.step(path)
        if fix and fix.number in wanted:
            maker.keep_tests(fix)
        if fix and fix.number == last:
            break
