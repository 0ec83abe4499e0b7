"""What predictions are worth: accuracy, F1, the majority class, and answers read from generated text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import sqrt

_NORMAL_95 = 1.96
_ENDS = ("\n", "###")


def accuracy(labels: Sequence[int], predicted: Sequence[int | None]) -> float:
    """Share of ``predicted`` that equal ``labels``; None is wrong."""
    return sum(one == other for one, other in zip(labels, predicted, strict=True)) / len(labels)


def macro_f1(labels: Sequence[int], predicted: Sequence[int]) -> float:
    """Mean F1 of the labels that occur among ``labels`` or ``predicted``."""
    true, said = Counter(labels), Counter(predicted)
    right = Counter(one for one, other in zip(labels, predicted, strict=True) if one == other)
    occurring = true.keys() | said.keys()
    return sum(2 * right[label] / (true[label] + said[label]) for label in occurring) / len(occurring)


def micro_f1(labels: Sequence[int], predicted: Sequence[int]) -> float:
    """F1 of all decisions together, which is the accuracy where every row has one label and one prediction."""
    return accuracy(labels, predicted)


def majority(labels: Sequence[int]) -> float:
    """The accuracy of always saying the most frequent of ``labels``."""
    return Counter(labels).most_common(1)[0][1] / len(labels)


def interval(accuracies: Sequence[float], rows: Sequence[int]) -> float:
    """Half of the 95 % interval of the unweighted mean of ``accuracies``, each over so many independent rows (normal law)."""
    variance = sum(share * (1 - share) / count for share, count in zip(accuracies, rows, strict=True))
    return _NORMAL_95 * sqrt(variance) / len(accuracies)


def is_complete(text: str) -> bool:
    """Whether more text could not change how a generated answer is read: it has ended a line or begun a new heading."""
    return any(end in text.lstrip() for end in _ENDS)


def answer_in(text: str, labels: Sequence[str]) -> int | None:
    """The longest label with which a generated text begins, up to its first line end or ``###``; None where none does."""
    answer = text.strip()
    for end in _ENDS:
        answer = answer.split(end)[0]
    fitting = [place for place, label in enumerate(labels) if answer.startswith(label)]
    return max(fitting, key=lambda place: len(labels[place]), default=None)
