"""The model card beside a run's weights: what it is, what it read, how to open it. Written from run.json alone."""

from __future__ import annotations

from typing import Any

from unmask.run import Run


def write_card(run: Run) -> None:
    """Write model/README.md in the form that model hubs read (a YAML head, then Markdown)."""
    about = run.about
    corpus: dict[str, Any] = about.get("corpus", {})
    looks = [m["heldout"] for m in run.metrics() if "heldout" in m]
    settings = run.settings
    name = settings["recipe"]["name"]
    lines = [
        "---",
        "library_name: transformers",
        "tags: [unmask, fill-mask]",
        "---",
        f"# {about['name']}",
        "",
        f"A {settings['size']} encoder, pre-trained from scratch with the recipe `{name}` of unmask {about['unmask']}."
        if not settings.get("source")
        else f"An encoder that went on from `{settings['source']}` by the recipe `{name}` of unmask {about['unmask']}.",
        "",
        f"- parameters: {about['parameters']:,}",
        f"- text: {corpus.get('documents', 0):,} documents, {corpus.get('tokens', 0):,} tokens "
        f"(fingerprint `{corpus.get('fingerprint', '')}`)",
    ]
    if looks and "mlm" in looks[-1]:
        lines.append(
            f"- held-out masked loss: {looks[-1]['mlm']:.3f} nats "
            f"(all words alike: {about['lines']['uniform']:.3f}; by frequency alone: {about['lines']['unigram']:.3f})"
        )
    lines += [
        "",
        "```python",
        "from transformers import AutoModelForMaskedLM, AutoTokenizer",
        'tokenizer = AutoTokenizer.from_pretrained("model")',
        'model = AutoModelForMaskedLM.from_pretrained("model")',
        "```",
        "",
        f"Repeat: `{about['command'] or about['call']}`",
        "",
        "It was trained on the text above"
        + (", after what its source had read" if settings.get("source") else " and nothing else")
        + "; what that text gets wrong or leaves out, it does too.",
        "",
    ]
    (run.folder / "model" / "README.md").write_text("\n".join(lines), encoding="utf-8")
