#!/usr/bin/env python3
"""swarm.py DIR [SECTION]...: what swarm.sh says; DIR holds the binaries pkg and wan."""
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

import lab

ROUNDS = int(os.environ.get("ROUNDS", "5"))
DELAY = 0.025
RTT = 2 * DELAY


def contest(title, runs, pairs, rounds=ROUNDS):
    """Lets all runs take turns; pairs are (ours, theirs, goal or None): a ratio is of one round."""
    print(f"\n{title}", flush=True)
    took = {name: [] for name in runs}
    for i in range(rounds):
        order = list(runs) if i % 2 == 0 else list(reversed(runs))
        for name in order:
            took[name].append(runs[name]())
    for name, s in took.items():
        print(f"  {name:44} {1000 * statistics.median(s):8.0f} ms  ({1000 * min(s):.0f}-{1000 * max(s):.0f}, {len(s)})")
    for ours, theirs, goal in pairs:
        rs = [a / b for a, b in zip(took[ours], took[theirs])]
        verdict(f"{ours} / {theirs}", rs, goal)
    sys.stdout.flush()
    return took


def verdict(name, values, goal, least=False, unit=""):
    m = statistics.median(values)
    said = ""
    if goal is not None:
        met = m >= goal if least else m <= goal
        said = f"  goal {'>=' if least else '<='} {goal}{unit}: {'met' if met else 'MISSED'}"
    print(f"  = {name}: {m:.2f}{unit} ({min(values):.2f}-{max(values):.2f}, {len(values)}){said}")


def loopback(l):
    p, url = l.registry()
    runs, addrs = seeds_of_one(l, None, "127.0.0.1")
    peer = lambda which: [f"--peer={a}" for a in addrs[which]]
    run = lambda *flags: lambda: l.install("set", url, "--frozen", *flags)
    contest("200 packages on loopback", {
        "CARs over HTTP": lambda: l.cars("set", url),
        "peer, TCP": run("--mode=p2p", *peer("tcp")),
        "peer, QUIC": run("--mode=p2p", *peer("quic")),
        "peer, both addresses": run("--mode=p2p", *peer("both")),
        "auto: peer and registry": run("--mode=auto", *peer("both")),
        "registry alone": run("--mode=http"),
        "pkg version": l.version,
    }, [(n, "CARs over HTTP", 1.6) for n in ("peer, TCP", "peer, QUIC", "peer, both addresses", "auto: peer and registry")] + [("registry alone", "CARs over HTTP", None)])
    for q in [p, *runs]:
        lab.stop(q)


def seeds_of_one(l, space, ip, announce=None, name="one"):
    """One seed at TCP and QUIC; returns the processes and its addresses by transport."""
    p, lines = l.seed(name, announce, [f"/ip4/{ip}/tcp/0", f"/ip4/{ip}/udp/0/quic-v1"], space=space)
    lines = [a for a in lines if f"/ip4/{ip}/" in a]
    return [p], {"tcp": [a for a in lines if "/tcp/" in a], "quic": [a for a in lines if "/quic-v1" in a], "both": lines}


def bitswap(l):
    print("\nbitswap on loopback (Go benchmarks of fetch/bitswap)")
    out = subprocess.run([os.environ["GO"], "test", "-run", "^$", "-bench", "^Benchmark(TwoThousandFiles|LargeFile)$", "-benchtime", "5x",
                          "-count", str(ROUNDS), "./fetch/bitswap"], cwd=os.environ["ROOT"], capture_output=True, text=True, timeout=280)
    took = {}
    for name, side, ns in re.findall(r"Benchmark(\w+)/(\w+)\S*\s+\d+\s+([\d.]+) ns/op", out.stdout):
        took.setdefault(name, {}).setdefault(side, []).append(float(ns))
    if not took:
        raise SystemExit(out.stdout + out.stderr)
    for name, sides in took.items():
        for side in sorted(set(sides) - {"http"}):
            verdict(f"{name}: {side} / http", [a / b for a, b in zip(sides[side], sides["http"])], 4 if name == "TwoThousandFiles" else None)


