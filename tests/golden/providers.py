"""Writes providers.json: the provider LiteLLM gives to every model name of its price map, and to some others.

Run with LiteLLM 1.106.2 importable: LITELLM_LOCAL_MODEL_COST_MAP=True python tests/golden/providers.py
"""

import json
import pathlib

import litellm

litellm.suppress_debug_info = True
EXTRA = ["claude-a-1", "claude-a-1-20250101", "claude-a-1.5-20250101", "claude-a-1-2-20250101", "claude-a-1-2-3", "claude-1-a",
         "claude-", "CLAUDE-Sonnet-9", "claude-a1-1", "gpt-image-9", "ft:gpt-3.5-turbo", "ft:gpt-4o", "x-ft:gpt-4-y", "ft:davinci-002",
         "ft:o4-mini-2025-04-16:o::i", "openai", "openai/", "openai/x", "OpenAI/x", "anthropic", "anthropic/", "xopenai/gpt-4o", " openai/x",
         "openai/gpt-4o/x", "GPT-4o", "mistral", "gpt-99", "text-embedding-ada-002", "o3", "o9", "*", "/gpt-4o", "claude-2", "claude-instant-1"]


def main():
    rows = {}
    for name in [*litellm.model_cost, *EXTRA]:
        if "/" in name and name not in EXTRA and name.split("/")[0] in litellm.provider_list:
            continue
        try:
            rows[name] = litellm.get_llm_provider(model=name)[1]
        except Exception:
            rows[name] = None
    path = pathlib.Path(__file__).parent / "providers.json"
    path.write_text(json.dumps(rows, separators=(",", ":"), indent=0) + "\n")
    print(len(rows), "names")


main()
