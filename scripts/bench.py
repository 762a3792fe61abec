"""The measurements of scripts/bench: throughput, latency, memory, start-up, size.

TOLLGATE_BENCH_ROUNDS, _SECONDS (a load), _STARTS make it shorter or longer; _BINARY measures another binary.
"""

import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(os.environ.get("TOLLGATE_BENCH_BINARY", ROOT / "target/dist/tollgate"))
UPSTREAM = ROOT / "target/dist/examples/bench-upstream"
LEDGER = pathlib.Path(os.environ.get("TOLLGATE_BENCH_LEDGER", ROOT / "target/dist/examples/bench-ledger"))
RUNS = int(os.environ.get("TOLLGATE_BENCH_RUNS", "100000"))
EVENTS = [10**power for power in range(3, int(os.environ.get("TOLLGATE_BENCH_EVENTS_POWER", "6")) + 1)]
ROUNDS = int(os.environ.get("TOLLGATE_BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("TOLLGATE_BENCH_SECONDS", "3"))
STARTS = int(os.environ.get("TOLLGATE_BENCH_STARTS", "15"))

JSON_BODY = {"model": "claude-haiku-5-5", "max_tokens": 256, "messages": [{"role": "user", "content": "x" * 2000}]}


def wait_for(path, process):
    for _ in range(500):
        if path.exists() and path.stat().st_size:
            return path.read_text()
        if process.poll() is not None:
            sys.exit(f"bench: {process.args[0]} ended with {process.returncode}")
        time.sleep(0.01)
    sys.exit(f"bench: no {path}")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_upstream(folder, running):
    ready = folder / "upstream"
    process = subprocess.Popen([str(UPSTREAM), str(ready)])
    running.append(process)
    return int(wait_for(ready, process))


def start_nginx(folder, upstream, running):
    port = free_port()
    conf = folder / "nginx.conf"
    conf.write_text(
        f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 512; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://up; proxy_http_version 1.1;
    proxy_set_header Connection ""; proxy_buffering off; }} }} }}"""
    )
    process = subprocess.Popen(["nginx", "-c", str(conf), "-p", str(folder)])
    running.append(process)
    for _ in range(500):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
        if process.poll() is not None:
            sys.exit(f"bench: nginx ended with {process.returncode}")
        time.sleep(0.01)
    sys.exit("bench: nginx does not listen")


def start_meter(folder, upstream, running):
    ready, summary = folder / "ready.json", folder / "meter.json"
    process = subprocess.Popen(
        [str(BINARY), "meter", "--cap-usd", "1000000", "--upstream", f"anthropic=http://127.0.0.1:{upstream}",
         "--listen", "127.0.0.1:0", "--ready-file", str(ready), "--summary-json", str(summary)],
        env={**os.environ, "ANTHROPIC_API_KEY": "bench-key"},
    )
    running.append(process)
    told = json.loads(wait_for(ready, process))
    return process, told["url"], told["token"], summary


def script(folder, name, streaming, token):
    body = dict(JSON_BODY, stream=True) if streaming else JSON_BODY
    path = folder / f"{name}.lua"
    text = json.dumps(body, separators=(",", ":"))
    path.write_text(
        f'wrk.method="POST"\nwrk.body=[[{text}]]\nwrk.headers["content-type"]="application/json"\n'
        f'wrk.headers["x-api-key"]="{token}"\nwrk.headers["anthropic-version"]="2023-06-01"\n'
        'done=function(s,l,r) io.write(string.format("RESULT %d %d %d %d %d\\n",s.requests,s.duration,'
        "l:percentile(50),l:percentile(99),s.errors.status+s.errors.read+s.errors.timeout+s.errors.connect)) end\n"
    )
    return path


def load(pid, url, lua, clients):
    before = processor_seconds(pid)
    out = subprocess.run(
        ["wrk", "-t1", f"-c{clients}", f"-d{SECONDS}s", "-s", str(lua), f"{url}/v1/messages"],
        capture_output=True, text=True, check=True, timeout=SECONDS + 30,
    ).stdout
    requests, micros, p50, p99, errors = map(int, re.search(r"RESULT (.*)", out).group(1).split())
    if errors:
        sys.exit(f"bench: {errors} errors at {url}")
    used = (processor_seconds(pid) - before) * 1e6 / requests
    return requests / (micros / 1e6), p50 / 1000, p99 / 1000, used


def memory_kb(pid, key):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{key}:\s+(\d+)", status).group(1))


def processor_seconds(pid):
    """What a process and its children have used so far: steadier than time on a busy machine."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(map(processor_seconds, children))