class Far:
    """A registry and peers behind 50 ms."""

    def __init__(self, l, *ports):
        control = [f"-control={os.environ['CONTROL']}"] if os.environ.get("CONTROL") else []
        self.l, self.started = l, []
        p, self.at = l.wan(f"-delay={int(DELAY * 1000)}ms", *control, "client", *ports)
        self.started.append(p)
        p, self.url = l.registry(listen=f"{self.at['registry']}:7654", space="registry")
        self.started.append(p)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in reversed(self.started):
            lab.stop(p)

    def seed(self, name, announce=False):
        ps, addrs = seeds_of_one(self.l, name, self.at[name], self.url if announce else None, name)
        self.started += ps
        return addrs

    def install(self, project, *flags, home=None):
        return lambda: self.l.install(project, self.url, *flags, home=home, space="client")

    def cars(self, project, *flags):
        return lambda: self.l.cars(project, self.url, *flags, space="client")

    def wait_announced(self, project, count):
        """Waits until the registry's tracker names so many peers."""
        for _ in range(300):
            with lab.inside("client"):
                out = subprocess.run(["curl", "-sS", f"{self.url}/routing/v1/providers/{self.l.roots(project)[0]}"], capture_output=True, text=True).stdout
            if out.count('"ID"') >= count:
                return
            time.sleep(0.1)
        raise SystemExit(f"{count} seeds were not announced: {out}")


def whole_set(l):
    with Far(l, "registry", "peer1") as far:
        addrs = far.seed("peer1")
        runs = {"CARs one by one": far.cars("set"), "CARs, curl --parallel": far.cars("set", "--parallel", "--parallel-max", "8")}
        for t in ("tcp", "quic", "both"):
            runs[f"peer, {t}"] = far.install("set", "--frozen", "--mode=p2p", *(f"--peer={a}" for a in addrs[t]))
        runs["registry alone"] = far.install("set", "--frozen", "--mode=http")
        contest("200 packages at 50 ms", runs, [(f"peer, {t}", "CARs one by one", 0.7) for t in ("tcp", "quic", "both")]
                + [(n, "CARs, curl --parallel", None) for n in ("peer, tcp", "peer, quic", "registry alone")], rounds=min(ROUNDS, 3))


def cold(l):
    p, url = l.registry(copy=True)
    near, near_addrs = seeds_of_one(l, None, "127.0.0.1")
    with Far(l, "registry", "peer1") as far:
        addrs = far.seed("peer1")
        known = {}
        for where, at, space in (("near", url, None), ("far", far.url, "client")):
            known[where] = l.clone("small", at)
            with lab.inside(space):
                p2 = l.start(known[where])
                p2.communicate()
            known[where] = known[where] / "home"
        cases = {}
        for name, flags, h in (("empty home, --locked", ["--locked"], None), ("known registry, --locked", ["--locked"], known), ("--frozen", ["--frozen"], None)):
            cases[f"{name}, http"] = (flags + ["--mode=http"], None, h, 3.5)
            cases[f"{name}, auto, no peer"] = (flags + ["--mode=auto"], None, h, 3.5)
            for t in ("quic", "tcp"):
                cases[f"{name}, {t} peer"] = (flags + ["--mode=p2p"], t, h, 3.5 if t == "quic" else None)
        runs = {"pkg version": l.version}
        for name, (flags, t, h, _) in cases.items():
            runs[name + ", near"] = lambda flags=flags, t=t, h=h: l.install("small", url, *flags, *(f"--peer={a}" for a in (near_addrs[t] if t else [])), home=h and h["near"])
            runs[name] = lambda flags=flags, t=t, h=h: l.install("small", far.url, *flags, *(f"--peer={a}" for a in (addrs[t] if t else [])), home=h and h["far"], space="client")
        took = contest("a cold package of 20 KB at 50 ms", runs, [], rounds=max(ROUNDS, 5))
        for name, (_, _, _, goal) in cases.items():
            verdict(name, [(a - b) / RTT for a, b in zip(took[name], took[name + ", near"])], goal, unit=" RTT")
    for q in [p, *near]:
        lab.stop(q)


