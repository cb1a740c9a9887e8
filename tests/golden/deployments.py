"""Writes deployments.json: ids and providers that LiteLLM gives to the entries of deployments.yaml, read as its proxy
reads them (`ProxyConfig.load_config`).

Run with LiteLLM 1.106.2 and its proxy importable: LITELLM_LOCAL_MODEL_COST_MAP=True python tests/golden/deployments.py
"""

import asyncio
import json
import os
import pathlib

import litellm
from litellm.proxy.proxy_server import ProxyConfig

HERE = pathlib.Path(__file__).parent
# the test passes the same variables
os.environ.update({"A_KEY": "sk-from-env", "A_FLAG": "true", "SPACED": "two words"})
os.environ.pop("NOT_SET", None)


async def main():
    config = str(HERE / "deployments.yaml")
    router, models, _ = await ProxyConfig().load_config(router=None, config_file_path=config)
    rows = []
    for model in models:
        params = model["litellm_params"]
        name, provider, _, _ = litellm.get_llm_provider(
            model=params["model"], custom_llm_provider=params.get("custom_llm_provider"), api_base=params.get("api_base")
        )
        rows.append({"model_name": model["model_name"], "id": model["model_info"]["id"], "provider": provider, "model": name})
    (HERE / "deployments.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    print(len(rows), "deployments")


asyncio.run(main())
