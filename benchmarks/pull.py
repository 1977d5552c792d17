"""Compare a pull with an import: `python -m benchmarks.pull [TICKETS]`.

`triage pull` of so many tickets from a list on this machine, 1,000 a page, against `triage create` of the same tickets
from JSON Lines; both in turn, since the speed of a machine drifts, and each into a new database.
"""

import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.make_tickets import main as make_tickets

PAGE = 1000
RUNS = 3
SERVER = """
import sys, socketserver, http.server
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
pages = sorted(Path(sys.argv[1]).glob("page*"))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def log_message(self, *_): pass
    def do_GET(self):
        data = pages[int(parse_qs(urlsplit(self.path).query)["page"][0]) - 1].read_bytes()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def seconds(database: Path, *args: str) -> float:
    """Run a command of triage into a new database and return how long it took."""
    for file in database.parent.glob(f"{database.name}*"):
        file.unlink()
    start = time.perf_counter()
    command = [sys.executable, "-m", "triage_cli", "--db", str(database), *args, "-q"]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main(number: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tickets(number, folder / "tickets.csv")
        with (folder / "tickets.csv").open(newline="", encoding="utf-8") as file:
            tickets = [{**row, "updated_at": "2026-11-01T00:00:00Z"} for row in csv.DictReader(file)]
        (folder / "tickets.jsonl").write_text(
            "".join(f"{json.dumps(ticket)}\n" for ticket in tickets), encoding="utf-8"
        )
        for n in range(0, number + 1, PAGE):
            (folder / f"page{n // PAGE:06}").write_text(json.dumps(tickets[n : n + PAGE]), encoding="utf-8")
        fields = {key: key for key in ("subject", "description", "customer_id", "priority", "created_at")}
        with subprocess.Popen([sys.executable, "-c", SERVER, name], stdout=subprocess.PIPE, text=True) as server:
            try:
                port = server.stdout.readline().strip() if server.stdout else ""
                source = {
                    "type": "http",
                    "url": f"http://127.0.0.1:{port}/tickets",
                    "next": {"page": "page", "size": PAGE},
                    "cursor": {"field": "updated_at"},
                    "fields": {**fields, "external_id": "ticket_id"},
                }
                (folder / "config.yaml").write_text(json.dumps({"sources": {"bench": source}}))
                pull = ["--config", str(folder / "config.yaml"), "pull"]
                create = ["create", str(folder / "tickets.jsonl"), "--source", "bench"]
                pairs = [(seconds(folder / "a.db", *pull), seconds(folder / "b.db", *create)) for _ in range(RUNS)]
            finally:
                server.terminate()
    pulled, created = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(theirs / ours for ours, theirs in pairs)
    print(f"pull of {number:,}: {pulled:.2f} s, create of the same: {created:.2f} s: {ratio:.2f} times as fast")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