def row(measure, value, target, ok):
    print(f"| {measure:<58} | {value:>22} | {target:>12} | {'yes' if ok else 'NO':>3} |")


def throughput(folder, running):
    upstream = start_upstream(folder, running)
    nginx, port = start_nginx(folder, upstream, running)
    meter, url, token, _ = start_meter(folder, upstream, running)
    to = {"nginx": (nginx.pid, f"http://127.0.0.1:{port}"), "meter": (meter.pid, url)}
    rss = 0
    for streaming, clients in ((False, 16), (True, 16), (False, 1), (True, 1)):
        lua = script(folder, f"{streaming}{clients}", streaming, token)
        ratios, p50s, p99s = [], [], []
        for number in range(ROUNDS):
            # In turns, each first as often as the other: whatever else the machine does hits both.
            order = ("nginx", "meter") if number % 2 == 0 else ("meter", "nginx")
            seen = {name: load(*to[name], lua, clients) for name in order}
            theirs, ours = seen["nginx"], seen["meter"]
            ratios.append(ours[0] / theirs[0])
            p50s.append(ours[1] - theirs[1])
            p99s.append(ours[2] - theirs[2])
            told = [f"{name} {rate:.0f}/s with {cpu:.0f} µs of processor each"
                    for name, (rate, _, _, cpu) in sorted(seen.items(), reverse=True)]
            print(f"  {'SSE' if streaming else 'JSON'} {clients}: {', '.join(told)}", file=sys.stderr)
        kind = "SSE" if streaming else "JSON"
        if clients == 16:
            ratio = statistics.median(ratios)
            row(f"requests/s, {kind}, 16 clients, ratio to nginx proxy_pass", f"{ratio:.2f}", ">= 1.0", ratio >= 1.0)
            if streaming:
                rss = memory_kb(meter.pid, "VmHWM")
        else:
            p50, p99 = statistics.median(p50s), statistics.median(p99s)
            row(f"latency over nginx at one client, {kind}, p50", f"{p50:.2f} ms", "<= 0.1 ms", p50 <= 0.1)
            row(f"latency over nginx at one client, {kind}, p99", f"{p99:.2f} ms", "<= 1 ms", p99 <= 1)
    row("resident memory, peak, 16 clients", f"{rss / 1024:.1f} MB", "<= 16 MB", rss <= 16 * 1024)


