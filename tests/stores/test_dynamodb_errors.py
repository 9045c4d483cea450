"""What DynamoDB refuses, as the application hears of it; and what is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from dynamodb_answers import Answer, Script, refusal, scripted
from records import new_change, new_key, new_record

from holdfast._colour import run
from holdfast.errors import Conflict, SessionTooLarge, StoreError, StoreThrottled, StoreUnavailable
from holdfast.stores import _dynamodb_items as items
from holdfast.stores import from_url
from holdfast.stores.dynamodb import DynamoDBStore
from holdfast.stores.guard import Guard
from servers.process import PATIENCE_SECONDS

NOTHING: Answer = (200, {})


@pytest.fixture
def script() -> Iterator[Script]:
    """A DynamoDB of the test's own words."""
    with scripted() as script:
        yield script


def in_both_colours(script: Script, answers: list[Answer | None], call: str = "load") -> list[Any]:
    """What the call comes to, or the error that it raises, by hand and on a loop, each with these answers."""
    outcomes: list[Any] = []

    async def attempt() -> None:
        store = from_url(f"{script.url}&timeout={PATIENCE_SECONDS}")
        guard = Guard(store)
        try:
            if call == "load":
                outcomes.append(await guard.load("k" * 16))
            elif call == "commit":
                outcomes.append(await guard.commit("k" * 16, new_change(set={"n": b"1"})))
            else:
                outcomes.append(await guard.create("k" * 16, new_record()))
        except Exception as error:
            outcomes.append(error)
        await guard.aclose()

    script.answers = list(answers)
    run(attempt())
    script.answers = list(answers)
    asyncio.run(attempt())
    return outcomes


MEANINGS = [
    ("ProvisionedThroughputExceededException", 400, StoreThrottled, "slow down"),
    ("ThrottlingException", 400, StoreThrottled, "slow down"),
    ("RequestLimitExceeded", 400, StoreThrottled, "slow down"),
    ("TransactionConflictException", 400, StoreThrottled, "slow down"),
    ("ExpiredTokenException", 400, StoreUnavailable, "credentials have expired"),
    ("UnrecognizedClientException", 400, StoreUnavailable, "does not accept the credentials"),
    ("InvalidSignatureException", 400, StoreUnavailable, "does not accept the credentials"),
    ("AccessDeniedException", 400, StoreError, "rights"),
    ("ResourceNotFoundException", 400, StoreError, "holdfast provision"),
    ("InternalServerError", 500, StoreUnavailable, "not available"),
    ("ServiceUnavailable", 503, StoreUnavailable, "not available"),
    ("SomethingNew", 400, StoreError, "SomethingNew"),
]


@pytest.mark.parametrize(("code", "status", "kind", "says"), MEANINGS, ids=[row[0] for row in MEANINGS])
def test_a_refusal_has_its_meaning(
    script: Script, code: str, status: int, kind: type[Exception], says: str
) -> None:
    """Each of DynamoDB's errors becomes one of ours that says what to do, with botocore's as its cause."""
    for error in in_both_colours(script, [refusal(code, status)] * 4, "commit"):
        assert isinstance(error, kind)
        assert kind is not StoreError or not isinstance(error, StoreThrottled | StoreUnavailable)
        assert says in str(error)
        assert error.__cause__ is not None


@pytest.mark.parametrize(
    "message",
    [
        "Item size has exceeded the maximum allowed size",
        "Item size to update has exceeded the maximum allowed size",
    ],
)
def test_an_item_that_is_too_large_is_a_session_that_is(script: Script, message: str) -> None:
    """Where DynamoDB finds more to count than we did, it is told as a session that is too large."""
    for error in in_both_colours(script, [refusal("ValidationException", message=message)], "commit"):
        assert type(error) is SessionTooLarge


def test_what_was_throttled_is_tried_again(script: Script) -> None:
    """A throttled change was not done: it is sent again after a pause, at most three times."""
    slow = refusal("ThrottlingException")
    assert in_both_colours(script, [slow, slow, NOTHING], "create") == [True, True]
    assert script.operations == ["PutItem"] * 6


