"""A document compressor for LangChain (`langchain-core` 1): retrieved documents best first.

::

    ContextualCompressionRetriever(base_retriever=..., base_compressor=GuerdonRerank(target="http://localhost:8080"))
"""

from collections.abc import Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict

from guerdon.client import Client
from guerdon.integrations.best_first import best_first


class GuerdonRerank(BaseDocumentCompressor):
    """Orders documents by the reward of each as a response to the query.

    Args:
        target: a service's URL, or a `Client`, which may hold an API key.
        top_n: how many are kept; None is all.
        model: ``NAME@VERSION`` keeps one version; None is the service's default.
        profile: named head weights; None is the model's default.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    target: str | Client
    top_n: int | None = None
    model: str | None = None
    profile: str | None = None

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Copies of the best documents, each with its reward as ``relevance_score`` in its metadata.

        Raises:
            GuerdonError: once the client's own retries have ended.
        """
        ranked = best_first(
            self.target,
            query,
            [document.page_content for document in documents],
            top_n=self.top_n,
            model=self.model,
            profile=self.profile,
        )
        return [_told(documents[index], reward) for index, reward in ranked]


def _told(document: Document, reward: float) -> Document:
    return document.model_copy(update={"metadata": document.metadata | {"relevance_score": reward}})
