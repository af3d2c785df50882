"""``cmlm-kd user-dir``: the directory of the fairseq plug-in."""

import argparse

HELP = "print the directory to give to fairseq as --user-dir"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--link",
        action="store_true",
        help="for an editable install: make '--user-dir fairseq_plugins' work from any folder",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the directory; with ``--link`` make its plain name known beside fairseq first."""
    from cmlm_kd.system.user_dir import link_plugin, plugin_directory

    if arguments.link:
        link_plugin()
    print(plugin_directory())
