"""The six prompts letter by letter, their labels, the made tasks, and what is cut where a prompt is too long."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.tasks._multitask.datasets import DATASETS, NEWSGROUPS
from trainables.tasks._multitask.prompts import Prompt
from trainables.tasks._multitask.synthetic import WORDS, Language, synthetic_examples
from trainables.tasks._multitask.truncation import fitted

ROWS = {
    "20_newsgroups": {"text": "A puck."},
    "boolq": {"question": "is ice cold", "passage": "Ice is cold."},
    "copa": {"premise": "It rained.", "choice1": "It is wet.", "choice2": "It is dry.", "question": "effect"},
    "cb": {"premise": "I doubt it.", "hypothesis": "It is so."},
    "race_high": {"article": "Ann ran.", "question": "Who ran?", "options": ["Ann", "Bob", "Cid", "Dan"]},
    "qnli": {"question": "Who ran?", "sentence": "Ann ran."},
}
PROMPTS = {
    "20_newsgroups": "### Sentence:A puck. ### Class:",
    "boolq": "Read the passage and answer the question with true or false. "
    "### Question:is ice cold ### Passage: Ice is cold. ### Answer:",
    "copa": "### Premise:It rained. ### Choice1:It is wet. ### Choice2:It is dry. ### Question:effect ### Choice:",
    "cb": "### Premise:I doubt it. ### Hypothesis:It is so. ### Relationship (entailment, contradiction or neutral):",
    "race_high": "Read the context and answer the question. ### Context:Ann ran. ### Question:Who ran? "
    "### Options:A.Ann. B.Bob. C.Cid. D.Dan### Choice:",
    "qnli": "### Premise:Who ran? ### Hypothesis:Ann ran. ### Relationship ('entailment' and 'not entailment'):",
}
CONTEXTS = ("text", "passage", "premise", "premise", "article", "sentence")


@pytest.mark.parametrize("name", DATASETS)
def test_each_prompt_is_laid_out_as_published(name: str) -> None:
    prompt = DATASETS[name].prompt(ROWS[name])
    assert prompt.text == PROMPTS[name]
    assert prompt.context == ROWS[name][CONTEXTS[list(DATASETS).index(name)]]


def test_the_labels_are_those_of_the_public_datasets_in_the_order_of_their_numbers() -> None:
    labels = {name: dataset.labels for name, dataset in DATASETS.items()}
    assert labels.pop("20_newsgroups") == NEWSGROUPS == tuple(sorted(NEWSGROUPS)) and len(set(NEWSGROUPS)) == 20
    assert labels == {
        "boolq": ("false", "true"),
        "copa": ("Choice1", "Choice2"),
        "cb": ("entailment", "contradiction", "neutral"),
        "race_high": ("A", "B", "C", "D"),
        "qnli": ("entailment", "not_entailment"),
    }


def test_a_question_without_four_options_has_no_prompt() -> None:
    with pytest.raises(ValueError, match="four options, not 3"):
        DATASETS["race_high"].prompt({**ROWS["race_high"], "options": ["a", "b", "c"]})


TEXTS = st.text(st.sampled_from("ab é\n#"), max_size=30)


@settings(deadline=None)
@given(before=TEXTS, context=TEXTS, after=TEXTS, room=st.integers(0, 120))
def test_a_prompt_that_is_too_long_loses_the_end_of_its_context_alone(before: str, context: str, after: str, room: int) -> None:
    prompt = Prompt(before, context, after)
    fixed = len((before + after).encode())
    if fixed > room:
        with pytest.raises(ValueError, match=f"has {fixed} tokens without its context"):
            fitted(prompt, room, lambda text: len(text.encode()))
        return
    cut = fitted(prompt, room, lambda text: len(text.encode()))
    assert (cut.before, cut.after) == (before, after) and context.startswith(cut.context)
    assert len(cut.text.encode()) <= room
    longer = prompt.cut(len(cut.context) + 1)
    assert cut == prompt or len(longer.text.encode()) > room, "no more is cut than must be"


def test_what_is_cut_fits_also_where_more_characters_make_fewer_tokens() -> None:
    def count(text: str) -> int:
        return len(text.replace("abcd", "."))

    for room in range(1, 12):
        cut = fitted(Prompt("", "abcabcdabcabcd", "!"), room, count)
        assert count(cut.text) <= room and cut.after == "!"


def test_the_vocabulary_has_200_words_and_the_made_texts_no_others() -> None:
    assert len(WORDS) == len(set(WORDS)) == 200
    for example in synthetic_examples("20_newsgroups", 3, 500, 100).train:
        assert set(example.prompt.context.split()) <= set(WORDS)


@pytest.mark.parametrize("name", DATASETS)
def test_made_rows_are_distinct_short_and_balanced(name: str) -> None:
    examples = synthetic_examples(name, 0, 5000, 1000)
    assert (len(examples.train), len(examples.validation)) == (500, 100)
    rows = [example.prompt.text for example in examples.train + examples.validation]
    assert len(set(rows)) == 600 and max(map(len, rows)) <= 150
    labels = [example.label for example in examples.train]
    kinds = len(DATASETS[name].labels)
    assert set(labels) == set(range(kinds)) and max(map(labels.count, labels)) < 1.6 * len(labels) / kinds


def test_made_rows_follow_from_the_seed_and_caps_take_the_first() -> None:
    first, again, other = (synthetic_examples("cb", seed, 500, 100) for seed in (0, 0, 1))
    assert first == again and first != other
    capped = synthetic_examples("cb", 0, 20, 10)
    assert capped.train == first.train[:20] and capped.validation == first.validation[:10]


def word_behind(text: str, mark: str) -> str:
    return text.split(mark)[1].split()[0].rstrip("?.")


def test_the_label_of_a_made_row_follows_from_its_text() -> None:
    language = Language(5)
    for name in DATASETS:
        for example in synthetic_examples(name, 5, 100, 1).train:
            assert DATASETS[name].labels[example.label] == RULES[name](language, example.prompt), example


def newsgroup(language: Language, prompt: Prompt) -> str:
    topics = [place for place, topic in enumerate(language.topics) for word in topic if word in prompt.context.split()]
    assert len(set(topics)) == 1
    return NEWSGROUPS[topics[0]]


def copa(language: Language, prompt: Prompt) -> str:
    (event,) = [place for place, word in enumerate(language.events) if word in prompt.context.split()]
    wanted = {"cause": language.causes, "effect": language.effects}[word_behind(prompt.after, "Question:")][event]
    return next(choice for choice in ("Choice1", "Choice2") if word_behind(prompt.after, f"{choice}:") == wanted)


def cb(language: Language, prompt: Prompt) -> str:
    said = prompt.after.split("Hypothesis:")[1].split(" ###")[0].split()
    denied = said[0] == "not"
    return "neutral" if said[-1] not in prompt.context.split() else "contradiction" if denied else "entailment"


def race(language: Language, prompt: Prompt) -> str:
    (right,) = [letter for letter in "ABCD" if prompt.after.split(f"{letter}.")[1][:3] in prompt.context.split()]
    return right


def qnli(language: Language, prompt: Prompt) -> str:
    asked = ("who?", "where?", "when?").index(prompt.before.split("Premise:")[1].split()[0])
    return "entailment" if set(language.kinds[asked]) & set(prompt.context.split()) else "not_entailment"


RULES = {
    "20_newsgroups": newsgroup,
    "boolq": lambda _, prompt: str(word_behind(prompt.before, "is there ") in prompt.context.split()).lower(),
    "copa": copa,
    "cb": cb,
    "race_high": race,
    "qnli": qnli,
}
