"""A Firestore for tests, as a process of its own that listens on the port it is given.

It speaks Firestore's own protocol on the loopback interface, by the rules that Google documents for it, and keeps
everything in memory. Left out: listening, pipelines, security rules, indexes of several fields, and transactions that
lock (one that has read what was changed since fails when it commits).

Two methods are its own, with JSON in and out: `/holdfast.tests/Units` tells what Firestore would have charged for so
far, and `/holdfast.tests/Fail` lets the next calls of a method fail: before they are carried out, or after that.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.cloud import firestore_admin_v1 as admin
from google.cloud.firestore_v1 import types
from google.longrunning.operations_pb2 import Operation
from google.protobuf.empty_pb2 import Empty
from google.rpc.status_pb2 import Status

from .firestore_admin import Administration
from .firestore_documents import Documents, State
from .firestore_query import found
from .firestore_refusals import Refusal, invalid

DATABASES = ("(default)", "other")
_HOUR_MICROSECONDS = 3600 * 1_000_000

Transaction = dict[str, int]  # what it has read: names of documents, and when they were updated


class Firestore:
    """The methods of the service. Those that give several messages are generators."""

    def __init__(self) -> None:
        self.administration = Administration(DATABASES)
        self.documents = Documents(self.administration.exempt)
        self._transactions: dict[bytes, Transaction] = {}

    def get_document(self, request: Any) -> Any:
        self.administration.check_database(request.name.split("/documents/")[0])
        self.documents.units["reads"] += 1
        state = self._read(request.name, request)
        if state is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f'Document "{request.name}" not found.')
        return _document(request.name, state)

    def batch_get_documents(self, request: Any) -> Iterator[Any]:
        self.administration.check_database(request.database)
        with self.documents.lock:
            states = {name: self._read(name, request) for name in request.documents}
            at = self.documents.now()
        for name, state in states.items():
            self.documents.units["reads"] += 1  # one that is missing is charged for too
            if state is None:
                answer = types.BatchGetDocumentsResponse.pb()(missing=name)
            else:
                answer = types.BatchGetDocumentsResponse.pb()(found=_document(name, state))
            answer.read_time.FromMicroseconds(at)
            yield answer

    def commit(self, request: Any) -> Any:
        self.administration.check_database(request.database)
        read = self._transactions.pop(request.transaction, None)
        if request.transaction and read is None:
            raise invalid("The referenced transaction has expired or is no longer valid.")
        applied = self.documents.commit(request.database, request.writes, read)
        answer = types.CommitResponse.pb()(write_results=applied.results)
        answer.commit_time.FromMicroseconds(applied.time)
        return answer

    def batch_write(self, request: Any) -> Any:
        self.administration.check_database(request.database)
        names = [write.update.name or write.delete for write in request.writes]
        if len(set(names)) != len(names):
            raise invalid("a batch writes a document once at most")
        answer = types.BatchWriteResponse.pb()()
        for write in request.writes:
            try:
                (result,) = self.documents.commit(request.database, [write]).results
                answer.write_results.append(result)
                answer.status.append(Status())
            except Refusal as refusal:
                answer.write_results.add()
                answer.status.append(Status(code=refusal.code.value[0], message=refusal.text))
        return answer

    def begin_transaction(self, request: Any) -> Any:
        self.administration.check_database(request.database)
        name = uuid.uuid4().bytes
        self._transactions[name] = {}
        return types.BeginTransactionResponse.pb()(transaction=name)

    def rollback(self, request: Any) -> Any:
        if self._transactions.pop(request.transaction, None) is None:
            raise invalid("The referenced transaction has expired or is no longer valid.")
        return Empty()

    def run_query(self, request: Any) -> Iterator[Any]:
        self.administration.check_database(request.parent.split("/documents")[0])
        answer: Any = None
        for name, state in found(self.documents, request.parent, request.structured_query, self._at(request)):
            self.documents.units["reads"] += 1
            answer = types.RunQueryResponse.pb()(document=_document(name, state))
            answer.read_time.FromMicroseconds(self.documents.now())
            yield answer
        if answer is None:
            self.documents.units["reads"] += 1  # an empty answer is charged for too
            answer = types.RunQueryResponse.pb()()
            answer.read_time.FromMicroseconds(self.documents.now())
            yield answer

    def run_aggregation_query(self, request: Any) -> Iterator[Any]:
        self.administration.check_database(request.parent.split("/documents")[0])
        query = request.structured_aggregation_query
        number = len(found(self.documents, request.parent, query.structured_query, self._at(request)))
        self.documents.units["reads"] += max(1, -(-number // 1000))
        answer = types.RunAggregationQueryResponse.pb()()
        for aggregation in query.aggregations:
            if not aggregation.HasField("count"):
                raise invalid("this server can only count")
            answer.result.aggregate_fields[aggregation.alias or "field_1"].integer_value = number
        answer.read_time.FromMicroseconds(self.documents.now())
        yield answer

    def _read(self, name: str, request: Any) -> State | None:
        state = self.documents.state(name, self._at(request))
        if request.transaction:
            if request.transaction not in self._transactions:
                raise invalid("The referenced transaction has expired or is no longer valid.")
            self._transactions[request.transaction][name] = 0 if state is None else state.updated
        return state

    def _at(self, request: Any) -> int | None:
        if not request.HasField("read_time"):
            return None
        at = int(request.read_time.ToMicroseconds())
        if request.read_time.nanos % 1000 or not 0 <= self.documents.now() - at < _HOUR_MICROSECONDS:
            raise invalid("read_time has to be whole microseconds within the past hour")
        return at


class Faults:
    """Calls that are to fail, whatever they ask for."""

    def __init__(self) -> None:
        self._coming: list[dict[str, Any]] = []

    def plan(self, request: bytes) -> bytes:
        """JSON: `method`, `code`, `text`, how many `times`, and whether it happens `after` the call's work."""
        fault = json.loads(request)
        self._coming += [fault] * fault["times"]
        return b"{}"

    def meet(self, method: str, *, after: bool) -> None:
        """Raise `Refusal` if the call is to fail at this point."""
        for place, fault in enumerate(self._coming):
            if fault["method"] == method and fault["after"] == after:
                del self._coming[place]
                raise Refusal(grpc.StatusCode[fault["code"]], fault["text"])


