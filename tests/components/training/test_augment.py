from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from components.training.augment import change_texts

TEXTS = ["my phone battery drains fast", "refund", "there is no sound from the watch"]
WORDS = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=6).map(" ".join)


def test_the_seed_alone_decides_the_changes() -> None:
    assert change_texts(TEXTS, 3, seed=5) == change_texts(TEXTS, 3, seed=5)
    assert change_texts(TEXTS, 3, seed=5) != change_texts(TEXTS, 3, seed=6)
    assert change_texts(TEXTS, 0, seed=5) == []


@given(st.lists(WORDS, min_size=1, max_size=5), st.integers(0, 3), st.integers())
def test_each_copy_is_dropped_swapped_or_joined(texts: list[str], copies: int, seed: int) -> None:
    changed = change_texts(texts, copies, seed)
    assert len(changed) == copies * len(texts)
    for text, other in zip(texts * copies, changed, strict=True):
        words, others = text.split(), other.split()
        half = (len(words) + 1) // 2
        fewer, more = Counter(words), Counter(others)
        dropped = len(others) == len(words) - 1 and not more - fewer
        swapped = fewer == more
        joined = others[:half] == words[:half] and any(
            others[half:] == each.split()[len(each.split()) // 2 :] for each in texts
        )
        assert others
        assert dropped or swapped or joined


def test_every_kind_of_change_comes_up() -> None:
    text = "a b c d"
    changed = [each.split() for each in change_texts([text, "w x y z"], 40, seed=0)[::2]]
    assert any(len(each) == 3 for each in changed)
    assert any(sorted(each) == ["a", "b", "c", "d"] and each != text.split() for each in changed)
    assert ["a", "b", "y", "z"] in changed
