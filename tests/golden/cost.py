"""Writes cost.json: what LiteLLM's completion cost is for many models and usages; and cost_all.json: for every chat model of
openai and anthropic in its price map, one list of costs in the order of its usages and tiers.

Run with LiteLLM 1.106.2 importable: LITELLM_LOCAL_MODEL_COST_MAP=True python tests/golden/cost.py
"""

import json
import pathlib

import litellm
from litellm.cost_calculator import completion_cost
from litellm.types.utils import ModelResponse, Usage

MODELS = {
    "openai": ["gpt-4o", "gpt-4o-mini", "gpt-4o-2024-08-06", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-5", "gpt-5-mini",
               "gpt-5-nano", "gpt-5.1", "gpt-5.2", "gpt-5.4", "gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "o1", "o3", "o3-mini",
               "o4-mini", "chatgpt-4o-latest", "gpt-4o-2030-01-01", "ft:gpt-4o-2024-08-06:org::id", "GPT-4o", "openai/gpt-4o",
               "not-a-model", "gpt-9", "gpt-4o-search-preview"],
    "anthropic": ["claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "claude-opus-4-1", "claude-opus-4-5", "claude-haiku-4-5",
                  "claude-3-haiku-20240307", "claude-sonnet-4-20250514", "claude-opus-4-20250514", "claude-opus-4-6",
                  "claude-sonnet-4-6", "claude-newfamily-7", "anthropic/claude-sonnet-4-5", "claude"],
}
# prompt, completion, cache_read, cache_creation, of which 1h, reasoning
USAGES = [(0, 0, 0, 0, 0, 0), (19, 10, 0, 0, 0, 0), (1500, 700, 1024, 0, 0, 0), (1500, 700, 0, 0, 0, 512), (3000, 5, 1000, 500, 0, 0),
          (3000, 5, 1000, 500, 200, 0), (128001, 9, 0, 0, 0, 0), (200000, 9, 50, 0, 0, 0), (200001, 9, 50, 10, 0, 3),
          (272000, 100, 0, 0, 0, 50), (272001, 100, 1000, 0, 0, 50), (900000, 100, 100000, 1000, 1000, 0), (100, 64, 200, 0, 0, 64)]
TIERS = [None, "default", "priority", "flex", "auto", "fast"]


def usage(provider, prompt, completion, read, creation, creation_1h, reasoning):
    details = {"cached_tokens": read}
    if creation:
        details["cache_creation_tokens"] = creation
        if creation_1h:
            details["cache_creation_token_details"] = {
                "ephemeral_5m_input_tokens": creation - creation_1h,
                "ephemeral_1h_input_tokens": creation_1h,
            }
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details=details,
        completion_tokens_details={"reasoning_tokens": reasoning} if reasoning else None,
    )


GRID = [(counts, tier) for counts in USAGES for tier in (TIERS if counts[0] in (19, 1500, 272001) else TIERS[:1])]


def cost(provider, model, counts, tier):
    response = ModelResponse(model=model)
    response.usage = usage(provider, *counts)
    if tier is not None:
        response.service_tier = tier
    try:
        return completion_cost(completion_response=response, model=model, custom_llm_provider=provider)
    except Exception:
        return None


def main():
    rows = []
    for provider, models in MODELS.items():
        for model in models:
            rows += [[provider, model, *counts, tier, cost(provider, model, counts, tier)] for counts, tier in GRID]
    here = pathlib.Path(__file__).parent
    (here / "cost.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    print(len(rows), "rows", sum(row[-1] is None for row in rows), "without a price")
    models = {}
    for name, entry in sorted(litellm.model_cost.items()):
        provider = entry.get("litellm_provider")
        if provider in MODELS and entry.get("mode", "chat") == "chat":
            model = name.removeprefix(provider + "/")
            models[f"{provider}/{model}"] = [cost(provider, model, counts, tier) for counts, tier in GRID]
    lines = ",\n".join(f"{json.dumps(name)}:{json.dumps(costs, separators=(',', ':'))}" for name, costs in models.items())
    grid = json.dumps([[*counts, tier] for counts, tier in GRID], separators=(",", ":"))
    (here / "cost_all.json").write_text('{"grid":' + grid + ',\n"models":{\n' + lines + "\n}}\n")
    print(len(models), "models")


main()
