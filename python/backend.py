"""Makes a wheel of the package, or a source archive: what pip asks of a build back end (PEP 517), with the standard library alone.

setuptools could do it, too; but pip builds in an environment of its own, to which it would download setuptools though it is
installed.
"""
import base64
import hashlib
import re
import tarfile
import zipfile
from pathlib import Path

NAME = "hotpatch"
HERE = Path(__file__).resolve().parent
SCRIPTS = "[console_scripts]\nhotpatch = hotpatch.cli:main\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: hotpatch\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def _version():
    return re.search(r'^__version__ = "(.*)"$', (HERE / NAME / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)[1]


def _metadata():
    head = {"Metadata-Version": "2.1", "Name": NAME, "Version": _version(), "License": "MIT", "Requires-Python": ">=3.9",
            "Summary": "Client of the hotpatch agent: flags, variables, libraries and functions of a running process",
            "Description-Content-Type": "text/markdown"}
    return "".join(f"{key}: {value}\n" for key, value in head.items()) + "\n" + (HERE / "README.md").read_text(encoding="utf-8")


def _sources():
    return sorted((HERE / NAME).glob("*.py"))


def _record_row(name, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    info = f"{NAME}-{_version()}.dist-info"
    files = {f"{NAME}/{path.name}": path.read_bytes() for path in _sources()}
    files.update({f"{info}/{name}": text.encode() for name, text in
                  {"METADATA": _metadata(), "WHEEL": WHEEL, "entry_points.txt": SCRIPTS}.items()})
    rows = "".join(_record_row(name, data) for name, data in files.items()) + f"{info}/RECORD,,\n"
    target = f"{NAME}-{_version()}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory, target), "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in {**files, f"{info}/RECORD": rows.encode()}.items():
            wheel.writestr(name, data)
    return target


def build_sdist(sdist_directory, config_settings=None):
    top = f"{NAME}-{_version()}"
    with tarfile.open(Path(sdist_directory, f"{top}.tar.gz"), "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for path in [HERE / "pyproject.toml", HERE / "backend.py", HERE / "README.md", *_sources()]:
            archive.add(path, f"{top}/{path.relative_to(HERE)}")
    return f"{top}.tar.gz"
