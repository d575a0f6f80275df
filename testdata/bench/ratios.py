#!/usr/bin/env python3
"""ratios.py DIR: prints how our resolver compares with its peers.

DIR holds, for every pair of runs of resolve.sh, N.ours (the output of go test
-bench) and N.peer (the lines of graph.py). A ratio is ours/peer of one pair, so
a slow minute of the machine hits both; printed are the median and the range over
the pairs. Below 1 ours is faster; "<": the peer gave up queries, so it is less.
Times are of one query. Exits with 1 if an answer differed or a pair has nothing
of ours.
"""
import pathlib
import re
import statistics
import sys


def ours(text):
    """Yields (benchmark, graph, package, metrics) whatever packages print such lines."""
    package = ""
    for line in text.splitlines():
        f = line.split()
        if line.startswith("pkg: "):
            package = f[1].split("/", 1)[-1]
        elif re.match(r"Benchmark(AllRoots|FirstRoot|WorstQuery)", line) and len(f) >= 4:
            bench, _, graph = re.sub(r"-\d+$", "", f[0]).removeprefix("Benchmark").partition("/")
            yield bench, graph or "p34_2.g", package, dict(zip(f[3::2], map(float, f[2::2])))


def compare(bench, metrics, peer):
    """Yields (table, our ns, the peer's ns) for one benchmark line and one peer line."""
    queries, asked, refused, total, worst = (peer[i] for i in (2, 3, 5, 7, 8))
    timed = int(asked) - int(refused)
    if timed == 0:
        return
    if bench == "AllRoots":
        yield "all roots", metrics["ns/op"] / int(queries), int(total) / timed
        if "worst-ns" in metrics:
            yield "worst query", metrics["worst-ns"], int(worst)
    elif bench == "FirstRoot":
        yield "first root", metrics["ns/op"], int(total) / timed
    elif bench == "WorstQuery":
        yield "worst query", metrics["ns/op"], int(worst)


def us(ns):
    return f"{ns / 1000:.1f}" if ns < 1e5 else f"{ns / 1000:.0f}"


def main():
    pairs, notes, alone, bound, failed = {}, {}, {}, set(), False
    files = sorted(pathlib.Path(sys.argv[1]).glob("*.ours"), key=lambda f: int(f.stem))
    for file in files:
        mine = list(ours(file.read_text()))
        for bench, graph, package, metrics in mine:
            alone.setdefault((bench, graph, package), []).append(metrics["ns/op"])
        failed |= not mine
        for line in file.with_suffix(".peer").read_text().splitlines():
            peer = line.split("\t")
            if len(peer) < 9:
                notes[peer[0], peer[1]] = peer[2]
                continue
            notes[peer[0], peer[1]] = f"asked {peer[3]}/{peer[2]}, gave up {peer[4]}, refused {peer[5]}, differ {peer[6]}"
            failed |= peer[6] != "0"
            if peer[4] != "0":
                bound.add((peer[0], peer[1]))
            for bench, graph, package, metrics in mine:
                if graph == peer[0]:
                    for table, a, b in compare(bench, metrics, peer):
                        pairs.setdefault((table, graph, package, bench, peer[1]), []).append((a, b))
    print(f"{'':11} {'graph':16} {'ours':36} {'peer':10} {'ours µs':>9} {'peer µs':>9}  ours/peer (range, pairs)")
    for key in sorted(pairs):
        table, graph, package, bench, peer = key
        rs = sorted(a / b for a, b in pairs[key])
        a, b = (statistics.median(x) for x in zip(*pairs[key]))
        most = "<" if (graph, peer) in bound else " "
        name = f"{package} {bench}" if table == "worst query" else package
        print(f"{table:11} {graph:16} {name:36} {peer:10} {us(a):>9} {us(b):>9}  {most}{statistics.median(rs):.4f} ({rs[0]:.4f}-{rs[-1]:.4f}, {len(rs)})")
    print("\npeers' answers:")
    for (graph, peer), note in sorted(notes.items()):
        print(f"  {graph:16} {peer:10} {note}")
    for (bench, graph, package), ns in sorted(alone.items()):
        if not any(k[1:4] == (graph, package, bench) for k in pairs):
            print(f"  {graph:16} no peer finished: {package} {bench} alone took {us(statistics.median(ns))} µs")
    sys.exit(failed)


if __name__ == "__main__":
    main()
