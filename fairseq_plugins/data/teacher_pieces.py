"""``--bpe teacher_pieces``: raw text to the teacher's pieces and back, as ``cmlm-kd prepare`` cuts it."""

from dataclasses import dataclass, field

from fairseq.data.encoders import register_bpe

from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.spelling import SPECIALS, WORD_START, joined_to_text, pieces_to_text
from fairseq_plugins.command_line.configs import PluginConfig


@dataclass
class TeacherPiecesConfig(PluginConfig):
    """Flags of ``--bpe teacher_pieces``."""

    teacher_tokenizer: str = field(
        default="",
        metadata={
            "help": "the 'teacher' folder of a prepared data-bin, or the teacher's directory or hub name"
        },
    )


@register_bpe("teacher_pieces", dataclass=TeacherPiecesConfig)
class TeacherPieces:
    """Adapter of :class:`cmlm_kd.tokenization.pieces.PieceTokenizer`."""

    def __init__(self, cfg: TeacherPiecesConfig) -> None:
        if not cfg.teacher_tokenizer:
            raise UserError(
                "teacher_pieces: --teacher-tokenizer is missing; "
                "give the 'teacher' folder of the prepared data-bin"
            )
        self.tokenizer = PieceTokenizer.from_pretrained(cfg.teacher_tokenizer)

    def encode(self, text: str) -> str:
        """Return the pieces of a sentence, separated by spaces."""
        return " ".join(self.tokenizer.encode(text).symbols)

    def decode(self, pieces: str) -> str:
        """Return the text of pieces; what ``--post-process sentencepiece`` has joined keeps its spaces."""
        return pieces_to_text(pieces.split()) if WORD_START in pieces else joined_to_text(pieces)

    def is_beginning_of_word(self, piece: str) -> bool:
        """Tell whether a piece begins a word; special entries do."""
        return piece in SPECIALS or piece.startswith(WORD_START)
