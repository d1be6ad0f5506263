"""The classic lessons on recurrent networks, each as what the tasks of a flow need of it."""

from rnn_core.config import StudyName
from rnn_core.studies import direction
from rnn_core.studies.lesson import Lesson

LESSONS: dict[StudyName, Lesson] = {
    "direction-from-scratch": direction.LESSON,
}
"""The lessons by name."""
