"""Archives of a few small files, good and bad, written at test time."""

import io
import tarfile
import zipfile
from pathlib import Path

FILES = {"Train/Rural/0.txt": b"zero", "Train/Rural/1.txt": b"one"}


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    """A zip of files by their names as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes], *extra: tarfile.TarInfo) -> Path:
    """A tar, packed as its suffix says, of files and of further entries."""
    kind = path.suffix.removeprefix(".").replace("tgz", "gz").replace("tar", "")
    with tarfile.open(path, f"w:{kind}") as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        for info in extra:
            file.addfile(info)
    return path


def found(root: Path) -> dict[str, bytes]:
    """Files under a folder but archives and hidden ones."""
    paths = [p for p in sorted(root.rglob("*")) if p.is_file() and not p.name.startswith(".")]
    kept = [p for p in paths if p.suffix not in (".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2")]
    return {str(path.relative_to(root)): path.read_bytes() for path in kept}
