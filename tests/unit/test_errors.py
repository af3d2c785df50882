"""What errors of others have to say to the user."""

import errno
import shutil

import pytest

from cmlm_kd.errors import UserError, os_error_message, os_error_of, speaking_of


def test_of_a_folder_that_cannot_be_copied_the_reason_counts():
    reason = f"[Errno {errno.EFBIG}] File too large: 'a/tokenizer.json' -> 'b/tokenizer.json'"
    found = os_error_of(shutil.Error([("a/tokenizer.json", "b/tokenizer.json", reason)]))
    assert found.errno == errno.EFBIG
    assert "make room" in os_error_message(found)


def test_an_empty_path_is_called_so():
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", "")
    assert os_error_message(error).startswith("an empty path: No such file or directory; ")


def test_a_refusal_says_of_which_file_it_is_once():
    with pytest.raises(UserError, match=r"^x\.pt: it is empty; give another$"), speaking_of("x.pt"):
        raise UserError("it is empty; give another")
    with pytest.raises(UserError, match=r"^the file x\.pt is empty$"), speaking_of("x.pt"):
        raise UserError("the file x.pt is empty")
