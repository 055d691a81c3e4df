"""Kills exports with SIGKILL, before each change they make to the file system or at random moments, and looks.

One process imports everything; every export is a fork of it. Prints one JSON object per killed export.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from reasrm.errors import ConfigError
from reasrm.export import export_judge
from reasrm.files import file_sha256
from reasrm.judging.judge import open_judge
from tests.export.runs import FILES, files_below

CHANGES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "shutil.copyfile", "shutil.rmtree"}


def export(run: Path, output: Path, step: int, kill_at: int, tell: int) -> None:
    """Export in this process, counting changes; the process dies before change number `kill_at`."""
    count = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal count
        if event == "open":
            path, _mode, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        else:
            path, writes = (arguments[0] if event in CHANGES else None), event in CHANGES
        if writes and str(path).startswith(str(output.parent)):
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    export_judge(output, run=run, checkpoint=step, force=True, device="cpu")
    os.write(tell, str(count).encode())


def killed_export(
    run: Path, output: Path, step: int, *, kill_at: int = 0, after_s: float | None = None
) -> tuple[bool, int]:
    """Run one export to its death or its end; return whether it died and how many changes it made."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            export(run, output, step, kill_at, tell)
        finally:
            os._exit(0)
    os.close(tell)
    if after_s is not None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(told) as stream:
        count = stream.read()
    return os.WIFSIGNALED(status), int(count or 0)


def state_of(output: Path) -> str:
    """What stands at the place: nothing, or a whole judge folder by its step. Anything else is an error."""
    for partial in output.parent.glob(f".{output.name}.partial-*"):
        assert not (partial / "judge.json").exists() or files_below(partial) == FILES
    if not output.exists():
        try:
            open_judge(str(output))
        except ConfigError:
            return "absent"
        raise AssertionError("nothing was opened as a judge")
    assert files_below(output) == FILES
    identity = json.loads((output / "judge.json").read_text())
    assert identity["weights_sha256"] == file_sha256(output / "model" / "model.safetensors")
    assert open_judge(str(output)).spec.hash == identity["spec_hash"]
    return f"step {identity['trained']['step']}"


def main() -> None:
    """`driver.py RUN FOLDER NUM_POINTS NUM_TIMES`; 0 points means every one."""
    run, folder, num_points, num_times = (
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        int(sys.argv[3]),
        int(sys.argv[4]),
    )
    draw = random.Random(7)
    export_judge(folder / "warm" / "judge", run=run)  # imports what an export imports late
    for replacing in (False, True):
        output = folder / str(replacing) / "judge"
        output.parent.mkdir()  # else the first export makes a change more than the others
        if replacing:
            export_judge(output, run=run, checkpoint=3)
        began = time.monotonic()
        died, num_changes = killed_export(run, output, 7)
        lasts_s = time.monotonic() - began
        assert not died
        assert num_changes > 8
        points = list(range(1, num_changes + 1))
        if num_points:  # the last ones are renames and what follows them
            points = [*draw.sample(points[:-4], num_points - 4), *points[-4:]]
        tries = [{"kill_at": point} for point in points]
        tries += [{"after_s": draw.random() * lasts_s} for _ in range(num_times)]
        for one in tries:
            if not replacing:
                shutil.rmtree(output, ignore_errors=True)
            elif not output.exists():
                export_judge(output, run=run, checkpoint=3, force=True)
            if "kill_at" in one:  # clearing leftovers would shift the count; the timed ones meet them
                for partial in output.parent.glob(".judge.partial-*"):
                    shutil.rmtree(partial)
            before = state_of(output)
            step = 3 if before == "step 7" else 7
            died, _ = killed_export(run, output, step, **one)
            after = state_of(output)
            assert after in ({"absent", before, f"step {step}"} if replacing else {"absent", f"step {step}"})
            print(json.dumps({"replacing": replacing, **one, "died": died, "before": before, "state": after}))
        export_judge(output, run=run, force=True)
        left = [path.name for path in output.parent.iterdir()]
        print(json.dumps({"finished": state_of(output), "left": left}), flush=True)


if __name__ == "__main__":
    main()
