"""The place of this installation's fairseq plug-in, so that ``--user-dir`` finds it."""

import importlib.util
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.system.files import written_aside

PLUGIN_NAME = "fairseq_plugins"
_LINK_MARK = "written by 'cmlm-kd user-dir --link'"
_LINK_SOURCE = '''"""Leads --user-dir {name} to a checkout ({mark})."""

from pathlib import Path

__file__ = str(Path({directory!r}) / "__init__.py")
__path__.insert(0, {directory!r})
exec(compile(Path(__file__).read_text(encoding="utf-8"), __file__, "exec"))
'''


def plugin_directory() -> Path:
    """Return the absolute path of the plug-in that belongs to this ``cmlm_kd``.

    The two packages are siblings in a checkout and in site-packages alike.

    Raises:
        UserError: the plug-in is not there, so the installation is incomplete.
    """
    directory = Path(__file__).resolve().parents[2] / PLUGIN_NAME
    if not (directory / "__init__.py").is_file():
        raise UserError(
            f"no plug-in at {directory}: the installation is incomplete; run 'pip install .' again"
        )
    return directory


def fairseq_directory() -> Path | None:
    """Return the directory of the ``fairseq`` package, without importing it; None where there is none."""
    spec = importlib.util.find_spec("fairseq")
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def link_plugin() -> Path | None:
    """Make ``--user-dir fairseq_plugins`` work from any folder in an editable install of ``cmlm_kd``.

    fairseq looks for a relative user directory in the current folder and then beside its own package, where
    an editable install puts nothing. A package of one file there leads to the checkout: a real directory
    and no symbolic link, because pip would write a later regular install *through* a link.

    Returns:
        The package written, or None when the plug-in already lies beside fairseq.

    Raises:
        UserError: fairseq is missing, or another installation of the plug-in lies beside it.
    """
    fairseq = fairseq_directory()
    if fairseq is None:
        raise UserError("fairseq is not installed; run: pip install --no-deps ve-fairseq==0.12.3")
    directory = plugin_directory()
    link = fairseq.parent / PLUGIN_NAME
    if link.exists() and link.resolve() == directory:
        return None
    init = link / "__init__.py"
    if link.exists() and not is_link(link):
        raise UserError(f"{link} is another installation of the plug-in; run 'pip uninstall cmlm-kd' first")
    with written_aside(init) as partial:
        partial.write_text(
            _LINK_SOURCE.format(name=PLUGIN_NAME, mark=_LINK_MARK, directory=str(directory)),
            encoding="utf-8",
        )
    return link


def is_link(directory: Path) -> bool:
    """Return whether ``directory`` is what :func:`link_plugin` writes."""
    init = directory / "__init__.py"
    return init.is_file() and _LINK_MARK in init.read_text(encoding="utf-8")
