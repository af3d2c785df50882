"""Which keywords of a call of a Hugging Face model have no effect.

transformers takes any keyword: a misspelt one changes nothing and is not told. So each of those that a call
of ours gives is left out in turn, after which what the call returns must be another.
"""

import functools
import inspect

import torch


@torch.no_grad()
def keywords_without_effect(called, call, least, *, idle=(), ours=lambda named: True):
    """Return the keywords that a call of ours gives to ``called`` and that leaving out changes nothing.

    ``call`` returns all its numbers as one vector; ``least`` are keywords that it must give, ``idle`` those
    that change no number: they must be parameters of ``called``. ``ours`` tells our calls from others.
    """
    given, forward, left_out = set(), called.forward, [None]

    @functools.wraps(forward)
    def watched(*args, **named):
        if not ours(named):
            return forward(*args, **named)
        given.update(named)
        return forward(*args, **{name: value for name, value in named.items() if name != left_out[0]})

    called.forward = watched
    whole, found = call(), []
    assert given >= least
    assert given.intersection(idle) <= inspect.signature(forward).parameters.keys()
    for name in sorted(given.difference(idle)):
        left_out[0] = name
        try:
            other = call()
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):  # that is an effect
            continue
        if other.shape == whole.shape and torch.allclose(other, whole, atol=1e-6):
            found.append(name)
    called.forward = forward
    return found
