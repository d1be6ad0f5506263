"""The classic lessons on recurrent networks, each as what the tasks of a flow need of it."""

from rnn_core.commands import StudyName
from rnn_core.studies import agreement, direction, lengths, memory, sines, stacked, vanishing
from rnn_core.studies.lesson import Lesson

LESSONS: dict[StudyName, Lesson] = {
    "direction-from-scratch": direction.LESSON,
    "sine-next-value": sines.NEXT_VALUE,
    "sine-synced": sines.SYNCED,
    "sine-delayed": sines.DELAYED,
    "sine-bidirectional": sines.BIDIRECTIONAL,
    "classify-variable-length": lengths.LESSON,
    "stacked-from-scratch": stacked.LESSON,
    "memory-cell": memory.LESSON,
    "vanishing-gradient": vanishing.LESSON,
    "engines-agree": agreement.LESSON,
}
"""The lessons by name."""
