"""How many tokens one picture may be counted as, by who reads it: what is reserved for it.

Pure. A picture's size is not read here, so each figure is that of the largest one that a provider looks at. What is not
known to be less counts as much as the dearest that is known.
"""

MOST = 48_169
"""gpt-4o-mini: 2,833 and 5,667 for each of up to eight tiles of 512 pixels, for a picture is first made to fit into
2,048 by 2,048 and then down to 768 on its short side (platform.openai.com/docs/guides/images-vision)."""
PROBABLY = 1_500
"""For estimates of what was read when nobody counted."""
KNOWN = (
    # the same page: at most eight tiles of 170 and 85 more, or 1,536 patches at a factor of at most 2.46 (gpt-4.1-nano)
    ("openai", "gpt-4o-mini", MOST),
    ("openai", "gpt-4o", 4_000),
    ("openai", "gpt-4.1", 4_000),
    ("openai", "o1", 4_000),
    ("openai", "o3", 4_000),
    ("openai", "o4-mini", 4_000),
    # up to 10,000 patches in the original size, at a factor of at most 2.46, and a fifth measured beyond what it says
    ("openai", "gpt-5", 30_000),
    # platform.claude.com/docs/en/build-with-claude/vision: squares of 28 pixels, 4,784 in the largest size
    ("anthropic", "claude-", 5_000),
    # ai.google.dev/gemini-api/docs/image-understanding: tiles of 258 tokens from a picture of at most 3,072 pixels, 24
    # of them in the longest strip; from Gemini 3 on 2,240 at the highest resolution
    ("gemini", "gemini-", 6_200),
)
"""Provider, how its model's name begins, tokens; the first that fits counts."""


def most(provider: str, model: str) -> int:
    """Tokens of one picture at a provider's own address, at most."""
    return next((tokens for name, begins, tokens in KNOWN if provider == name and model.startswith(begins)), MOST)
