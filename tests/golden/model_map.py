"""Writes model_map.json: for each entry of model_map.yaml what LiteLLM's spend logs say of its model, before and after a
call has registered its prices once more, and what calls cost.

Run with LiteLLM 1.106.2 and its proxy importable: LITELLM_LOCAL_MODEL_COST_MAP=True python tests/golden/model_map.py
"""

import asyncio
import json
import pathlib

import litellm
from litellm.cost_calculator import completion_cost
from litellm.litellm_core_utils.litellm_logging import StandardLoggingPayloadSetup, use_custom_pricing_for_model
from litellm.main import _register_custom_pricing_for_request
from litellm.proxy.proxy_server import ProxyConfig
from litellm.types.utils import ModelResponse, Usage

HERE = pathlib.Path(__file__).parent
# prompt, completion, cache reads, cache writes, reasoning
USAGES = [(19, 10, 0, 0, 0), (1500, 700, 1024, 0, 64), (3000, 5, 1000, 500, 0), (200001, 9, 50, 0, 0)]
PRICES = ("input_cost_per_token", "output_cost_per_token")


def facts(deployment, provider, name):
    params, info = deployment["litellm_params"], deployment["model_info"]
    custom = use_custom_pricing_for_model({**params, "metadata": {"model_info": info}})
    base = info.get("base_model") or params.get("base_model")
    said = StandardLoggingPayloadSetup.get_model_cost_information(
        base_model=base or params["model"],
        custom_pricing=custom,
        custom_llm_provider=provider,
        init_response_obj=ModelResponse(model=deployment["model_name"]),
        api_base=None,
        router_model_id=info["id"],
    )
    costs = []
    for prompt, completion, read, written, reasoning in USAGES:
        response = ModelResponse(model=name)
        response.usage = Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            prompt_tokens_details={"cached_tokens": read, "cache_creation_tokens": written},
            completion_tokens_details={"reasoning_tokens": reasoning} if reasoning else None,
        )
        try:
            cost = completion_cost(
                completion_response=response,
                model=name,
                custom_llm_provider=provider,
                custom_pricing=custom,
                base_model=base,
                router_model_id=info["id"],
            )
        except Exception:
            cost = None
        costs.append(cost)
    return {"map": said, "costs": costs}


async def main():
    router, _, _ = await ProxyConfig().load_config(router=None, config_file_path=str(HERE / "model_map.yaml"))
    rows = []
    for entry in router.model_list:
        params, info = entry["litellm_params"], entry["model_info"]
        name, provider, _, _ = litellm.get_llm_provider(
            model=params["model"], custom_llm_provider=params.get("custom_llm_provider")
        )
        before = facts(entry, provider, name)
        if provider == "openai" and all(params.get(price) is not None for price in PRICES):
            kwargs = {**params, "metadata": {"model_info": info}}
            _register_custom_pricing_for_request(name, provider, kwargs, info)
        after = facts(entry, provider, name)
        rows.append({"model_name": entry["model_name"], "same": before == after, **after})
        if before != after:
            print("changes with its first call:", entry["model_name"])
    (HERE / "model_map.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    print(len(rows), "deployments")


asyncio.run(main())