def alone(l):
    with Far(l, "registry") as far:
        for project, rounds in (("small", max(ROUNDS, 5)), ("large", min(ROUNDS, 3)), ("set", min(ROUNDS, 3))):
            contest(f"{project}, no peer has it, at 50 ms", {m: far.install(project, "--locked", f"--mode={m}") for m in ("auto", "http")},
                    [("auto", "http", 1.1)], rounds)


def four(l):
    names = [f"peer{i}" for i in range(1, 5)]
    with Far(l, "registry=10M", *(f"{n}=10M" for n in names)) as far:
        addrs = [far.seed(n) for n in names]
        for project in os.environ.get("PROJECTS", "set large").split():
            runs = {}
            for t in ("tcp", "quic"):
                for count in (1, 4):
                    runs[f"{count} by {t}"] = far.install(project, "--frozen", "--mode=p2p", *(f"--peer={a}" for at in addrs[:count] for a in at[t]))
            runs["4 and registry"] = far.install(project, "--frozen", "--mode=auto", *(f"--peer={a}" for at in addrs for a in at["both"]))
            runs["registry alone"] = far.install(project, "--frozen", "--mode=http")
            took = contest(f"{project} at 50 ms, 10 MB/s a peer", runs, [], rounds=min(ROUNDS, 3))
            for few, many in (("1 by tcp", "4 by tcp"), ("1 by quic", "4 by quic"), ("registry alone", "4 and registry")):
                verdict(f"{few} / {many}", [a / b for a, b in zip(took[few], took[many])], 2.5, least=True)


def sent(space):
    with lab.inside(space):
        for line in open("/proc/thread-self/net/dev"):
            if line.strip().startswith("wan0:"):
                return int(line.split(":")[1].split()[8])


def egress(l, clients=int(os.environ.get("CLIENTS", "50"))):
    names = [f"client{i}" for i in range(1, clients + 1)]  # of which each has its own line
    with Far(l, "registry", "peer1", *names) as far:
        far.seed("peer1", announce=True)
        far.wait_announced("large", 1)
        size = 50e6
        print(f"\n{clients} clients at once, one seed, 50 MB", flush=True)
        before, seed_before = sent("registry"), sent("peer1")
        runs = [l.clone("large", far.url) for _ in range(clients)]
        start = time.perf_counter()
        ps = []
        for r, name in zip(runs, names):
            with lab.inside(name):
                ps.append(l.start(r, "--locked", "--mode=auto"))
        outs = [p.communicate(timeout=900) for p in ps]
        took = time.perf_counter() - start
        for r in runs:
            shutil.rmtree(r)
        failed = [err[-300:] for p, (_, err) in zip(ps, outs) if p.returncode != 0]
        print(f"  {took:.1f} s, {len(failed)} failed {failed[:2] or ''}; the seed sent {(sent('peer1') - seed_before) / size:.1f} copies")
        verdict("copies the registry sent", [(sent("registry") - before) / size], 2)


SECTIONS = {"loopback": loopback, "bitswap": bitswap, "set": whole_set, "cold": cold, "alone": alone, "four": four, "egress": egress}
GROUPS = {"wan": ["set", "cold", "alone", "four"], "all": list(SECTIONS)}


def main():
    asked = [s for a in sys.argv[2:] or ["all"] for s in GROUPS.get(a, [a])]
    if wrong := [a for a in asked if a not in SECTIONS]:
        raise SystemExit(f"swarm.sh: {wrong[0]}: sections are {', '.join([*SECTIONS, *GROUPS])}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with lab.Lab(sys.argv[1]) as l:
        l.prepare()
        for a in asked:
            if a not in ("loopback", "bitswap") and (why := lab.why_no_wan()):
                print(f"\n{a}: skipped: {why}")
                continue
            SECTIONS[a](l)


if __name__ == "__main__":
    main()
