"""What came of a replay: one table for people, one JSON file for programs."""
import datetime
import json
import os
import platform
import statistics
import subprocess

from .make import changed_functions, outcome


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    compiler = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return {"kernel": platform.release(), "cpu": model, "cpus": os.cpu_count(), "compiler": compiler}


def read(path):
    return json.loads(path.read_text()) if path.exists() else None


def refusals_of(made):
    return [r for patch in made["answer"].get("patches", []) for r in patch.get("refusals", [])]


def in_short(made):
    """What a live patch is made of, and what it took; the paths of this run's working directory interest nobody."""
    answer = made["answer"]
    result = {"status": made["status"], "seconds": made["seconds"], "cached": answer.get("cached"),
              "stages": answer.get("seconds")}
    if made["status"] == 0:
        result["patches"] = [{k: v for k, v in p.items() if k not in ("target", "path")} for p in answer.get("patches", [])]
    return result


def entry(fix, work):
    """All that is known of one fix, or None when it was not replayed."""
    place = work / f"{fix.number:02}"
    built, live = read(place / "build.json"), read(place / "live.json")
    if not built:
        return None
    kind, sentence = outcome(built["warm"])
    result = {"number": fix.number, "patch": fix.name, "cves": fix.cves, "sources": fix.sources, "outcome": kind,
              "sentence": sentence, "load": built["load"], "program_build": built["before"],
              "cold": {k: v for k, v in in_short(built["cold"]).items() if k != "patches"}, "warm": in_short(built["warm"])}
    if kind == "refused":
        result["refusals"] = refusals_of(built["warm"])
    if "adapted" in built:
        result["adapted"] = {**in_short(built["adapted"]), "outcome": outcome(built["adapted"])[0]}
    if live:
        result["live"] = live
    return result


def median_us(pauses):
    return round(statistics.median(pauses) / 1000)


def made_cell(e):
    if e["outcome"] == "made":
        return "yes"
    if e["outcome"] == "no change":
        return "changes no program of this build"
    if e.get("adapted", {}).get("outcome") == "made":
        return "refused; adapted by hand: yes"
    return "refused"


def seen(live, key, tests):
    results = [r for n, r in live.get(key, {}).items() if n in tests]
    if not results:
        return "-"
    good = sum(r == "ok" for r in results)
    if good == len(results):
        return f"{good} pass"
    crashed = " (crash)" if any(r == "crashed" for r in results) else ""
    return f"{len(results) - good} of {len(results)} fail{crashed}"


def row(e):
    live = e.get("live") or {}
    names = set(live.get("before", {}))
    functions = live.get("functions") or [f for p in e["warm"].get("patches", []) for f in changed_functions(p)]
    cells = [str(e["number"]), ", ".join(e["cves"]) or e["patch"], made_cell(e), str(len(functions) or "-"),
             f"{e['cold']['seconds']:.0f}", f"{e['warm']['seconds']:.1f}" if e["warm"]["cached"] else "-"]
    if live and "trouble" not in live:
        pauses = live["pauses_ns"]
        marks = "" if live["tells_old_from_new"] else " *"
        cells += [seen(live, "before", names) + marks, seen(live, "after", names), seen(live, "reverted", names),
                  f"{live['requests']}", str(live["failed_requests"]), f"{median_us(pauses)} / {round(max(pauses) / 1000)}"]
    else:
        cells += ["-"] * 6
    cells.append(live.get("verdict", "-"))
    return "| " + " | ".join(cells) + " |"


HEAD = ("| # | fix | live patch | functions | s, cold | s, warm | before | patched | reverted | requests | failed "
        "| pause, µs: median / most | verdict |")