def _document(name: str, state: State) -> Any:
    document = types.Document.pb()(name=name, fields=state.fields)
    document.create_time.FromMicroseconds(state.created)
    document.update_time.FromMicroseconds(state.updated)
    return document


def _handlers(firestore: Firestore, faults: Faults) -> Iterator[grpc.GenericRpcHandler]:
    def served(name: str, work: Callable[[Any], Any], asked: Any, told: Any, *, many: bool = False) -> Any:
        def one(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                faults.meet(name, after=False)
                answer = work(request)
                faults.meet(name, after=True)
            except Refusal as refusal:
                context.abort(refusal.code, refusal.text)
            return answer

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            yield from one(request, context)

        kind = grpc.unary_stream_rpc_method_handler if many else grpc.unary_unary_rpc_method_handler
        return kind(stream if many else one, asked.FromString, told.SerializeToString)

    data = {
        "GetDocument": (firestore.get_document, types.GetDocumentRequest, types.Document),
        "BatchGetDocuments": (
            lambda request: list(firestore.batch_get_documents(request)),
            types.BatchGetDocumentsRequest,
            types.BatchGetDocumentsResponse,
        ),
        "Commit": (firestore.commit, types.CommitRequest, types.CommitResponse),
        "BatchWrite": (firestore.batch_write, types.BatchWriteRequest, types.BatchWriteResponse),
        "BeginTransaction": (
            firestore.begin_transaction,
            types.BeginTransactionRequest,
            types.BeginTransactionResponse,
        ),
        "RunQuery": (
            lambda request: list(firestore.run_query(request)),
            types.RunQueryRequest,
            types.RunQueryResponse,
        ),
        "RunAggregationQuery": (
            lambda request: list(firestore.run_aggregation_query(request)),
            types.RunAggregationQueryRequest,
            types.RunAggregationQueryResponse,
        ),
    }
    streams = {"BatchGetDocuments", "RunQuery", "RunAggregationQuery"}
    methods = {
        name: served(name, work, asked.pb(), told.pb(), many=name in streams)
        for name, (work, asked, told) in data.items()
    }
    methods["Rollback"] = served("Rollback", firestore.rollback, types.RollbackRequest.pb(), Empty)
    yield grpc.method_handlers_generic_handler("google.firestore.v1.Firestore", methods)

    settings = firestore.administration
    methods = {
        "GetDatabase": served(
            "GetDatabase",
            settings.get_database,
            admin.types.GetDatabaseRequest.pb(),
            admin.types.Database.pb(),
        ),
        "GetField": served(
            "GetField", settings.get_field, admin.types.GetFieldRequest.pb(), admin.types.Field.pb()
        ),
        "UpdateField": served(
            "UpdateField", settings.update_field, admin.types.UpdateFieldRequest.pb(), Operation
        ),
    }
    yield grpc.method_handlers_generic_handler("google.firestore.admin.v1.FirestoreAdmin", methods)

    own: dict[str, Callable[[bytes], bytes]] = {
        "Units": lambda _: json.dumps(firestore.documents.units).encode(),
        "Fail": faults.plan,
    }
    methods = {
        name: grpc.unary_unary_rpc_method_handler(lambda request, _, work=work: work(request))
        for name, work in own.items()
    }
    yield grpc.method_handlers_generic_handler("holdfast.tests", methods)


def main() -> None:
    """Serve until the process is ended."""
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(16), options=[*unlimited, ("grpc.so_reuseport", 0)])
    for handler in _handlers(Firestore(), Faults()):
        server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"127.0.0.1:{int(sys.argv[1])}")
    server.start()
    server.wait_for_termination()
