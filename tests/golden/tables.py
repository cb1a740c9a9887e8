"""Writes the data that is taken from LiteLLM: data/model_prices.json, src/config/provider_table.rs, src/config/key_names.rs.

Run with LiteLLM 1.106.2 and its proxy importable: LITELLM_LOCAL_MODEL_COST_MAP=True python tests/golden/tables.py
"""

import json
import os
import pathlib
import re

import litellm
from litellm.llms.openai_like.json_loader import JSONProviderRegistry
from litellm.proxy._types import ConfigGeneralSettings
from litellm.types.utils import CustomPricingLiteLLMParams

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = pathlib.Path(litellm.__file__).parent
# keys of the price map that bear on nothing here
DROPPED = {"source", "deprecation_date", "metadata", "comment", "supported_regions", "rpm", "tpm", "supported_endpoints",
           "supported_modalities", "supported_output_modalities"}
# attributes of the module that are objects, not settings
NOT_SETTINGS = ("_models", "_instance", "_embedding", "_completions", "_transformation", "_completion", "_transcriptions", "_rerank")
OBJECTS = {"annotations", "verbose_logger", "tracer", "logging", "llm_http_handler", "base_llm_http_handler", "model_cost",
           "model_list_set", "models_by_provider", "initialized_langfuse_clients", "undefined", "encoding"}


def prices():
    source = json.loads((PACKAGE / "model_prices_and_context_window_backup.json").read_text())
    kept = {
        model: {key: value for key, value in entry.items() if key not in DROPPED}
        for model, entry in source.items()
        if model not in ("sample_spec", "fallback_generalizations")
    }
    lines = (json.dumps(model) + ":" + json.dumps(kept[model], separators=(",", ":")) for model in sorted(kept, key=str.encode))
    (ROOT / "data/model_prices.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def array(name, doc, items):
    body, line = "", "    "
    for item in items:
        text = json.dumps(item) + ","
        if len(line) + len(text) + 1 > 118:
            body, line = body + line.rstrip() + "\n", "    "
        line += text + " "
    return f"/// {doc}\n#[rustfmt::skip]\npub(super) const {name}: &[&str] = &[\n{body}{line.rstrip()}\n];\n"


def providers():
    names = {str(getattr(p, "value", p)) for p in litellm.provider_list} | set(JSONProviderRegistry._providers)
    (ROOT / "src/config/provider_table.rs").write_text(
        "//! Names out of LiteLLM 1.106.2 that decide a deployment's provider. Data only; written by `tests/golden/tables.py`.\n\n"
        + array("PROVIDERS", "`litellm.provider_list` and the JSON-configured providers: first path segments that name a provider", sorted(names))
        + "\n"
        + array("ENDPOINTS", "`litellm.openai_compatible_endpoints`: an `api_base` there belongs to another provider than OpenAI",
                litellm.openai_compatible_endpoints)
    )


def rows(section):
    table = (ROOT / "src/config/keys.rs").read_text()
    return {name for m in re.finditer(rf'\({section}, [^"]*"([^"]*)"\)', table) for name in m.group(1).split()}


def key_names():
    module = {k for k, v in vars(litellm).items() if not isinstance(v, type) and not callable(v) and type(v).__name__ != "module"}
    module = {k for k in module if re.fullmatch(r"[a-z][a-z_0-9]*", k) and not k.endswith(NOT_SETTINGS)}
    general = set(ConfigGeneralSettings.model_fields)
    for folder, _, files in os.walk(PACKAGE):
        for file in files:
            if not file.endswith(".py"):
                continue
            text = (pathlib.Path(folder) / file).read_text(errors="replace")
            module |= set(re.findall(r'getattr\(\s*litellm,\s*"([a-z][a-z_0-9]+)"', text))
            module |= set(re.findall(r'litellm_settings(?:\.get\(|\[)\s*"([a-z][a-z_0-9]+)"', text))
            if file == "proxy_server.py":
                module |= set(re.findall(r'key == "([a-z_0-9]+)"', text))
            general |= set(re.findall(r'general_settings(?:\.get\(|\[)\s*"([a-z_0-9]+)"', text))
            general |= set(re.findall(r'"([a-z_0-9]+)" in (?:\w+_)?general_settings', text))
    parts = [
        array("LITELLM", "attributes of the `litellm` module that its code reads", sorted(module - OBJECTS - rows("LitellmSettings"))),
        array("GENERAL", "keys of `general_settings` that its code reads", sorted(general - rows("GeneralSettings"))),
        array("ROUTER", "arguments of `Router.__init__`", sorted(set(litellm.Router.get_valid_args()) - rows("Router"))),
        array("PRICING", "fields of `CustomPricingLiteLLMParams`: a deployment may set its own prices", sorted(CustomPricingLiteLLMParams.model_fields)),
    ]
    (ROOT / "src/config/key_names.rs").write_text(
        "//! Names that LiteLLM 1.106.2 reads and `keys` has no row for, and the names of its price keys. Data only; written by\n"
        "//! `tests/golden/tables.py`.\n\n" + "\n".join(parts)
    )


prices()
providers()
key_names()
