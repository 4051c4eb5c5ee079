"""From settings to the judges that evaluations of policies may ask."""

from guerdon_service.app.settings import Settings
from guerdon_service.core.pairwise import PairwiseScorer
from guerdon_service.policies.openai_judge import OpenAIJudge


def open_judges(settings: Settings) -> tuple[PairwiseScorer, ...]:
    """Every judge of the settings, in order. Nothing is asked of them yet."""
    return tuple(
        OpenAIJudge(
            name,
            judge.url,
            judge.model or name,
            api_key=judge.api_key.get_secret_value(),
            max_tokens=judge.max_tokens,
            timeout_s=judge.timeout_s,
        )
        for name, judge in settings.judges.items()
    )
