"""What optimisers of BERTs have in common here: groups of parameters with rates of their own."""

from fairseq.optim import FairseqOptimizer
from omegaconf import OmegaConf

from cmlm_kd.errors import UserError
from cmlm_kd.optim import apply_rate, let_rest, set_factors


class GroupedOptimizer(FairseqOptimizer):
    """An optimiser whose groups have rates in proportion; a schedule of fairseq's sets the common one.

    Subclasses make ``self._optimizer`` of :func:`cmlm_kd.optim.parameter_groups`.

    Attributes:
        default_lr: the rate where ``--lr`` is not given.
        default_clip_norm: likewise of ``--clip-norm``.
    """

    default_lr: float
    default_clip_norm: float

    def __init__(self, cfg):
        super().__init__(cfg)
        rates = OmegaConf.to_container(cfg.lr) if OmegaConf.is_config(cfg.lr) else cfg.lr
        self._rate = rates[0] if isinstance(rates, list) else rates

    @classmethod
    def add_args(cls, parser):
        """Add the flags; --lr and --clip-norm, fairseq's own, get the defaults that suit BERT."""
        super().add_args(parser)
        parser.set_defaults(lr=str(cls.default_lr), clip_norm=cls.default_clip_norm)

    @property
    def optimizer_config(self):
        """What a checkpoint may override on resume."""
        return {"lr": self.get_lr()}

    def get_lr(self):
        """Return the common rate."""
        return self._rate

    def set_lr(self, lr):
        """Set the common rate; each group gets its part of it."""
        self._rate = lr
        apply_rate(self.optimizer, lr)

    def set_factors(self, factors):
        """Set what the common rate is multiplied by, for each group that is named."""
        set_factors(self.optimizer, factors)
        apply_rate(self.optimizer, self._rate)

    def step(self, closure=None, scale=1.0, groups=None):
        """Change the groups that do not rest."""
        let_rest(self.optimizer)
        super().step(closure, scale, groups)


def set_rate_factors(optimizer, factors, owner):
    """Give the groups of an optimiser, whatever wraps it for half precision, rates of their own.

    Args:
        optimizer: fairseq's.
        factors: what multiplies the common rate, by the groups' names.
        owner: the criterion that wants it, for messages.

    Raises:
        UserError: if the optimiser has one rate for all, or the student has other groups.
    """
    for wrapped in ("fp32_optimizer", "wrapped_optimizer"):
        optimizer = getattr(optimizer, wrapped, optimizer)
    if not isinstance(optimizer, GroupedOptimizer):
        raise UserError(
            f"{owner}: gives every layer a rate of its own, and {type(optimizer).__name__} has one for all; "
            "pass --optimizer bert_lamb or bert_adamw, or another --kd-strategy"
        )
    try:
        optimizer.set_factors(factors)
    except KeyError as error:
        raise UserError(
            f"{owner}: gives every layer a rate of its own, but the student's parameters are not grouped by "
            f"layers (no group {error}); take --arch mobilebert, or another --kd-strategy"
        ) from None


def two_rates(text, owner, flag):
    """Parse the two decay rates of a flag such as ``--adam-betas``.

    Raises:
        UserError: naming the flag.
    """
    try:
        betas = tuple(float(value) for value in str(text).strip("()[] ").split(","))
    except ValueError:
        betas = ()
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise UserError(f"{owner}: {flag} is {text!r}, give two numbers in [0, 1), such as (0.9, 0.999)")
    return betas


def refuse_negative(cfg, owner, *names):
    """Refuse settings below 0.

    Raises:
        UserError: naming the flag.
    """
    for name in names:
        if not getattr(cfg, name) >= 0:
            flag = name.replace("_", "-")
            raise UserError(f"{owner}: --{flag} is {getattr(cfg, name)}, it can't be negative")