def start_up(folder):
    repo = folder / "repo"
    repo.mkdir()
    git = ["git", "-C", str(repo), "-c", "user.name=b", "-c", "user.email=b@example.com"]
    subprocess.run([*git, "init", "-q"], check=True)
    (repo / "a.txt").write_text("a\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "TOLLGATE_"))}
    env["ANTHROPIC_API_KEY"] = "bench-key"
    stamp = folder / "stamp"
    agent = ["/bin/sh", "-c", f"date +%s%N > {stamp}"]
    gated = [str(BINARY), "run", "--upstream", "anthropic=http://127.0.0.1:9", "--", *agent]

    def until_stamp(command):
        stamp.unlink(missing_ok=True)
        begin = time.time_ns()
        result = subprocess.run(command, cwd=repo, env=env, capture_output=True, text=True, timeout=30)
        if not stamp.exists():
            sys.exit(f"bench: the agent did not start:\n{result.stderr}")
        return (int(stamp.read_text()) - begin) / 1e6

    # What the shell and `date` take by themselves is not the gate's.
    times = [until_stamp(gated) - until_stamp(agent) for _ in range(STARTS)]
    median = statistics.median(times)
    row("process start to agent start, file ledger", f"{median:.0f} ms", "<= 50 ms", median <= 50)


def report(folder):
    """The spend report over a long ledger, against merely reading and hashing its files."""
    ledger = folder / "ledger"
    subprocess.run([str(LEDGER), str(ledger), str(RUNS)], check=True)
    shards = sorted(str(path) for path in (ledger / "events").iterdir())
    commands = {
        "read": ["sha256sum", *shards],
        "report": [str(BINARY), "report", "--ledger", str(ledger), "--format", "json"],
    }
    best, peak = {}, 0
    for _ in range(3):
        for name, command in commands.items():
            with open(os.devnull, "w") as null:
                begin = time.monotonic()
                process = subprocess.Popen(command, cwd=folder, stdout=null)
                _, status, usage = os.wait4(process.pid, 0)
                took = time.monotonic() - begin
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                sys.exit(f"bench: {command[0]} ended with {process.returncode}")
            best[name] = min(best.get(name, took), took)
            if name == "report":
                peak = max(peak, usage.ru_maxrss)
    size = sum(os.path.getsize(shard) for shard in shards) / 1e6
    seconds = best["report"]
    row(f"report on {RUNS:,} runs ({size:.0f} MB)", f"{seconds:.2f} s", "<= 1.5 s", seconds <= 1.5)
    row("the same, ratio to sha256sum of the files", f"{seconds / best['read']:.1f}", "", True)
    row("resident memory of the report, peak", f"{peak / 1024:.0f} MB", "<= 64 MB", peak <= 64 * 1024)


def peak_memory(command, folder):
    with open(os.devnull, "w") as null:
        process = subprocess.Popen(command, cwd=folder, stdout=null)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"bench: {command[0]} ended with {process.returncode}")
    return usage.ru_maxrss


def lengths(kind, histories):
    """The rows of a kind of ledger: a reserve and a settle on each length of history."""
    os.sync()
    command = [str(LEDGER), "steps", kind, *map(str, histories)]
    medians = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    times = [int(line) / 1000 for line in medians.split()]
    for events, milliseconds in zip(EVENTS, times):
        row(f"{kind} ledger, reserve + settle at {events:,} events", f"{milliseconds:.2f} ms", "", True)
    ratio = times[-1] / times[0]
    row(f"{kind} ledger, ratio of the ends", f"{ratio:.2f}", "<= 1.2", ratio <= 1.2)


def ledgers(folder):
    """Reserve and settle on histories of any length, on each kind of ledger; memory; many starts at once."""
    histories = [folder / str(events) for events in EVENTS]
    for history, events in zip(histories, EVENTS):
        subprocess.run([str(LEDGER), str(history), str(events // 2)], check=True)
    lengths("git", histories)
    lengths("file", histories)
    for name in ("ledger show", "report"):
        command = [str(BINARY), *name.split(), "--format", "json", "--ledger", str(histories[-1])]
        peak = peak_memory(command, folder)
        row(f"resident memory of `{name}` on the longest, peak", f"{peak / 1024:.0f} MB", "<= 64 MB", peak <= 65536)
    for starts in (5, 20):
        command = [str(LEDGER), "burst", "git", str(folder / f"burst-{starts}.git"), str(starts)]
        whole, median, longest = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        row(f"git ledger, {starts} starts and ends at once, until all are done", f"{int(whole) / 1000:.1f} s", "", True)
        row("of them the median and the longest", f"{int(median) / 1000:.1f} s, {int(longest) / 1000:.1f} s", "", True)


def main():
    print(f"| {'measure':<58} | {'measured':>22} | {'target':>12} | met |")
    print(f"| {'-' * 58} | {'-' * 21}: | {'-' * 11}: | --- |")
    running = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            alone = [word for word in ("--report", "--ledgers") if word in sys.argv[1:]]
            if not alone:
                throughput(folder, running)
                start_up(folder)
            if "--ledgers" not in alone:
                report(folder)
            if "--report" not in alone:
                ledgers(folder)
        finally:
            for process in reversed(running):
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    process.wait(10)
    size = BINARY.stat().st_size / 1e6
    row("binary, stripped", f"{size:.1f} MB", "<= 12 MB", size <= 12)


if __name__ == "__main__":
    main()
