"""The strict parser against the standard one."""

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from guerdon_service.core import strict_json
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.strict_json import check_depth, parse_json

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(VALUES)
def test_every_json_value_is_read_as_it_is(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assume(b"\xed\xa0" not in text and b"\xed\xb0" not in text)
    try:
        text.decode()
    except UnicodeDecodeError:
        assume(False)
    assert parse_json(text) == value


@given(VALUES)
def test_escaped_text_is_read_alike(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_as_the_standard_parser_does_or_refused(data: bytes) -> None:
    try:
        value = parse_json(data)
    except InvalidInput as err:
        assert err.param
        return
    assert value == json.loads(data.decode())


@given(st.dictionaries(st.text(), SCALARS, min_size=1), st.data())
def test_a_duplicate_anywhere_is_refused_by_name(fields: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(fields)))
    members = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in fields.items()]
    members.insert(data.draw(st.integers(0, len(members))), f"{json.dumps(name)}: 0")
    with pytest.raises(InvalidInput) as refused:
        parse_json(f'[{{"outer": {{{", ".join(members)}}}}}]'.encode())
    assert refused.value.param == name


class Compared(str):
    """A key that counts how often one is held against another."""

    __slots__ = ()
    num_compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.num_compared += 1
        return str.__eq__(self, other)


def test_the_last_key_of_many_is_found_to_be_a_duplicate_without_comparing_all() -> None:
    names = [*map(str, range(1000)), "999"]
    with pytest.raises(InvalidInput, match="'999' is given twice"):
        strict_json._object([(Compared(name), None) for name in names])
    assert Compared.num_compared < 10


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_are_not_json(constant: str) -> None:
    assert math.isfinite(float(constant)) is False
    with pytest.raises(InvalidInput, match=constant):
        parse_json(f'{{"a": [1, {constant}]}}'.encode())


@given(st.integers(0, 60), st.booleans())
def test_depth_is_counted_exactly(depth: int, lists: bool) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value] if lists else {"k": value}
    if depth <= 32:
        check_depth(value, 32)
    else:
        with pytest.raises(InvalidInput, match="32 levels"):
            check_depth(value, 32)