def test_a_change_whose_answer_was_lost_is_not_sent_again(script: Script) -> None:
    """It may have been applied, and others may have changed the session since."""
    for error in in_both_colours(script, [None], "commit"):
        assert type(error) is StoreUnavailable
    assert script.operations == ["UpdateItem"] * 2


def test_a_read_whose_answer_was_lost_is_sent_once_more(script: Script) -> None:
    """A connection that stayed open for long may be closed at the other end: the visitor does not notice."""
    assert in_both_colours(script, [None, NOTHING]) == [None, None]
    assert script.operations == ["GetItem"] * 4
    for error in in_both_colours(script, [None, None]):
        assert type(error) is StoreUnavailable


def test_without_credentials_the_store_is_not_available(
    script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Credentials are not looked for at construction; a call without any says so."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for error in in_both_colours(script, []):
        assert type(error) is StoreUnavailable
        assert "no AWS credentials" in str(error)
    assert script.asked == []


def test_what_is_stored_comes_with_the_refusal(script: Script) -> None:
    """A conflict is told from what DynamoDB says with its refusal, without another read."""
    record = new_record()._replace(version=7, values={})
    stored = items.item_of("k", record, record.created_at)
    stored["t"] = {"B": "AAAAAAAAAAA="}
    script.answers = [refusal("ConditionalCheckFailedException", Item=stored)]
    store = from_url(script.url)
    with pytest.raises(Conflict) as conflict:
        run(store.commit("k", new_change(base=3)))
    assert conflict.value.current.version == 7
    assert script.operations == ["UpdateItem"]


def test_a_refusal_that_no_longer_holds_is_not_the_last_word(script: Script) -> None:
    """Where the record read after a refusal would take the change, the change is tried again."""
    record = new_record(values={})
    stored = items.item_of("k", record, record.created_at) | {"t": {"B": "AAAAAAAAAAA="}}
    script.answers = [
        refusal("ConditionalCheckFailedException"),
        (200, {"Item": stored}),
        (200, {"Attributes": stored | {"v": {"N": "2"}}}),
    ]
    assert run(from_url(script.url).commit("k", new_change())).version == 2
    assert script.operations == ["UpdateItem", "GetItem", "UpdateItem"]


def test_what_a_batch_leaves_is_asked_for_again(script: Script) -> None:
    """A list of a user's sessions is whole, or an error: never a part of it."""
    records = {key: new_record(owner="ann", values={}) for key in ("a" * 8, "b" * 8)}
    found = [
        items.item_of(key, record, record.created_at) | {"t": {"B": "AAAAAAAAAAA="}}
        for key, record in records.items()
    ]
    keys = [{"id": {"S": key}} for key in records]
    script.answers = [
        (200, {"Items": keys[:1], "LastEvaluatedKey": {"id": keys[0]["id"], "o": {"S": "=ann"}}}),
        (200, {"Responses": {"sessions": []}, "UnprocessedKeys": {"sessions": {"Keys": keys[:1]}}}),
        (200, {"Responses": {"sessions": found[:1]}, "UnprocessedKeys": {}}),
        (200, {"Items": keys[1:]}),
        (200, {"Responses": {"sessions": found[1:]}, "UnprocessedKeys": {}}),
    ]
    store = from_url(script.url)
    assert isinstance(store, DynamoDBStore)
    assert set(run(store.of("ann"))) == set(records)
    assert script.operations == ["Query", "BatchGetItem", "BatchGetItem", "Query", "BatchGetItem"]
    assert script.asked[1][1]["RequestItems"]["sessions"]["ConsistentRead"] is True


def test_the_key_is_all_that_names_a_session(script: Script) -> None:
    """What is sent has the hash of the identity and the table, and no other name of a session."""
    script.answers = [NOTHING]
    key = new_key()
    run(from_url(script.url).load(key))
    assert script.asked == [
        ("GetItem", {"TableName": "sessions", "Key": {"id": {"S": key}}, "ConsistentRead": True})
    ]
