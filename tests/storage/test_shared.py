"""Files of a bucket on a machine whose own disk is full."""

import subprocess
import sys
from pathlib import Path

FULL = """
import resource, sys
from pathlib import Path
from upath import UPath
from laneb.storage.shared import download
source = UPath("memory://bucket/shards/train.bin")
source.fs.pipe_file(source.path, bytes(100_000))
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    download(source, Path(sys.argv[1]))
except ValueError as error:
    print(error)
"""


def test_a_full_disk_here_is_no_fault_of_the_bucket_and_is_not_waited_for(tmp_path: Path) -> None:
    target = tmp_path / "train.bin"
    command = [sys.executable, "-B", "-c", FULL, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{target} can't be written: File too large. Free some space (100.0 kB are wanted).\n"
    assert list(tmp_path.iterdir()) == []
