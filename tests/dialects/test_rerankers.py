"""Rerankers inside LangChain and LlamaIndex, against a service that listens."""

import asyncio

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from llama_index.core.llms.mock import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.retrievers import BaseRetriever as NodeRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.settings import Settings

from guerdon import Client, GuerdonError, InvalidInput
from guerdon.integrations import langchain, llama_index
from tests.contract.harness import KEYS, SCORER_KEY, Served, served
from tests.dialects.conftest import PROMPT, RESPONSES, Rewards

on_one_loop = pytest.mark.asyncio(loop_scope="module")

DOCUMENTS = [Document(text, id=str(i), metadata={"source": i}) for i, text in enumerate(RESPONSES)]
NODES = [NodeWithScore(node=TextNode(text=text, id_=str(i)), score=0.5) for i, text in enumerate(RESPONSES)]


class Retrieved(BaseRetriever):
    """The same documents whatever is asked."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return DOCUMENTS


class RetrievedNodes(NodeRetriever):
    """The same nodes whatever is asked."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return NODES


@pytest.fixture
def url(running: Served) -> str:
    return f"http://127.0.0.1:{running.port}"


def order_of(values: list[float]) -> list[int]:
    return sorted(range(len(values)), key=lambda i: -values[i])


@on_one_loop
async def test_langchain_in_a_chain(url: str, rewards: Rewards) -> None:
    expected = await rewards(model="double")
    rerank = langchain.GuerdonRerank(target=url, top_n=2, model="double")
    chain = Retrieved() | RunnableLambda(lambda found: rerank.compress_documents(found, PROMPT))
    found = await asyncio.to_thread(chain.invoke, PROMPT)
    order = order_of(expected)[:2]
    assert [document.metadata["source"] for document in found] == order
    assert [document.id for document in found] == [str(i) for i in order]
    told = [document.metadata["relevance_score"] for document in found]
    assert told == pytest.approx([expected[i] for i in order], abs=1e-6)
    assert all("relevance_score" not in document.metadata for document in DOCUMENTS)


@on_one_loop
async def test_langchain_concurrent(url: str, rewards: Rewards) -> None:
    found = await langchain.GuerdonRerank(target=url).acompress_documents(DOCUMENTS, PROMPT)
    assert [document.metadata["source"] for document in found] == order_of(await rewards())
    assert await langchain.GuerdonRerank(target=url).acompress_documents([], PROMPT) == []


@on_one_loop
async def test_llama_index_in_an_engine(url: str, rewards: Rewards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "_llm", MockLLM())  # it looks for one although none is asked
    expected = await rewards()
    engine = RetrieverQueryEngine.from_args(
        RetrievedNodes(),
        llm=MockLLM(),
        response_mode=ResponseMode.NO_TEXT,
        node_postprocessors=[llama_index.GuerdonRerank(target=url, profile="quality")],
    )
    for reply in (await asyncio.to_thread(engine.query, PROMPT), await engine.aquery(PROMPT)):
        order = order_of(expected)
        assert [node.node.node_id for node in reply.source_nodes] == [str(i) for i in order]
        told = [node.score for node in reply.source_nodes]
        assert told == pytest.approx([expected[i] for i in order], abs=1e-6)
    assert [node.score for node in NODES] == [0.5] * 3


@on_one_loop
async def test_a_client_with_a_key(rewards: Rewards) -> None:
    expected = order_of(await rewards())[:1]
    async with served(keys=KEYS) as it:
        at = f"http://127.0.0.1:{it.port}"
        with Client(at, api_key=SCORER_KEY) as client:
            documents = langchain.GuerdonRerank(target=client, top_n=1)
            nodes = llama_index.GuerdonRerank(target=client, top_n=1)
            found = await documents.acompress_documents(DOCUMENTS, PROMPT)
            assert [document.metadata["source"] for document in found] == expected
            best = await nodes.apostprocess_nodes(NODES, query_str=PROMPT)
            assert [int(node.node.node_id) for node in best] == expected
        with pytest.raises(GuerdonError, match="authorization"):
            await langchain.GuerdonRerank(target=at).acompress_documents(DOCUMENTS, PROMPT)


def test_llama_index_without_a_query() -> None:
    with pytest.raises(InvalidInput, match="query_bundle"):
        llama_index.GuerdonRerank(target="http://127.0.0.1:1").postprocess_nodes(NODES)


def test_llama_index_writes_no_client_down() -> None:
    told = llama_index.GuerdonRerank(target="http://127.0.0.1:1", top_n=4).to_dict()
    assert (told["class_name"], told["top_n"]) == ("GuerdonRerank", 4)
    assert "target" not in told
