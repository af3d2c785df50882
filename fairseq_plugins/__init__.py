"""The fairseq plug-in of cmlm-kd: ``fairseq-train --user-dir fairseq_plugins``.

Importing this package registers everything: fairseq imports only ``tasks`` and ``models`` of a user directory
by itself, and nothing of a package that somebody else's user directory imports.
"""

import importlib
import pkgutil
import warnings

import torch

from cmlm_kd.fairseq_files.checkpoints import SAFE_GLOBALS
from fairseq_plugins.command_line.conversion import check_conversions
from fairseq_plugins.command_line.flag_values import check_flag_values
from fairseq_plugins.command_line.user_errors import print_user_errors
from fairseq_plugins.training.before_training import check_before_training
from fairseq_plugins.training.dictionaries import check_dictionaries
from fairseq_plugins.training.endings import remember_endings
from fairseq_plugins.training.entries import compare_entries
from fairseq_plugins.training.indexes import check_indexes
from fairseq_plugins.training.log_file import log_each_line_once
from fairseq_plugins.training.one_training import allow_one_training
from fairseq_plugins.training.plain_settings import check_settings_of_checkpoints
from fairseq_plugins.training.processes import check_processes
from fairseq_plugins.training.row_lengths import leave_no_row_out
from fairseq_plugins.training.whole_checkpoints import keep_checkpoints_whole

# fairseq calls torch's attention with masks of two types, which torch (2.13) says once in each process.
warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask and attn_mask")
# torch's safe loading (the default since 2.6) refuses what fairseq's checkpoints carry besides tensors. These
# harmless classes are allowed, so that it stays on.
torch.serialization.add_safe_globals(SAFE_GLOBALS)
print_user_errors()
check_flag_values()
log_each_line_once()
check_dictionaries()
check_indexes()
compare_entries()
check_settings_of_checkpoints()
leave_no_row_out()
check_before_training()
remember_endings()
keep_checkpoints_whole()
allow_one_training()
check_processes()
check_conversions()

importlib.import_module(f"{__name__}.optim")
for _subpackage in ("criterions", "data", "models", "tasks"):
    _package = importlib.import_module(f"{__name__}.{_subpackage}")
    for _module in pkgutil.iter_modules(_package.__path__):
        importlib.import_module(f"{_package.__name__}.{_module.name}")
