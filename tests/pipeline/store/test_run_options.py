"""Test the JSON columns of a run, whose keys are part of the stored format."""

import json

from pipeline.store.run_options import Committer, PublishOptions, Selection, StoredCall

SETTINGS = {
    "remote": "up",
    "github": "example/repo",
    "labels": ["a", "b"],
    "reviewers": ["me"],
    "secrets": ["KEY"],
    "draft": True,
    "auto_merge": True,
    "allow_unpushed": True,
    "agent": "claude",
    "publish": True,
    "pull_request": "group",
}
CALL = {
    "flags": {"pool_size": 2, "labels": ["a"], "branch": "{plan}/{task}"},
    "selection": {"start_batch": 1, "end_batch": 2, "tasks": ["1.1"], "with_needed": False},
    "notify": True,
    "masked": True,
    "who": {"name": "A", "email": "a@example.com", "offset": "+0200"},
    "served": True,
    "trusted": ["digest"],
    "remote_urls": ["https://github.com/example/repo", "ssh://github.com/example/repo"],
}


def test_publish_options_keep_their_json_keys() -> None:
    options = PublishOptions.from_json(json.dumps(SETTINGS))
    assert (options.remote, options.labels, options.secrets) == ("up", ("a", "b"), ("KEY",))
    assert json.loads(options.as_json) == SETTINGS


def test_stored_call_keeps_its_json_keys() -> None:
    call = StoredCall.from_json(json.dumps(CALL))
    assert call.selection == Selection(1, 2, ("1.1",))
    assert call.committer == Committer("A", "a@example.com", "+0200")
    assert json.loads(call.as_json) == CALL


def test_missing_keys_of_older_versions_have_defaults() -> None:
    assert PublishOptions.from_json('{"remote": null}') == PublishOptions()
    assert StoredCall.from_json(None) == StoredCall.from_json("{}") == StoredCall()
    assert StoredCall.from_json('{"flags": null, "selection": null, "who": null}') == StoredCall()