def notes(entries, known):
    """What the table has no room for."""
    lines = []
    for e in entries:
        live = e.get("live") or {}
        lines += [f"- {e['number']}: {known[c]}" for c in e["cves"] if c in known]
        for refusal in e.get("refusals", []):
            lines.append(f"- {e['number']}: `livepatch build` refuses: `{refusal['code']}`: {refusal['sentence']}; "
                         f"{refusal['remedy']}")
        if e["outcome"] == "refused" and not e["refusals"]:
            lines.append(f"- {e['number']}: {e['sentence']}")
        for reason in live.get("wrong", []):
            lines.append(f"- {e['number']}: {reason}")
        for reason in sorted(set(live.get("refused_rounds", []))):
            lines.append(f"- {e['number']}: a round of apply or revert was refused: {reason}")
        for reason in dict.fromkeys(live.get("not_run", {}).values()):
            names = [n for n, why in live["not_run"].items() if why == reason]
            lines.append(f"- {e['number']}: not run, {reason}: {'; '.join(names)}")
    return lines


def count(entries, test):
    return sum(bool(test(e)) for e in entries)


def summary(entries):
    changing = [e for e in entries if e["outcome"] != "no change"]
    passed = count(changing, lambda e: (e.get("live") or {}).get("verdict") == "passed")
    by_hand = count(changing, lambda e: (e.get("live") or {}).get("patch") == "adapted" and e["live"]["verdict"] == "passed")
    failed = sum((e.get("live") or {}).get("failed_requests", 0) for e in entries)
    requests = sum((e.get("live") or {}).get("requests", 0) for e in entries)
    pauses = [p for e in entries for p in (e.get("live") or {}).get("pauses_ns", [])]
    text = (f"{len(entries)} security patches, {len(changing)} of which change a program of this build: {passed} applied, "
            f"tested and reverted on a live server")
    if by_hand:
        text += f" ({by_hand} of them adapted by hand)"
    text += f"; {failed} of {requests} requests failed"
    if pauses:
        ordered = sorted(pauses)
        text += (f"; pause {median_us(pauses)} µs (median of {len(pauses)}; 90th percentile "
                 f"{round(ordered[int(len(ordered) * .9)] / 1000)}, most {round(ordered[-1] / 1000)})")
    return text + "."


LEGEND = """before, patched, reverted: the tests that the fix brings (and our probes), against a server of the unpatched program, the same
program live-patched, and after the revert; `*`: the old and the new code cannot be told apart without an exploit, so the test
only runs the code.  functions: replaced in the program.  s: `livepatch build` with nothing kept from before, and with the original
kept (the whole build of the program itself takes {whole:.0f} s).  requests: served by the server while it was patched, reverted, and
patched and reverted {rounds} times more.  failed: wrong or error replies, and lost connections."""


def write(package, work, out, profile, rounds):
    entries = [e for e in (entry(f, work) for f in package.fixes) if e]
    wholes = [e["program_build"]["seconds"] for e in entries if e["program_build"]["whole"]]
    loads = [e["load"] for e in entries]
    about = {"package": profile.PACKAGE, "version": package.version, "build": profile.BUILD,
             "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"), "machine": machine()}
    out.mkdir(parents=True, exist_ok=True)
    name = f"cve-replay-{profile.PACKAGE}"
    (out / f"{name}.json").write_text(json.dumps({**about, "summary": summary(entries), "fixes": entries}, indent=1) + "\n")
    m = about["machine"]
    lines = [f"# The security fixes of {about['package']} {about['version']} as live patches", "", summary(entries), "",
             HEAD, "|" + " --- |" * (HEAD.count("|") - 1), *map(row, entries), "",
             LEGEND.format(whole=statistics.median(wholes) if wholes else 0, rounds=rounds), "", *notes(entries, profile.NOTES), "",
             f"Made with `bench/cve-replay`, {about['date']}; `{about['build']}`; {m['compiler']}; Linux {m['kernel']}, "
             f"{m['cpus']} CPUs ({m['cpu']}), load average {min(loads):.0f} to {max(loads):.0f} when the builds began"
             + (": other work kept the machine busy, and all times are larger than they had to be." if min(loads) > m["cpus"]
                else ".")]
    (out / f"{name}.md").write_text("\n".join(lines) + "\n")
    return "\n".join(lines)
