"""The form that publishes a run, below the preview of what that does."""

from collections.abc import Mapping, Sequence

from pipeline.web.schemas import Publish


def publication_of(fields: Mapping[str, Sequence[str]]) -> Publish:
    """Return what to publish: the tasks that are ticked, or all if nothing was left out.

    Labels and reviewers are separated by commas or spaces.

    Raises:
        ValidationError: A field is wrong.
    """
    chosen = [name for names in fields.get("task", ()) for name in names.split()]
    shown = fields.get("shown", [""])[-1]
    return Publish(
        tasks=[] if str(len(fields.get("task", ()))) == shown else chosen,
        labels=_names(fields, "labels"),
        reviewers=_names(fields, "reviewers"),
        draft="draft" in fields,
    )


def _names(fields: Mapping[str, Sequence[str]], name: str) -> list[str]:
    return [part for value in fields.get(name, ()) for part in value.replace(",", " ").split()]
