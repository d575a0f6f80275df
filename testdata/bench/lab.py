"""What swarm.py and soak.py share: content, a registry, seeds, installs, and the wire between namespaces."""
import contextlib
import ctypes
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

WORDS = "the of a package tree block root file peer pack read write list error return func type string byte hash".split()


def text(rng, size):
    return " ".join(rng.choices(WORDS, k=size // 5 + 1)).encode()[:size]


def content(rng, size):
    """Half of it compresses as source does, half not at all."""
    return text(rng, size) if rng.random() < 0.5 else rng.randbytes(size)


def package(base, name, files):
    """Writes a package whose files are given as bytes by path."""
    d = base / name
    for path, data in {"pkg.toml": f'[package]\nname = "{name}"\nversion = "1.0.0"\n'.encode(), **files}.items():
        (d / path).parent.mkdir(parents=True, exist_ok=True)
        (d / path).write_bytes(data)
    return d


def packages(base):
    """Yields (project, folder of a package) for everything that is measured."""
    rng = random.Random(1)
    weights = [rng.lognormvariate(0, 1.2) for _ in range(200)]
    for i, w in enumerate(weights):
        size, count = int(43e6 * w / sum(weights)), rng.randint(1, 40)
        yield "set", package(base, f"set-{i:03}", {f"src/f{j}": content(rng, size // count) for j in range(count)})
    yield "files", package(base, "thousands", {f"d{i % 40}/f{i}": content(rng, 100 + i * 37 % 8000) for i in range(2000)})
    yield "large", package(base, "heavy", {f"part{i}": rng.randbytes(10_000_000) for i in range(5)})
    yield "small", package(base, "tiny", {f"f{i}": rng.randbytes(5000) for i in range(4)})


def setns(fd):
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def inside(space):
    """Runs in the namespace of that name; None is where we are."""
    if space is None:
        yield
        return
    home, there = (os.open(p, os.O_RDONLY) for p in ("/proc/thread-self/ns/net", f"/run/netns/wan-{space}"))
    try:
        setns(there)
        try:
            yield
        finally:
            setns(home)
    finally:
        os.close(home)
        os.close(there)


class Lab:
    def __init__(self, dir):
        self.dir = pathlib.Path(dir).resolve()
        self.pkg = self.dir / "pkg"
        self.children = []
        self.count = 0
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("PKG_") and k not in ("CI", "PKG", "GO")}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in reversed(self.children):
            stop(p)
        for d in self.dir.glob("run*"):
            shutil.rmtree(d)

    def call(self, *args, home, **kw):
        r = subprocess.run([self.pkg, *args], env={**self.env, "PKG_HOME": str(home)}, stdin=subprocess.DEVNULL, capture_output=True, text=True, **kw)
        if r.returncode != 0:
            raise SystemExit(f"pkg {' '.join(map(str, args))}: exit code {r.returncode}\n{r.stderr[-2000:]}")
        return r.stdout

    def serve(self, *args, home, space=None):
        """Starts a server that writes an --addr-file; returns (process, lines of that file)."""
        self.count += 1
        at = self.dir / f"addr{self.count}"
        at.unlink(missing_ok=True)
        with inside(space), open(self.dir / "servers.log", "ab") as log:
            p = subprocess.Popen([self.pkg, *args, "--addr-file", at], env={**self.env, "PKG_HOME": str(home)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.children.append(p)
        for _ in range(1500):
            if at.exists() and (lines := at.read_text().split()):
                return p, lines
            if p.poll() is not None:
                break
            time.sleep(0.02)
        raise SystemExit(f"pkg {' '.join(map(str, args))} did not start: see servers.log\n" + (self.dir / "servers.log").read_text()[-2000:])

    def registry(self, listen="127.0.0.1:0", space=None, copy=False):
        """Serves what is published; a copy of it may be served beside it."""
        dir = self.dir / "registry"
        if copy:
            self.count += 1
            dir = self.dir / f"run{self.count}" / "registry"
            shutil.copytree(self.dir / "registry", dir)
            shutil.copy(self.dir / "registry.signed", f"{dir}.signed")
        p, (url, *_) = self.serve("registry", "serve", "-q", str(dir), "--listen", listen, home=self.dir / "author", space=space)
        return p, url

    def seed(self, name, url, listen, space=None, flags=()):
        """Serves everything that is published. Announces to url unless that is None."""
        home = self.dir / "seeds" / name
        if not home.exists():
            shutil.copytree(self.dir / "first", home, copy_function=os.link)
            for p in ("projects", "peer.key"):
                if (home / "state" / p).is_file():
                    (home / "state" / p).unlink()
        # Who is told is what pkg.toml of the projects says.
        for project in (self.dir / "projects").iterdir():
            self.point(project, url or "http://127.0.0.1:9")
        return self.serve("seed", "-q", *(f"--listen={a}" for a in listen), *flags, home=home, space=space)

    def point(self, project, url):
        toml = (project / "pkg.toml.in").read_text().replace("@URL@", url)
        tmp = project / "pkg.toml.new"
        tmp.write_text(toml)
        tmp.replace(project / "pkg.toml")

    def prepare(self):
        """Publishes everything and installs it once; what is there from before is used again."""
        if (self.dir / "ready").exists():
            return
        (self.dir / "registry.signed").unlink(missing_ok=True)
        for d in ("registry", "author", "first", "projects", "packages", "seeds"):
            shutil.rmtree(self.dir / d, ignore_errors=True)
        self.id = self.call("registry", "init", self.dir / "registry", "--origin", "registry.test/bench", home=self.dir / "author").strip()
        p, url = self.registry()
        self.call("keys", "new", "bench", "--no-passphrase", home=self.dir / "author")
        projects = {}
        jobs = []
        for project, folder in packages(self.dir / "packages"):
            projects.setdefault(project, []).append(folder.name)
            jobs.append(subprocess.Popen([self.pkg, "publish", "-q", folder, "--registry", url, "--registry-id", self.id],
                                         env={**self.env, "PKG_HOME": str(self.dir / "author")}, stdout=subprocess.DEVNULL))
            if len(jobs) >= 16 and jobs.pop(0).wait() != 0:
                raise SystemExit("publish failed")
        if any([j.wait() for j in jobs]):
            raise SystemExit("publish failed")
        for project, names in projects.items():
            d = self.dir / "projects" / project
            d.mkdir(parents=True)
            (d / "pkg.toml").write_text(f'[package]\nname = "{project}"\n')
            self.call("-C", d, "add", *names, "--registry", url, "--registry-id", self.id, "-q", home=self.dir / "first")
            (d / "pkg.toml.in").write_text((d / "pkg.toml").read_text().replace(url, "@URL@"))
        stop(p)
        shutil.rmtree(self.dir / "packages")
        (self.dir / "ready").touch()

    def roots(self, project):
        lock = (self.dir / "projects" / project / "pkg.lock").read_text()
        return [line.split('"')[1] for line in lock.splitlines() if line.startswith("root = ")]

    def clone(self, project, url, home=None):
        """A fresh copy of a project and an empty home, or one that knows what another home knows and has no packages."""
        self.count += 1
        run = self.dir / f"run{self.count}"
        (run / "app").mkdir(parents=True)
        for f in ("pkg.lock", "pkg.toml.in"):
            shutil.copy(self.dir / "projects" / project / f, run / "app" / f)
        self.point(run / "app", url)
        if home:
            shutil.copytree(home / "state", run / "home" / "state")
        else:
            (run / "home").mkdir()
        return run

    def start(self, run, *flags, **kw):
        """Starts pkg install in what clone made."""
        return subprocess.Popen([self.pkg, "-C", run / "app", "install", "--json", *flags], env={**self.env, "PKG_HOME": str(run / "home")},
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)

    def install(self, project, url, *flags, home=None, space=None):
        """Installs cold and returns seconds from start to exit."""
        run = self.clone(project, url, home)
        if space:
            self.move(space)
        with inside(space):
            start = time.perf_counter()
            p = self.start(run, *flags)
            out, err = p.communicate(timeout=300)
            took = time.perf_counter() - start
        if p.returncode != 0:
            raise SystemExit(f"install {project} {chr(32).join(flags)}: exit code {p.returncode}\n{out[-2000:]}{err[-2000:]}")
        self.said = out
        shutil.rmtree(run)
        return took

    def move(self, space):
        """Gives the namespace another address to send from, so that no limit of one address is in the way."""
        self.moves = getattr(self, "moves", 0) % 250 + 1
        at = self.addrs[space].rpartition(".")[0]
        subprocess.run(["ip", "-n", f"wan-{space}", "route", "replace", "10.77.0.0/16", "dev", "wan0", "src", f"{at}.{self.moves}"], check=True)

    def version(self):
        start = time.perf_counter()
        subprocess.run([self.pkg, "version"], stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - start

    def cars(self, project, url, *flags, space=None):
        """Gets all packages as CARs with one curl and returns seconds."""
        self.count += 1
        run = self.dir / f"run{self.count}"
        run.mkdir()
        config = run / "curl"
        config.write_text("".join(f'url = "{url}/ipfs/{r}?format=car"\noutput = "{run}/{r}"\n' for r in self.roots(project)))
        with inside(space):
            start = time.perf_counter()
            subprocess.run(["curl", "-sSf", "--no-progress-meter", *flags, "-K", config], check=True)
            took = time.perf_counter() - start
        shutil.rmtree(run)
        return took

    def wan(self, *args):
        """Starts the wire; returns (process, addresses by name)."""
        p = subprocess.Popen([self.dir / "wan", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.children.append(p)
        names = [a.partition("=")[0] for a in args if not a.startswith("-")]
        addrs = {}
        for line in p.stdout:
            addrs.update([line.split()])
            if len(addrs) == len(names):
                self.addrs = addrs
                return p, addrs
        raise SystemExit("wan did not start")


def stop(p):
    if p.poll() is None:
        p.send_signal(signal.SIGINT)
        try:
            p.wait(20)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


def why_no_wan():
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    if not shutil.which("ip"):
        return "there is no ip: apt-get install iproute2"
    return ""
