"""What DynamoDB's refusals mean. botocore has one exception for all of them, told apart by a code."""

from __future__ import annotations

from typing import Any

from botocore import exceptions

from ..errors import SessionTooLarge, StoreError, StoreThrottled, StoreUnavailable

# botocore's own errors that mean "not reached": the connection failed, or there is nothing to sign a request with.
CONNECTION_LOST: tuple[type[Exception], ...] = (exceptions.ConnectionError, exceptions.HTTPClientError)
_NO_CREDENTIALS: tuple[type[Exception], ...] = (
    exceptions.CredentialRetrievalError,
    exceptions.MetadataRetrievalError,
    exceptions.NoAuthTokenError,
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)
UNAVAILABLE = (*CONNECTION_LOST, *_NO_CREDENTIALS)

_THROTTLED = {
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "TransactionConflictException",
    "TransactionInProgressException",
    "ReplicatedWriteConflictException",
}
_EXPIRED = {"ExpiredTokenException", "ExpiredToken", "RequestExpired"}
_UNKNOWN_CREDENTIALS = {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignatureException",
    "IncompleteSignature",
    "MissingAuthenticationTokenException",
    "MissingAuthenticationToken",
    "AuthFailure",
}
_DENIED = {"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
_NO_TABLE = {"ResourceNotFoundException", "TableNotFoundException"}
_DOWN = {"InternalServerError", "InternalFailure", "ServiceUnavailable", "ServiceUnavailableException"}


class Refused(Exception):
    """A condition did not hold. `item` is what is stored, where DynamoDB has said so. It does not leave the store."""

    def __init__(self, item: dict[str, Any] | None) -> None:
        super().__init__("a condition did not hold")
        self.item = item


class TableMissing(StoreError):
    """The table, or its index, is not there."""


def translated(error: exceptions.ClientError, table: str) -> Exception:
    """The error of ours, or `Refused`, that says what DynamoDB's answer means."""
    answer: dict[str, Any] = dict(error.response)
    code = str(answer.get("Error", {}).get("Code", ""))
    text = str(answer.get("Error", {}).get("Message", ""))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "ConditionalCheckFailedException":
        return Refused(answer.get("Item"))
    if code in _THROTTLED or status == 429:
        return StoreThrottled(f"DynamoDB asks to slow down: {code}")
    if code in _EXPIRED:
        return StoreUnavailable(f"the AWS credentials have expired: {code}")
    if code in _UNKNOWN_CREDENTIALS:
        return StoreUnavailable(f"AWS does not accept the credentials: {code}")
    if code in _NO_TABLE:
        return TableMissing(
            f"there is no table or index for {table} in this region and account: run `holdfast provision`"
        )
    if code in _DENIED:
        return StoreError(
            f"the AWS credentials do not give the rights that table {table} needs: `holdfast provision "
            "--print cloudformation` prints a policy"
        )
    if status == 413 or (code == "ValidationException" and "size" in text and "exceed" in text):
        return SessionTooLarge("the session does not fit into a DynamoDB item, which holds 400 KB")
    if status >= 500 or code in _DOWN:
        return StoreUnavailable(f"DynamoDB is not available: {code or status}")
    return StoreError(f"DynamoDB refused: {code}")


def explained(error: Exception) -> Exception:
    """An error of botocore's itself, or one of ours that says more."""
    if isinstance(error, _NO_CREDENTIALS):
        return StoreUnavailable(
            f"there are no AWS credentials to sign a request with: {type(error).__name__}"
        )
    return error
