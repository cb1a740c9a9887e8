"""Writes data/model_listing.json: what LiteLLM's /model/info says of every model of its price map, as far as it does not
stand in data/model_prices.json. A line for each name that `litellm_params.model` may have: `p` is the line of its
`supported_openai_params`, `key` the entry of the price map where it is another, `facts` what differs from that entry.
Names whose answer changes once a router has registered them are left out. Run from the checkout with the reference's
Python."""
import json
import os
import re

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
from litellm import Router
from litellm.constants import PROVIDERS_THAT_AUTHENTICATE_ON_PROVIDER_INFO

prices = json.load(open("data/model_prices.json"))
raw = dict(litellm.model_cost)
# names that the price map no longer has and configurations still do; they are shown as a router registers them
RETIRED = ("anthropic/claude-opus-4-1-20250805", "anthropic/claude-opus-4-20250514", "anthropic/claude-sonnet-4-20250514",
           "anthropic/claude-3-7-sonnet-20250219", "anthropic/claude-3-5-haiku-20241022", "anthropic/claude-3-haiku-20240307",
           "bedrock/anthropic.claude-3-haiku-20240307-v1:0", "bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0")
SPECIAL = {"key", "litellm_provider", "supported_openai_params"}
TOKEN = ("input_cost_per_token", "output_cost_per_token")


def names():
    for key, entry in raw.items():
        provider = entry.get("litellm_provider")
        # some log in when they are asked about
        if key == "sample_spec" or not provider or provider in PROVIDERS_THAT_AUTHENTICATE_ON_PROVIDER_INFO:
            continue
        yield key
        if not key.startswith(provider + "/"):
            yield f"{provider}/{key}"


def info(model):
    """proxy_server.py `_enrich_model_info_with_litellm_data`: three passes."""
    for args in ({"model": model}, {"model": model.split("/")[-1], "custom_llm_provider": model.split("/")[0]}):
        try:
            return dict(litellm.get_model_info(**args))
        except Exception:
            pass
    return None


wanted = {}
for name in dict.fromkeys(names()):
    found = info(name)
    # the model's own key may be any; a mode without words is left to Python
    if found is not None and "*" not in name:
        wanted[name] = json.loads(json.dumps(found))

# what a router makes of the price map when it registers all of them
Router(model_list=[{"model_name": "m", "litellm_params": {"model": name, "api_key": "k"}, "model_info": {"id": str(at)}}
                   for at, name in enumerate(wanted)], ignore_invalid_deployments=True)
litellm.get_model_info.cache_clear()
changed = [name for name, found in wanted.items() if json.loads(json.dumps(info(name))) != found]
print(len(wanted), "names,", len(changed), "change when registered:", changed[:8])
for name in changed:
    del wanted[name]

retired = [name for name in RETIRED if name not in wanted]
Router(model_list=[{"model_name": "m", "litellm_params": {"model": name, "api_key": "k"}, "model_info": {"id": f"retired-{name}"}}
                   for name in retired], ignore_invalid_deployments=True)
litellm.get_model_info.cache_clear()
wanted.update((name, json.loads(json.dumps(info(name)))) for name in retired)

keys = list(next(iter(wanted.values())))
lists, lines = {}, {}
for name, found in wanted.items():
    entry = prices.get(found["key"], {})
    line = {"p": lists.setdefault(json.dumps(found["supported_openai_params"], separators=(",", ":")), len(lists))}
    if found["key"] != name:
        line["key"] = found["key"]
    facts = {}
    for key, value in found.items():
        plain = entry.get(key)
        if key in TOKEN and plain is None:
            plain = 0
        if key not in SPECIAL and (value != plain or (key not in keys and value is not None)):
            facts[key] = value
    if found["litellm_provider"] != entry.get("litellm_provider"):
        facts["litellm_provider"] = found["litellm_provider"]
    # a price that the map does not have is shown as null, not as nothing to pay
    line.update({"facts": facts} if facts else {})
    real = raw.get(found["key"], {})
    assert any(key in real for key in TOKEN) == any(key in entry for key in TOKEN), name
    lines[name] = line

# what a model is shown as that no list has and no rule describes, once it is registered (src/config/listing.rs)
for provider in ("openai", "anthropic"):
    params = litellm.get_supported_openai_params(model=f"{provider}/no-such-model")
    at = lists.setdefault(json.dumps(params, separators=(",", ":")), len(lists))
    lines[f"#{provider}"] = {"p": at, "facts": {"litellm_provider": provider}}

dump = lambda value: json.dumps(value, separators=(",", ":"), sort_keys=True)
lines["#keys"] = [key for key in keys]
for text, at in lists.items():
    lines[f"#{at}"] = json.loads(text)
assert not any(re.search(r'[\\"]|[^ -~]', name) for name in lines)
with open("data/model_listing.json", "w") as out:
    order = sorted(lines, key=lambda name: name.encode())
    out.write("{\n" + ",\n".join(f'"{name}":{dump(lines[name])}' for name in order) + "\n}\n")
print(len(lists), "lists,", os.path.getsize("data/model_listing.json"), "bytes,",
      sum("facts" in line for line in lines.values() if isinstance(line, dict)), "with facts of their own")
