"""A tiny archive of IWSLT14."""

import io
import tarfile

from cmlm_kd.data.translation.iwslt14 import TEST_SETS, TRAINING_TEXT

PAIRS = [(f"Satz Nummer {n} , bitte .", f"Sentence number {n} , please .") for n in range(70)]


def training_text(side):
    """A talk's metadata, its title, a pair that is cleaned away, and sentences."""
    title = ("Der Hund", "The dog")[side]
    unbalanced = ("Ja .", "Yes , of course , why not ? .")[side]
    head = ["<url>http://talk</url>", "<keywords>dog, talk</keywords>", "<talkid>1</talkid>"]
    return "\n".join([*head, f"<title>{title}</title>", unbalanced, *(pair[side] for pair in PAIRS), ""])


def evaluation_text(side, number):
    rows = [f'<seg id="{row}"> Test{side} {number}.{row} &amp; it’s </seg>' for row in (1, 2)]
    return "\n".join(['<refset setid="x">', "<doc>", "<title>Not a segment</title>", *rows, "</doc>"])


def write_archive(directory, **changed):
    """Write de-en.tgz; ``changed`` are other contents, file name -> text, None to leave the file out."""
    files = {}
    for side, language in enumerate(("de", "en")):
        files[TRAINING_TEXT.format(language=language)] = training_text(side)
        for number, name in enumerate(TEST_SETS):
            files[name.format(language=language)] = evaluation_text(side, number)
    files.update(changed)
    with tarfile.open(directory / "de-en.tgz", "w:gz") as tar:
        for name, text in files.items():
            if text is not None:
                data = text if isinstance(text, bytes) else text.encode()
                member = tarfile.TarInfo(f"de-en/{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return directory / "de-en.tgz"
