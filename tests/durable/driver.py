"""A small program over the durable map, for tests that need a real process to kill, stop or starve.

Every row's record is a pure function of its id, so two runs can be compared byte by byte. Prints a line when
the run has begun, and one line of JSON at the end.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

from reasrm.durable import DrainExpired, DurableMap, Interruption
from reasrm.errors import ReasrmError


def row_ids(count: int) -> list[str]:
    return [f"q{number}" for number in range(count)]


def record(row_id: str) -> dict[str, object]:
    return {"id": row_id, "verdict": "AB"[len(row_id) % 2], "text": f"{row_id}: ü\u2028\n" * 20}


def digest(row_id: str) -> bytes:
    return row_id.encode().ljust(8, b"\x00")[:8]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds of work per row")
    parser.add_argument("--drain", type=float, default=30.0)
    parser.add_argument("--hang", action="store_true", help="never finish the row in flight")
    parser.add_argument("--max-bytes", type=int, default=0, help="RLIMIT_FSIZE")
    options = parser.parse_args()
    if options.max_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.max_bytes, options.max_bytes))
    num_new = 0
    try:
        with Interruption(options.drain) as interruption, DurableMap(options.output) as journal:
            state = journal.start({"rows": options.rows})
            print("started", flush=True)
            for row_id in row_ids(options.rows):
                while options.hang:
                    time.sleep(0.01)
                if interruption.stopping:
                    return interruption.exit_code
                if not journal.done(row_id):
                    time.sleep(options.pause)
                    journal.put(row_id, record(row_id), digest(row_id))
                    num_new += 1
    except DrainExpired:
        return interruption.exit_code
    except ReasrmError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps({"new": num_new, "resumed": state.num_done, "torn": state.num_torn_bytes}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
