"""Sines: the next value of a wave, and its cosine at every step, with a delay or read both ways.

The derivative of sin(ωt + φ) by its phase is cos(ωt + φ). A network that is shown the sine step by
step cannot know the cosine at the first step: a rising and a falling wave pass through the same
value. The last three studies are about ways around that.
"""

from rnn_core.studies.sines.cosines import BIDIRECTIONAL, DELAYED, SYNCED
from rnn_core.studies.sines.next_value import NEXT_VALUE
from rnn_core.studies.sines.waves import DELAY, SEEN, STEPS

__all__ = ["BIDIRECTIONAL", "DELAY", "DELAYED", "NEXT_VALUE", "SEEN", "STEPS", "SYNCED"]
