"""A node postprocessor for LlamaIndex (`llama-index-core` 0.14): retrieved nodes best first.

::

    index.as_query_engine(node_postprocessors=[GuerdonRerank(target="http://localhost:8080", top_n=3)])
"""

from llama_index.core.bridge.pydantic import Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from guerdon.client import Client
from guerdon.errors import InvalidInput
from guerdon.integrations.best_first import best_first


class GuerdonRerank(BaseNodePostprocessor):
    """Orders nodes by the reward of each as a response to the query.

    Args:
        target: a service's URL, or a `Client`, which may hold an API key.
        top_n: how many are kept; None is all.
        model: ``NAME@VERSION`` keeps one version; None is the service's default.
        profile: named head weights; None is the model's default.
    """

    target: str | Client = Field(exclude=True)
    top_n: int | None = None
    model: str | None = None
    profile: str | None = None

    @classmethod
    def class_name(cls) -> str:
        """Its name in LlamaIndex's own files."""
        return "GuerdonRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """The best nodes, each with its reward as its score.

        Raises:
            InvalidInput: there is no query.
            GuerdonError: once the client's own retries have ended.
        """
        if query_bundle is None:
            raise InvalidInput(
                "query_bundle is missing; a reward is of a query and a node", param="query_bundle"
            )
        ranked = best_first(
            self.target,
            query_bundle.query_str,
            [node.node.get_content(metadata_mode=MetadataMode.NONE) for node in nodes],
            top_n=self.top_n,
            model=self.model,
            profile=self.profile,
        )
        return [NodeWithScore(node=nodes[index].node, score=reward) for index, reward in ranked]
