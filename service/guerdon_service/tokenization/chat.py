"""Conversation to text through a chat template."""

from collections.abc import Callable

from jinja2 import TemplateError, TemplateSyntaxError
from transformers import PreTrainedTokenizerFast

from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.template_clock import stop_clock

Render = Callable[[Conversation, str], tuple[str, int]]


def chat_renderer(tokenizer: PreTrainedTokenizerFast, template: str) -> Render:
    """A function from ``(conversation, param)`` to the rendered text and where its response begins.

    The text is what ``tokenizer.apply_chat_template(messages, tokenize=False)`` gives; whitespace is
    the template's business alone. The offset, in characters, depends on the prompt only where the
    template allows: it is the length of the prompt rendered with its generation prompt.

    Raises:
        InvalidInput: the template is not valid Jinja, or it reads the clock in a way that cannot be stopped;
            the function, when the template refuses a conversation.
    """
    template = stop_clock(template)

    def text_of(turns: tuple[Message, ...], *, generation: bool = False) -> str:
        rendered = tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in turns],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=generation,
        )
        assert isinstance(rendered, str)
        return rendered

    def render(conversation: Conversation, param: str) -> tuple[str, int]:
        try:
            text = text_of((*conversation.prompt, Message("assistant", conversation.response)))
        except (TemplateError, TypeError) as err:
            raise InvalidInput(
                f"the conversation that {param} ends is refused by the model's chat template ({err}); "
                "send the roles and the order of turns that it accepts",
                param=param,
            ) from err
        return text, _response_start(text_of, conversation, text)

    _check_syntax(text_of)
    return render


def _response_start(text_of: Callable[..., str], conversation: Conversation, text: str) -> int:
    """Length of the part of `text` that any response to this prompt would share."""
    try:
        before = text_of(conversation.prompt, generation=True)
    except (TemplateError, TypeError):
        before = ""  # a template may insist on a reply
    if before and text.startswith(before):
        return len(before)
    first = conversation.response.lstrip()[:1]
    other = Message("assistant", "b" if first == "a" else "a")
    pairs = zip(text, text_of((*conversation.prompt, other)), strict=False)
    return next((i for i, (mine, theirs) in enumerate(pairs) if mine != theirs), 0)


def _check_syntax(text_of: Callable[..., str]) -> None:
    try:
        text_of((Message("user", "a"), Message("assistant", "b")))
    except TemplateSyntaxError as err:
        raise InvalidInput(
            f"the chat template is not valid Jinja ({err}); correct manifest.template or the tokenizer's",
            param="manifest.template",
        ) from err
    except (TemplateError, TypeError):
        return  # compiles; which turns it takes is up to each conversation
