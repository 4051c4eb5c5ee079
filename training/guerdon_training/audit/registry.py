"""Every check, in the order of the report."""

from collections.abc import Callable

from guerdon_training.audit.check import Check
from guerdon_training.audit.checks.agreement import check_agreement
from guerdon_training.audit.checks.ambiguity import check_ambiguity
from guerdon_training.audit.checks.annotators import check_annotators
from guerdon_training.audit.checks.contamination import check_contamination
from guerdon_training.audit.checks.counts import check_counts
from guerdon_training.audit.checks.demographics import check_demographics
from guerdon_training.audit.checks.duplicate_ids import check_duplicate_ids
from guerdon_training.audit.checks.empty_responses import check_empty_responses
from guerdon_training.audit.checks.equal_responses import check_equal_responses
from guerdon_training.audit.checks.exact_duplicates import check_exact_duplicates
from guerdon_training.audit.checks.format_bias import check_format_bias
from guerdon_training.audit.checks.languages import check_languages
from guerdon_training.audit.checks.length_bias import check_length_bias
from guerdon_training.audit.checks.near_duplicates import check_near_duplicates
from guerdon_training.audit.checks.noise_ceiling import check_noise_ceiling
from guerdon_training.audit.checks.position_bias import check_position_bias
from guerdon_training.audit.checks.prompt_mismatch import check_prompt_mismatch
from guerdon_training.audit.checks.prompt_repeats import check_prompt_repeats
from guerdon_training.audit.checks.prompt_text import check_prompt_text
from guerdon_training.audit.checks.split_leakage import check_split_leakage
from guerdon_training.audit.checks.swapped_labels import check_swapped_labels
from guerdon_training.audit.checks.transitivity import check_transitivity
from guerdon_training.audit.checks.truncation import check_truncation
from guerdon_training.audit.records import Records

CHECKS: tuple[Callable[[Records], Check], ...] = (
    check_counts,
    check_duplicate_ids,
    check_exact_duplicates,
    check_swapped_labels,
    check_near_duplicates,
    check_equal_responses,
    check_empty_responses,
    check_prompt_mismatch,
    check_truncation,
    check_split_leakage,
    check_contamination,
    check_length_bias,
    check_format_bias,
    check_position_bias,
    check_agreement,
    check_annotators,
    check_transitivity,
    check_noise_ceiling,
    check_demographics,
    check_prompt_text,
    check_prompt_repeats,
    check_languages,
    check_ambiguity,
)
