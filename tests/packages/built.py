"""The packages, as packaging/build makes them: here, and from a copy of the tree elsewhere."""

import os
import re
import shutil
from pathlib import Path

from cache import TOP
from packages import run


LATER = "\n# of the later version\n"


def build(kind: str, programs: Path, tree: Path, out: Path) -> Path:
    run([str(tree / "packaging/build"), "--only", kind, "--bin", str(programs.absolute()), "--out", str(out)], "the packages cannot be built")
    return out


def copied(tree: Path) -> Path:
    """What belongs to the tree, in another directory. What is built there is as old as what is built here."""
    for name in run(["git", "-C", str(TOP), "ls-files", "-z"], "git does not say what belongs to the tree").split("\0")[:-1]:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / name, tree / name)
    os.environ["SOURCE_DATE_EPOCH"] = run(["git", "-C", str(TOP), "log", "-1", "--format=%ct"], "git knows no commit").strip()
    return tree


def same_elsewhere(kind: str, built: Path, programs: Path, room: Path) -> bool:
    """Whether another directory and another moment give the same bytes; says so, a line for each package."""
    again = build(kind, programs, copied(room / "elsewhere/a tree"), room / "built-elsewhere")
    are_same = True
    for one in sorted(built.glob(f"*.{kind}")):
        is_same = one.read_bytes() == (again / one.name).read_bytes()
        print(f"{'ok   ' if is_same else 'FAIL '} {one.name}: the same bytes from another directory", flush=True)
        are_same &= is_same
    return are_same


def later(kind: str, programs: Path, room: Path) -> Path:
    """The packages of the next version, with another policy and other settings."""
    tree = copied(room / "later/tree")
    version = re.search(r'^version = "([^"]*)"', (tree / "Cargo.toml").read_text(), re.M)[1]
    manifest = tree / "Cargo.toml"
    manifest.write_text(manifest.read_text().replace(f'version = "{version}"', 'version = "99.0.0"', 1))
    run(["cargo", "update", "--quiet", "--offline", "--workspace", "--manifest-path", str(manifest)], "the next version cannot be made")
    for name in ["policy.toml", "agent.toml"]:
        with open(tree / "packaging/etc" / name, "a", encoding="utf-8") as file:
            file.write(LATER)
    return build(kind, programs, tree, room / "built-later")
