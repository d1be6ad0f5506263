"""The classic studies of recurrent networks, each as the steps that a flow runs."""

from rnn_core.commands import StudyName
from rnn_core.studies import agreement, direction, lengths, memory, sines, stacked, vanishing
from rnn_core.studies.study import Steps

STUDIES: dict[StudyName, Steps] = {
    "direction-from-scratch": direction.STUDY,
    "sine-next-value": sines.NEXT_VALUE,
    "sine-synced": sines.SYNCED,
    "sine-delayed": sines.DELAYED,
    "sine-bidirectional": sines.BIDIRECTIONAL,
    "classify-variable-length": lengths.STUDY,
    "stacked-from-scratch": stacked.STUDY,
    "memory-cell": memory.STUDY,
    "vanishing-gradient": vanishing.STUDY,
    "engines-agree": agreement.STUDY,
}
"""The studies by name."""
