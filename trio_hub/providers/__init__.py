"""
Agents that are models: the agent protocol over the SDKs of those who serve models.

Each agent is given an open client of its SDK, which brings base URL, key, retries and timeouts;
nothing of that is repeated here. An SDK is an optional extra and is imported when its module is::

    from trio_hub.providers.openai import OpenAIAgent          # trio_hub[openai]
    from trio_hub.providers.anthropic import AnthropicAgent    # trio_hub[anthropic]

Both SDKs run under Trio. Gemini's (google-genai 3.6) does not: it wants asyncio's event loop.
Gemini speaks OpenAI's protocol too, as do Ollama, vLLM and many others: use `OpenAIAgent` with
the base URL of that.
"""

from ._errors import ModelError as ModelError
from ._peer_tools import peer_tools as peer_tools
from ._tools import Tool as Tool
