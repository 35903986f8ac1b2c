"""Where the keys of an installation are, and the passphrase that encrypts their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from guilder.platform.key_files import KeyUnusable, Passphrase
from guilder.platform.settings import Settings


def keys_dir(settings: Settings) -> Path:
    """The folder of the keys."""
    return Path(settings.data_dir) / "keys"


def key_folders(settings: Settings) -> Sequence[Path]:
    """That folder, and those inside it which are other contexts' own."""
    folder = keys_dir(settings)
    return [folder, *sorted(path for path in folder.glob("*") if path.is_dir())]


def key_passphrase(settings: Settings, *, former: Path | None = None) -> Passphrase | None:
    """The passphrase that is set, or None. What ``former`` holds opens key files as well.

    Raises:
        KeyUnusable: a file cannot be read, or what it holds is too short.
    """
    if settings.key_passphrase is not None:
        text = settings.key_passphrase.get_secret_value()
    elif settings.key_passphrase_file is not None:
        text = _first_line(settings.key_passphrase_file)
    else:
        return None
    return Passphrase(text=text, former=None if former is None else _first_line(former))


def _first_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyUnusable(f"{path}: the passphrase cannot be read: {error}") from error
    return lines[0] if lines else ""
