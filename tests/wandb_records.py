"""What is in the folders that offline runs of wandb leave."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any


def read_wandb(path: Path) -> list[Any]:
    """The records of a .wandb file, a LevelDB log: blocks of 32 KiB; chunks have crc, length and type."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    data, position, records, whole = path.read_bytes(), 7, [], b""
    while position + 7 <= len(data):
        if position % 32768 > 32768 - 7:  # no room for a header: padding
            position += 32768 - position % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        if position + 7 + length > len(data):  # not all written yet
            break
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            records.append(Record.FromString(whole))
            whole = b""
    return records


def offline_runs(folder: Path) -> list[list[Any]]:
    """The records of each offline run. wandb closes a file a moment after ``finish`` returns."""
    runs = []
    for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        for _ in range(200):
            records = read_wandb(path)
            if any(r.HasField("exit") for r in records):
                break
            time.sleep(0.1)
        runs.append(records)
    return runs


def values(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def configs(records: list[Any]) -> dict[str, Any]:
    """The config of a run, as it was at its end."""
    found = values(next(r.run for r in records if r.HasField("run")).config.update)
    return found | values(item for r in records for item in r.config.update)


def summaries(records: list[Any]) -> dict[str, Any]:
    """The summary of a run, as it was at its end."""
    return values(item for r in records for item in r.summary.update)


def tags(records: list[Any]) -> list[str]:
    return list(next(r.run for r in records if r.HasField("run")).tags)


def run_id(records: list[Any]) -> str:
    return str(next(r.run for r in records if r.HasField("run")).run_id)
