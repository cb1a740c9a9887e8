"""Writes data/model_info.json: LiteLLM's own get_model_info of every chat model of openai and anthropic in its price
map, without nulls; the lists of supported parameters once each, and as `bare` that of the name without its provider where
it is another one. Run from the checkout with the reference's Python."""
import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

keys, lists, models = None, {}, {}


def number(params):
    return lists.setdefault(json.dumps(params, separators=(",", ":")), len(lists))


for provider in ("openai", "anthropic"):
    for name, entry in litellm.model_cost.items():
        if entry.get("litellm_provider") != provider:
            continue
        model = name.removeprefix(provider + "/")
        info = dict(litellm.get_model_info(model=f"{provider}/{model}", custom_llm_provider=provider))
        if info.get("mode") not in ("chat", None):
            continue
        keys = keys or list(info)
        supported = info.pop("supported_openai_params")
        kept = {k: v for k, v in info.items() if v is not None and k not in ("key", "litellm_provider")}
        kept["supported_openai_params"] = number(supported)
        if info["key"] != model:
            kept["key"] = info["key"]
        bare = dict(litellm.get_model_info(model=model, custom_llm_provider=provider))
        if bare.pop("supported_openai_params") != supported:
            kept["bare"] = number(litellm.get_supported_openai_params(model=model, custom_llm_provider=provider))
        assert bare == info, model
        models[f"{provider}/{model}"] = kept

line = lambda value: json.dumps(value, separators=(",", ":"), sort_keys=True)
with open("data/model_info.json", "w") as out:
    out.write('{\n"keys":' + line(keys) + ',\n"params":[' + ",\n".join(lists) + '],\n"models":{\n')
    out.write(",\n".join(f"{json.dumps(name)}:{line(models[name])}" for name in sorted(models)) + "\n}}\n")
