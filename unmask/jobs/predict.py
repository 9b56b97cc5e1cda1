"""A fine-tuned model on new rows: what it says of each, with probabilities, or how well it does.

`predict` reads the task's own columns or, for one text, plain lines, from a file or from standard input; every row
in gives one object out, in order. `evaluate` scores a labelled file with the metrics of the training.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from unmask.errors import UnmaskError
from unmask.jobs.tuned import Note, load_task
from unmask.run import Run
from unmask.tasks import Answer, Classify, Examples, Pair, Tag, Task
from unmask.tasks.examples import Example
from unmask.tasks.questions import questions
from unmask.tasks.read import decode, kind_of, read_all, read_text, sentences, table
from unmask.training import Precision

Watch = Callable[[dict[str, Any]], None]
Row = dict[str, Any]
PORTION = 2048  # rows that are sorted by length together


class Tuned:
    """A fine-tuned model, loaded once. `folder` is a run of `finetune` or its model/.

    `precision`: fp32, or as in training bf16 where the processor multiplies it natively (auto), which moves a
    probability by less than 0.02.
    """

    def __init__(self, folder: Path, precision: Precision = "fp32") -> None:
        import torch

        from unmask.jobs.source import model_folder, open_source
        from unmask.tasks.networks import TaskModel
        from unmask.train import working_precision

        self.note: Note = load_task(model_folder(folder))
        source = open_source(folder)
        self.tokenizer, self.frame = source.tokenizer, source.frame
        model, fresh = source.loaded.around(
            lambda shape: self.note.task.network(shape, self.tokenizer.vocab, self.note.labels)
        )
        assert isinstance(model, TaskModel)
        if fresh:
            raise UnmaskError(
                f"{source.folder} lacks {', '.join(fresh)} — expected a whole model — fine-tune again"
            )
        model.gain = 1.0  # it stands in the weights
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device, working_precision(precision, self.device)).eval()

    def say(self, examples: Examples) -> list[Row]:
        """One prediction an example, in their order."""
        from unmask.jobs.adapt import outputs

        note = self.note
        windows = note.task.rows(
            examples,
            self.tokenizer,
            note.labels,
            self.frame,
            length=note.length,
            overlap=note.overlap,
            training=False,
        )
        said = outputs(note.task, self.model, windows.rows, self.tokenizer.vocab, self.device)
        return note.task.join(examples, windows.rows, said, note.labels)


def predict(
    run: Path, source: Path | str = "-", watch: Watch | None = None, *, precision: Precision = "auto"
) -> Iterator[Row]:
    """Predictions for every row of a file, or of standard input ("-"), one dict each, in order.

    classify: label and probabilities, or score; pair: the same; tag: words, tags, probabilities; answer: id, answer,
    start (character of the passage), probability and the best candidates. Raises `UnmaskError` for bad rows before
    the first prediction. `precision`: see `Tuned`.
    """
    tuned = Tuned(Path(run), precision)
    task = tuned.note.task
    if source == "-":
        where, text, kind = (
            "standard input",
            decode(read_all(sys.stdin.buffer, "standard input"), "standard input"),
            "",
        )
    else:
        where, text, kind = str(source), read_text(Path(source)), kind_of(Path(source))
        if isinstance(task, Tag) and not _COLUMNS & {suffix.lower() for suffix in Path(source).suffixes}:
            if kind in ("csv", "jsonl", "json"):
                raise UnmaskError(
                    f"{where} is a {kind} file — for tags a sentence a line was expected, or a word a line as in .conll"
                    " — take the texts out of it"
                )
            if not columned(text, tuned.note.labels.names):
                kind = ""
                if watch is not None:
                    watch({"event": "say", "text": f"{where}: a line is a sentence, as it has no columns"})
    examples = unlabelled(task, text, kind, where, characters=tuned.note.labels.characters)
    if watch is not None:
        notes = "".join(f"; {note}" for note in examples.notes)
        watch({"event": "say", "text": f"{where}: {len(examples)} rows{notes}"})
    for at in range(0, len(examples), PORTION):
        part = examples.items[at : at + PORTION]
        for item, said in zip(part, tuned.say(Examples(where, part)), strict=True):
            yield shown(task, item, said)


_COLUMNS = {".conll", ".conllu", ".bio", ".bmes", ".iob", ".iob2", ".tags"}  # names that promise columns


def shown(task: Task, item: Example, said: Row) -> Row:
    """A prediction with enough of its row to know it again."""
    if isinstance(task, Tag):
        return {"words": list(item.texts), "tags": said["tags"], "probabilities": said["probabilities"]}
    if isinstance(task, Answer):
        return {k: said[k] for k in ("id", "answer", "start", "probability", "candidates")}
    if isinstance(task, Pair):
        return {"text_a": item.texts[0], "text_b": item.texts[1], **said}
    return {"text": item.texts[0], **said}


def unlabelled(task: Task, text: str, kind: str, where: str, *, characters: bool = False) -> Examples:
    """The examples of a text in the task's own format; labels that stand in it are not looked at.

    Without a name that tells (standard input): JSON lines if the first line is an object, else for one text a row
    a line, for two texts a tab between them, for tags the words of a sentence divided by spaces, a sentence a line
    (where the model was trained on single `characters`, as in Chinese, every character is a word).
    """
    if isinstance(task, Answer):
        return task.examples(questions(text, where, labelled=False), where, False)
    lines = [(n, row.removesuffix("\r")) for n, row in enumerate(text.split("\n"), 1)]
    filled = [(n, row) for n, row in lines if row.strip()]
    blank = sum(not row.strip() for _, row in lines[:-1])  # after the last line's end there is nothing
    notes = (f"{blank} blank lines are no rows",) if blank else ()
    if isinstance(task, Tag):
        if kind:
            return task.examples(sentences(text, kind, where, labelled=False), where, False)
        words = [tuple("".join(row.split())) if characters else tuple(row.split()) for _, row in filled]
        items = tuple(Example(str(n), n, found, None) for (n, _), found in zip(filled, words, strict=True))
        return Examples(where, items, notes)
    assert isinstance(task, Classify | Pair)
    columns = [task.text] if isinstance(task, Classify) else [task.text_a, task.text_b]
    if kind in ("", "json"):
        kind = "jsonl" if kind or filled[0][1].lstrip().startswith("{") else "txt"
    if kind in ("csv", "tsv", "jsonl"):
        records = table(text, kind, columns, where)
        rows = [Example(str(r.line), r.line, tuple(r.cells[c] for c in columns), None) for r in records]
        return Examples(where, tuple(rows))
    return Examples(where, tuple(_plain(n, row, len(columns), where) for n, row in filled), notes)


def columned(text: str, names: Sequence[str]) -> bool:
    """Whether the lines of a .txt are words with columns, as in training, and not sentences.

    Tabs say so, or as many cells in every line with a tag of the model in the last; or words alone, a blank line
    between sentences.
    """
    lines = text.strip().split("\n")
    cells = [line.split() for line in lines if line.strip()]
    alike = len({len(own) for own in cells}) == 1
    if "\t" in text or not alike:
        return "\t" in text
    return len(cells) < len(lines) if len(cells[0]) == 1 else all(own[-1] in names for own in cells)


def _plain(line: int, row: str, parts: int, where: str) -> Example:
    texts: Sequence[str] = row.split("\t") if parts > 1 else [row]
    if len(texts) != parts:
        raise UnmaskError(f"{where}, line {line}: {len(texts)} texts — expected {parts}, divided by a tab")
    return Example(str(line), line, tuple(texts), None)


def evaluate(run: Path, file: Path) -> dict[str, Any]:
    """Scores × 100 of a fine-tuned model on a labelled file.

    In a run folder they are kept as evaluation/evaluate-FILE.json too (for a second file of one name, with a hash of
    its path). Raises `UnmaskError` for bad rows and for labels that the model does not know.
    """
    tuned = Tuned(Path(run))
    task, labels = tuned.note.task, tuned.note.labels
    examples = task.read(Path(file))
    task.check(examples, labels)
    scores = task.score(tuned.say(examples), examples, labels)
    leading = task.leading(labels)
    found = {"task": task.NAME, "file": str(file), "rows": len(examples), "metric": leading, "scores": scores}
    if (Path(run) / "run.json").is_file():  # a model folder from elsewhere has no place for it
        kept, name = Run.open(run), f"evaluate-{Path(file).name}"
        before = kept.evaluations().get(name, found)  # perhaps of another file of that name
        if before["file"] != str(file):
            name += f"-{hashlib.sha256(str(file).encode()).hexdigest()[:6]}"
        kept.save_evaluation(name, found)
    return found
