"""A log file has each line once, and other handlers of the logger stay."""

import logging
import os

import fairseq.logging.progress_bar

import fairseq_plugins  # noqa: F401  # closes what former bars opened


def open_files(path):
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return sum(os.path.exists(link) and os.path.samefile(link, path) for link in links)


def test_lines_are_written_once_however_many_epochs_there_were(tmp_path, caplog):
    log, other = tmp_path / "train.log", logging.FileHandler(tmp_path / "other.log")
    bars = fairseq.logging.progress_bar
    bars.logger.addHandler(other)
    try:
        with caplog.at_level(logging.INFO, logger=bars.logger.name):
            for epoch in range(1, 5):
                bar = bars.progress_bar([], log_format="simple", log_file=str(log), epoch=epoch)
                valid = bars.progress_bar([], log_format="simple", epoch=epoch, prefix="valid")
                valid.print({"loss": "3.0"}, tag="valid")
                bar.print({"loss": "1.0"}, tag="train")
            lines = log.read_text().splitlines()
            assert open_files(log) == 1
            # Neither another training of the process nor one without a log file writes there.
            for file in (str(tmp_path / "second.log"), None):
                bar = bars.progress_bar([], log_format="simple", log_file=file, epoch=1)
                bar.print({"loss": "2.0"}, tag="train")
        assert lines == [
            f"epoch {epoch:03d} | {rest}"
            for epoch in range(1, 5)
            for rest in ("valid | loss 3.0", "loss 1.0")
        ]
        assert log.read_text().splitlines() == lines and open_files(log) == 0
        assert len((tmp_path / "second.log").read_text().splitlines()) == 1
        assert len((tmp_path / "other.log").read_text().splitlines()) == 10
    finally:
        for handler in [other, *bars.logger.handlers]:
            if isinstance(handler, logging.FileHandler):
                bars.logger.removeHandler(handler)
                handler.close()
