#!/usr/bin/env python3
"""soak.py DIR MINUTES: what soak.sh says; DIR holds the binary pkg."""
import filecmp
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import lab

GROWTH = 64 << 20
EVERY = float(os.environ.get("EVERY", "30"))
CLIENTS = 2
PROJECTS = ["small", "set", "files", "large"]


class Server:
    """One that may be killed and started again. The level is its memory after the first minute of each life, most is what
    it grew by over that in any of them."""

    def __init__(self, name, start):
        self.name, self.begin, self.restarts, self.most = name, start, -1, None
        self.again()

    def again(self):
        self.process, self.addrs = self.begin()
        self.started, self.level = time.monotonic(), None
        self.restarts += 1

    def look(self):
        """Returns (resident bytes, files, threads)."""
        proc = f"/proc/{self.process.pid}"
        status = dict(line.split(":", 1) for line in open(f"{proc}/status"))
        rss = int(status["VmRSS"].split()[0]) * 1024
        if time.monotonic() - self.started >= 60:
            self.level = self.level or rss
            self.most = max(self.most or 0, rss - self.level)
        return rss, len(os.listdir(f"{proc}/fd")), int(status["Threads"])


def same(a, b):
    """Whether two folders hold the same files, through links."""
    c = filecmp.dircmp(a, b, ignore=[])
    return not (c.left_only or c.right_only or c.funny_files) and filecmp.cmpfiles(a, b, c.common_files, shallow=False)[1:] == ([], []) \
        and all(same(os.path.join(a, d), os.path.join(b, d)) for d in c.common_dirs)


class Soak:
    def __init__(self, l):
        self.l, self.rng, self.failures = l, random.Random(2), []
        self.done, self.killed = {}, 0
        p, self.url = l.registry()
        self.registry = Server("registry", lambda: (p, [self.url]))
        self.seeds = [Server(n, lambda n=n: l.seed(n, self.url, ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"])) for n in ("one", "two")]
        self.servers = [self.registry, *self.seeds]

    def flags(self, mode):
        if mode == "p2p":
            return ["--mode=p2p", *(f"--peer={a}" for s in self.seeds for a in s.addrs)]
        return [f"--mode={mode}"]

    def client(self):
        """Starts one install; returns (process, folder, mode, when to kill it or None)."""
        run = self.l.clone(self.rng.choices(PROJECTS, [6, 3, 2, 1])[0], self.url)
        mode = self.rng.choice(["auto", "p2p", "http"])
        p = self.l.start(run, "--locked", *self.flags(mode))
        return p, run, mode, time.monotonic() + self.rng.uniform(0.01, 0.6) if self.rng.random() < 0.25 else None

    def reap(self, clients, disturbed):
        """Takes back clients that are done, and kills those whose time has come."""
        for c in list(clients):
            p, run, mode, end = c
            if end and time.monotonic() > end and p.poll() is None:
                p.kill()
            if p.poll() is None:
                continue
            out, err = p.communicate()
            clients.remove(c)
            if p.returncode == -signal.SIGKILL:
                # What was half done must not be in the way of the next one.
                self.killed += 1
                again = self.l.start(run, "--locked", "--mode=http")
                out, err = again.communicate()
                p = again
            # A seed that was killed under it may have been all that --mode p2p had.
            if p.returncode != 0 and not (mode == "p2p" and disturbed):
                self.failures.append(f"{mode}: exit code {p.returncode}: {out[-300:]}{err[-300:]}")
            self.done[mode] = self.done.get(mode, 0) + 1
            shutil.rmtree(run)

    def line(self, start):
        parts = [f"{time.monotonic() - start:5.0f} s"]
        for s in self.servers:
            rss, files, threads = s.look()
            parts.append(f"{s.name} {rss >> 20} MiB {files} files {threads} threads")
        parts.append(f"installs {sum(self.done.values())}, {self.killed} killed, {sum(s.restarts for s in self.seeds)} restarts, {len(self.failures)} failed")
        print("  ".join(parts), flush=True)

    def run(self, minutes):
        start = time.monotonic()
        shown, disturb, clients, disturbed = start, start + 20, [], 0.0
        while time.monotonic() < start + 60 * minutes:
            now = time.monotonic()
            if len(clients) < CLIENTS:
                clients.append(self.client())
            self.reap(clients, now - disturbed < 15)
            for s in self.servers:
                if s.process.poll() is not None:
                    raise SystemExit(f"{s.name} ended with {s.process.returncode}: see servers.log")
            if now >= disturb:
                # The second seed lives on, so that its growth is seen.
                victim = self.seeds[0]
                victim.process.kill()
                victim.process.wait()
                victim.again()
                disturb, disturbed = now + self.rng.uniform(80, 120), now
            if now >= shown:
                self.line(start)
                shown += EVERY
            time.sleep(0.01)
        while clients:
            self.reap(clients, True)
            time.sleep(0.01)
        self.line(start)

    def check(self):
        """Installs everything in every mode and compares the trees with those of the first install."""
        for project in PROJECTS:
            for mode in ("auto", "p2p", "http"):
                run = self.l.clone(project, self.url)
                p = self.l.start(run, "--locked", *self.flags(mode))
                out, err = p.communicate(timeout=120)
                if p.returncode != 0:
                    self.failures.append(f"in the end: {project}, {mode}: {out[-300:]}{err[-300:]}")
                    continue
                self.l.call("-C", run / "app", "verify", home=run / "home")
                if not subset(self.l.dir / "first" / "store" / "trees", run / "home" / "store" / "trees"):
                    self.failures.append(f"in the end: {project}, {mode}: other files than at first")
                shutil.rmtree(run)


def subset(all_of, some):
    """Whether some has trees, and every one is the same in all_of."""
    return bool(os.listdir(some)) and all((all_of / t).is_dir() and same(all_of / t, some / t) for t in os.listdir(some))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with lab.Lab(sys.argv[1]) as l:
        l.prepare()
        s = Soak(l)
        s.run(float(sys.argv[2]))
        s.check()
        for srv in s.servers:
            if srv.most is None:
                print(f"{srv.name}: never lived longer than a minute: nothing is known of its growth")
                continue
            print(f"{srv.name}: grew by {srv.most / (1 << 20):.0f} MiB over its first minute")
            if srv.most > GROWTH:
                s.failures.append(f"{srv.name} grew by {srv.most >> 20} MiB")
        for f in s.failures[:10]:
            print(f"FAILED: {f}")
        sys.exit(1 if s.failures else 0)


if __name__ == "__main__":
    main()
