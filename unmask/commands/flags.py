"""The fields of a frozen dataclass become options of a command, and the options the dataclass again.

A recipe, a task and the training settings are dataclasses; a command names one as a parameter and ``expand`` puts
its fields in that place, in a help group of their own. The type of a field, its default and the words in its
``Annotated[float, "share of the tokens"]`` are all that the help needs: there is no second list of options.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from cyclopts import Group, Parameter

from unmask.settings import from_json, seconds, show_seconds

DURATIONS = frozenset({"budget", "checkpoint_every"})  # fields in seconds that are written as 5m, 8h
OWN = frozenset({"out", "like", "replay"})  # what a run does not take over from another
EITHER = ("steps", "budget")  # whoever gives one of these does not want the other from an older run


@dataclasses.dataclass(frozen=True)
class Fields:
    """A dataclass whose fields stand for one parameter of a command.

    ``defaults`` replaces defaults of the class (another run's settings); ``shown`` says what a field that is
    None stands for.
    """

    cls: Any
    group: str
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    shown: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    order: int = 0


def duration(kind: Any, tokens: Sequence[Any]) -> float:
    """Cyclopts' converter for durations."""
    return seconds(tokens[0].value)


def expand(
    command: Callable[..., Any], given: Mapping[str, Fields], past: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """The command with each parameter that ``given`` names replaced by the fields of its dataclass.

    ``past`` gives other defaults to the command's own parameters: another run's settings.
    """
    signature = inspect.signature(command, eval_str=True)
    old = {name: value for name, value in (past or {}).items() if name not in OWN and value is not None}
    own = [
        parameter.replace(default=from_json(parameter.annotation, old[name], f"the past run's {name}"))
        if name in old
        else parameter
        for name, parameter in signature.parameters.items()
        if name not in given
    ]
    changed = {parameter.name: parameter.default for parameter in own if parameter.name in old}
    made = [flag for fields in given.values() for flag in flags(fields)]
    parameters = sorted([*own, *made], key=lambda parameter: parameter.kind)
    names = [parameter.name for parameter in parameters]
    assert len(names) == len(set(names)), f"two options of one name: {sorted(names)}"

    @wraps(command)
    def call(*arguments: Any, **options: Any) -> Any:
        bound = inspect.Signature(parameters).bind(*arguments, **options).arguments
        values = {**changed, **{name: value for name, value in bound.items() if name in signature.parameters}}
        for name, fields in given.items():
            values[name] = collect(fields, bound)
        alone = [name for name, own in signature.parameters.items() if own.kind is own.POSITIONAL_ONLY]
        first = [values.pop(name) for name in alone if name in values]
        return command(*first, **values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def collect(fields: Fields, options: Mapping[str, Any]) -> Any:
    """The dataclass from the options that were given, and for the others from the defaults."""
    names = [field.name for field in dataclasses.fields(fields.cls)]
    chosen = {name: options[name] for name in names if name in options}
    rest = {name: value for name, value in fields.defaults.items() if name in names and name not in chosen}
    if any(chosen.get(name) is not None for name in EITHER):
        rest = {name: value for name, value in rest.items() if name not in EITHER}
    return fields.cls(**rest, **chosen)


def flags(fields: Fields) -> list[inspect.Parameter]:
    """One keyword-only parameter a field, in their order."""
    hints = get_type_hints(fields.cls, include_extras=True)
    group = Group(fields.group, sort_key=fields.order)
    return [
        _flag(field, hints[field.name], fields, group)
        for field in dataclasses.fields(fields.cls)
        if field.init
    ]


def _flag(field: dataclasses.Field[Any], hint: Any, fields: Fields, group: Group) -> inspect.Parameter:
    kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    words = next((note for note in notes if isinstance(note, str)), None)
    default = field.default
    if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    default = fields.defaults.get(field.name, default)
    if isinstance(default, list):
        default = tuple(default)
    required = default is dataclasses.MISSING
    timed = field.name in DURATIONS
    stands = fields.shown.get(field.name) if default is None else None

    def show(value: Any) -> str:
        value = stands if value is None else value
        return show_seconds(value) if timed else str(value)

    parameter = Parameter(
        help=words,
        group=group,
        converter=duration if timed else None,
        negative=None if kind is bool else "",
        show_default=False if required or (default is None and stands is None) else show,
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else default,
        annotation=Annotated[kind, parameter],
    )
